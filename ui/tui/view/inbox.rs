//! All requests that wait, each with what is decided on; the one in focus with its details.

use fracta::control::wire::Agent;
use fracta::session::state::PendingApproval;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::line::{fit, put_at, unwrapped, wrap};
use crate::tui::inbox::{Entry, Inbox, choices, questions};
use crate::tui::keymap::Action;
use crate::tui::model::Model;
use crate::tui::overlay::Overlay;
use crate::tui::theme::Theme;

/// Most rows of a command, and of a diff, in the list; the card has them all.
const COMMAND: usize = 6;
const DIFF: usize = 12;

type Row = (String, Style);

pub fn hint(model: &Model) -> String {
    let key = |a| model.keys.key_of(a);
    format!("{} approve · {} deny · enter opens · esc closes", key(Action::Approve), key(Action::Deny))
}

/// Keeps the focus in sight.
pub fn layout(model: &mut Model, columns: u16, rows: u16) {
    let Some(Overlay::Inbox(inbox)) = &model.overlay else { return };
    let entries = inbox.entries(&model.list);
    let Some(at) = inbox.position(&entries) else { return };
    let mut top = inbox.top.min(at);
    // The entries above the focus have the same height; only it is taller.
    let tall = lines(model, inbox, &entries[at], usize::from(columns)).len();
    let above = usize::from(rows).saturating_sub(tall) / 3;
    top = top.max(at.saturating_sub(above));
    if let Some(Overlay::Inbox(inbox)) = &mut model.overlay {
        inbox.top = top;
    }
}

pub fn draw(model: &Model, inbox: &Inbox, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let entries = inbox.entries(&model.list);
    if entries.is_empty() {
        put_at(buf, area, 0, 0, "nothing waits for an answer", t.dim);
        return;
    }
    let focus = inbox.position(&entries);
    let mut y = 0;
    for (n, entry) in entries.iter().enumerate().skip(inbox.top) {
        for (text, style) in lines(model, inbox, entry, usize::from(area.width)) {
            if y >= area.height {
                return;
            }
            if focus == Some(n) && !text.is_empty() {
                put_at(buf, area, 0, y, "▌", t.border_focused);
            }
            put_at(buf, area, 2, y, &text, style);
            y += 1;
        }
    }
}

/// The rows of an entry, a blank one behind it.
fn lines(model: &Model, inbox: &Inbox, entry: &Entry<'_>, columns: usize) -> Vec<Row> {
    let t = &model.theme;
    let room = columns.saturating_sub(2).max(1);
    let mut out = Vec::new();
    match entry {
        Entry::Gone(f) => {
            let what = f.outcome.unwrap_or("waits no more: answered elsewhere, or its turn ended");
            out.push((fit(&format!("· {}  {what}", f.name), room), t.warn));
            out.push((fit(&format!("  {}", f.what), room), t.dim));
        }
        Entry::Waits(agent, p) => {
            let focused = inbox.focus.as_ref().is_some_and(|f| f.session == agent.session && f.id == p.id);
            let asked = p.since.map(|ts| format!("  asked {}", model.clock(ts))).unwrap_or_default();
            let head =
                format!("▲ {}  {}·{}{asked}  {}", agent.name, agent.runtime, agent.mode.word(), p.what);
            out.push((fit(&head, room), if focused { t.approval } else { t.strong }));
            if focused { details(agent, p, t, room, &mut out) } else { out.push(brief(p, t, room)) }
        }
    }
    out.push((String::new(), t.text));
    out
}

fn brief(p: &PendingApproval, t: &Theme, room: usize) -> Row {
    let text = match (&p.command, &p.questions, &p.diff) {
        (Some(c), ..) => format!("  $ {}", unwrapped(c)),
        (_, Some(q), _) => {
            format!("  ? {}", questions(q).first().map(|q| q.text.clone()).unwrap_or_default())
        }
        (_, _, Some(d)) => {
            let of = |sign: &str, file: &str| {
                d.lines().filter(|l| l.starts_with(sign) && !l.starts_with(file)).count()
            };
            format!("  changes files: +{} -{}", of("+", "+++ "), of("-", "--- "))
        }
        _ => String::new(),
    };
    (fit(&text, room), t.dim)
}

fn details(agent: &Agent, p: &PendingApproval, t: &Theme, room: usize, out: &mut Vec<Row>) {
    let mut some = |rows: Vec<Row>, most: usize| {
        let hidden = rows.len().saturating_sub(most);
        out.extend(rows.into_iter().take(most));
        if hidden > 0 {
            out.push((format!("  … {hidden} more rows: enter opens all of it"), t.warn));
        }
    };
    if let Some(c) = &p.command {
        // As the runtime gave it, shell and all: this is what is decided on.
        let rows = wrap(&format!("$ {c}"), room.saturating_sub(2));
        some(rows.into_iter().map(|r| (format!("  {r}"), t.text)).collect(), COMMAND);
    }
    if let Some(d) = &p.diff {
        let style = |l: &str| match l.as_bytes().first() {
            Some(b'+') => t.added,
            Some(b'-') => t.removed,
            _ => t.dim,
        };
        some(d.lines().map(|l| (fit(&format!("  {l}"), room), style(l))).collect(), DIFF);
    }
    for q in p.questions.as_ref().map(questions).unwrap_or_default() {
        some(
            wrap(&format!("? {}", q.text), room.saturating_sub(2))
                .into_iter()
                .map(|r| (format!("  {r}"), t.text))
                .collect(),
            COMMAND,
        );
        let keys = !choices(p).is_empty();
        let option = |(n, o): (usize, &String)| {
            let mark = if keys { format!("{}", n + 1) } else { "-".to_owned() };
            (fit(&format!("    {mark}  {o}"), room), t.accent)
        };
        some(q.options.iter().enumerate().map(option).collect(), 9);
    }
    let folder = p.cwd.as_deref().unwrap_or(&agent.workspace);
    out.push((fit(&format!("  in {folder}"), room), t.dim));
}
