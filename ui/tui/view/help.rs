//! The `?` page and the hints at the foot, made from the key map.

use fracta::session::state::State;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::line::{fit, put, put_at, width};
use crate::tui::keymap::{Action, Key, Scope};
use crate::tui::model::{Focus, Model, Route};
use crate::tui::update::COMMANDS;

/// Why an action does nothing now, where that is known.
pub fn disabled(model: &Model, action: Action) -> Option<String> {
    let agent = model.list.selected();
    let needs_agent = matches!(
        action,
        Action::Input
            | Action::Approve
            | Action::Deny
            | Action::Diff
            | Action::Merge
            | Action::Abort
            | Action::Kill
            | Action::Copy
            | Action::Open
    );
    let Some(agent) = agent else { return needs_agent.then(|| "no agent is selected".to_owned()) };
    match action {
        Action::Approve | Action::Deny if agent.pending_approvals.is_empty() => {
            Some("nothing waits for an answer".to_owned())
        }
        Action::Abort if agent.state.is_final() || agent.state == State::Idle => {
            Some("no turn runs".to_owned())
        }
        Action::Input => match model.route(agent) {
            Route::No(why) => Some(why),
            _ => None,
        },
        Action::Diff | Action::Merge | Action::Kill if agent.killed => Some("killed".to_owned()),
        _ => None,
    }
}

/// The hints for where the keyboard is.
pub fn hints(model: &Model, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let scopes: &[Scope] = match model.focus {
        Focus::List => &[Scope::List, Scope::Screen],
        Focus::Session => &[Scope::Session, Scope::Screen],
        Focus::Input => &[Scope::Input],
    };
    let mut x = 1;
    let mut area = area;
    // The way to all the others is always there.
    let help = model.keys.key_of(Action::Help);
    if model.focus != Focus::Input && usize::from(area.width) > width(&help) + 8 {
        let at = area.width - u16::try_from(width(&help)).unwrap_or(0) - 6;
        let after = put(buf, area, at, &help, t.accent) + 1;
        put(buf, area, after, "help", t.dim);
        area.width = at - 1;
    }
    for scope in scopes {
        for (e, keys) in model.keys.entries().filter(|(e, _)| e.scope == *scope && !e.hint.is_empty()) {
            let Some(key) = keys.first() else { continue };
            if disabled(model, e.action).is_some() || e.action == Action::Help {
                continue;
            }
            let key = key.to_string();
            let need = width(&key) + 1 + width(e.hint);
            if usize::from(x) + need >= usize::from(area.width) {
                return;
            }
            x = put(buf, area, x, &key, t.accent) + 1;
            x = put(buf, area, x, e.hint, t.dim) + 2;
        }
    }
}

/// One line of the page.
enum Line {
    Title(&'static str),
    Key { keys: String, help: &'static str, off: Option<String> },
    Command { name: String, help: &'static str },
    Blank,
}

fn lines(model: &Model) -> Vec<Line> {
    let mut out = Vec::new();
    for scope in [Scope::Screen, Scope::List, Scope::Session, Scope::Input] {
        out.push(Line::Title(scope.title()));
        for (e, keys) in model.keys.entries().filter(|(e, _)| e.scope == scope) {
            let keys = keys.iter().map(Key::to_string).collect::<Vec<_>>().join("  ");
            out.push(Line::Key { keys, help: e.help, off: disabled(model, e.action) });
        }
        out.push(Line::Blank);
    }
    out.push(Line::Title("commands"));
    for (name, args, help) in COMMANDS {
        out.push(Line::Command { name: format!(":{name} {args}"), help });
    }
    out
}

/// Lines of the page, to bound its scrolling.
pub fn length(model: &Model) -> usize {
    lines(model).len()
}

pub fn draw(model: &Model, top: usize, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let w = usize::from(area.width);
    let column: u16 = if w >= 60 { 24 } else { 14 };
    for (y, line) in (0..area.height).zip(lines(model).into_iter().skip(top)) {
        match line {
            Line::Title(s) => {
                put_at(buf, area, 0, y, s, t.heading);
            }
            Line::Key { keys, help, off } => {
                put_at(buf, area, 1, y, &fit(&keys, usize::from(column) - 2), t.accent);
                let style = if off.is_some() { t.dim } else { t.text };
                let x = put_at(buf, area, column, y, help, style) + 2;
                if let Some(why) = off {
                    put_at(
                        buf,
                        area,
                        x,
                        y,
                        &fit(&format!("(now: {why})"), w.saturating_sub(usize::from(x))),
                        t.dim,
                    );
                }
            }
            Line::Command { name, help } => {
                let x = put_at(buf, area, 1, y, &name, t.accent).max(column - 2) + 2;
                put_at(buf, area, x, y, help, t.text);
            }
            Line::Blank => {}
        }
    }
}
