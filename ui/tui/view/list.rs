//! The list of agents: one line each where there is room for columns, else two.

use std::borrow::Cow;

use fracta::control::wire::Agent;
use fracta::session::state::State;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::line::{fit, gauge, put_at, tokens, unwrapped, width};
use crate::tui::keymap::Action;
use crate::tui::list::{Group, Row};
use crate::tui::model::{Focus, Link, Model};
use crate::tui::theme::Theme;

/// From how many columns one line holds all that is worth knowing.
const ONE_LINE: u16 = 92;
/// From how many columns one line is better than two that do not fit.
const TIGHT: u16 = 70;

/// Glyph and style of a state. The glyphs differ in shape, so that no colour is needed to read them.
pub fn mark(t: &Theme, agent: &Agent) -> (&'static str, &'static str, Style) {
    if !agent.pending_approvals.is_empty() {
        let asks = agent.pending_approvals.iter().any(|p| p.questions.is_some());
        return ("▲", if asks { "asks" } else { "approval" }, t.approval);
    }
    let glyph = match agent.state {
        State::Queued => "·",
        State::Starting => "◌",
        State::Running => "●",
        State::Waiting => "▲",
        State::Idle => "○",
        State::Completed => "✓",
        State::Failed => "✗",
        State::Stopped => "■",
        State::Unknown => "?",
    };
    let style = match agent.state {
        State::Queued | State::Stopped => t.dim,
        State::Starting | State::Running => t.accent,
        State::Waiting => t.approval,
        State::Idle => t.text,
        State::Completed => t.ok,
        State::Failed => t.error,
        State::Unknown => t.warn,
    };
    (glyph, agent.state.word(), style)
}

/// Screen rows of an agent: one where columns are many or rows are few, three where all agents fit.
fn rows_each(model: &Model, area: Rect) -> u16 {
    if area.width >= ONE_LINE || area.height < 14 {
        return 1;
    }
    let rows = model.list.rows();
    let headings =
        rows.iter().take(usize::from(area.height)).filter(|r| matches!(r, Row::Heading(..))).count();
    let fits = |each: usize| {
        headings * 2 + rows.len().saturating_sub(headings) * each <= usize::from(area.height) + 1
    };
    match area.width {
        _ if fits(3) => 3,
        TIGHT.. if !fits(2) => 1,
        _ => 2,
    }
}

/// Screen rows of row `n` of the list: a heading has a blank row above it, where there is room.
fn height(rows: &[Row], n: usize, each: u16) -> u16 {
    match rows.get(n) {
        Some(Row::Heading(..)) if n == 0 || each == 1 => 1,
        Some(Row::Heading(..)) => 2,
        _ => each,
    }
}

/// Keeps the selection in sight. Walks no further than a screen.
pub fn layout(model: &mut Model, area: Rect) {
    if area.height == 0 {
        return;
    }
    let each = rows_each(model, area);
    let rows = model.list.rows().len();
    let Some(selected) = model.list.selected_row() else {
        model.list.top = 0;
        return;
    };
    let all = model.list.rows();
    let span = |from: usize, to: usize| (from..to).map(|n| u32::from(height(all, n, each))).sum::<u32>();
    let room = u32::from(area.height);
    // A group's heading comes into sight with its first agent.
    let above = matches!(selected.checked_sub(1).and_then(|i| all.get(i)), Some(Row::Heading(..)));
    let first = if above { selected - 1 } else { selected };
    let mut top = model.list.top.min(first).min(rows.saturating_sub(1));
    top = top.max(selected.saturating_sub(usize::from(area.height)));
    while top < selected && span(top, selected + 1) > room {
        top += 1;
    }
    // No empty space at the foot while there are rows above.
    let shown = span(top, rows.min(top + usize::from(area.height)));
    let mut space = room.saturating_sub(shown);
    while top > 0 && u32::from(height(all, top - 1, each)) <= space {
        space -= u32::from(height(all, top - 1, each));
        top -= 1;
    }
    model.list.top = top;
}

pub fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    if model.list.rows().is_empty() {
        return empty(model, area, buf);
    }
    let each = rows_each(model, area);
    let mut y = 0;
    let rows = model.list.rows();
    for (n, row) in rows.iter().enumerate().skip(model.list.top) {
        if y >= area.height {
            break;
        }
        let place = Rect { y: area.y + y, height: height(rows, n, each).min(area.height - y), ..area };
        match row {
            Row::Heading(group, count) => heading(model, *group, *count, place, buf),
            Row::Agent(id) => {
                if let Some(agent) = model.list.get(id) {
                    let selected = model.list.selected().is_some_and(|s| s.session == *id);
                    if each == 1 {
                        one_line(model, agent, place, buf);
                    } else {
                        block(model, agent, place, buf);
                    }
                    if selected {
                        select(model, place, buf);
                    }
                }
            }
        }
        y += place.height;
    }
}

/// The selected row: all of it in one style while the list has the keyboard, else only marked. The
/// colours below would show through a reversed row as patches.
fn select(model: &Model, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    for y in area.y..area.bottom() {
        if model.focus == Focus::List {
            for x in area.x..area.right() {
                let cell = &mut buf[(x, y)];
                let bold = Style::new().add_modifier(cell.modifier & Modifier::BOLD);
                cell.set_style(Style::reset().patch(bold).patch(model.theme.selection));
            }
        }
        let bar = &mut buf[(area.x, y)];
        bar.reset();
        bar.set_symbol("▌").set_style(model.theme.border_focused);
    }
}

fn heading(model: &Model, group: Group, n: usize, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let style = if group == Group::NeedsYou { t.approval } else { t.dim };
    let y = area.height.saturating_sub(1);
    let x = put_at(buf, area, 1, y, group.title(), style) + 1;
    let x = put_at(buf, area, x, y, &n.to_string(), t.dim) + 2;
    let requests = model.list.requests();
    if group == Group::NeedsYou && requests > 0 {
        let verb = if requests == 1 { "request waits" } else { "requests wait" };
        let key = model.keys.key_of(Action::Inbox);
        put_at(buf, area, x, y, &format!("{requests} {verb} · {key}"), t.dim);
    }
}

fn empty(model: &Model, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let lines: &[&str] = if !model.list.filter().is_empty() {
        &["no agent matches the filter", "esc clears it"]
    } else if model.link == Link::Up {
        &["no agents yet", "press s to spawn one, ? for help"]
    } else {
        &[]
    };
    let top = area.height / 3;
    for (i, l) in (0u16..).zip(lines) {
        let w = u16::try_from(width(l)).unwrap_or(0);
        put_at(buf, area, area.width.saturating_sub(w) / 2, top + i, l, if i == 0 { t.text } else { t.dim });
    }
}

/// `codex·stream`
fn runtime(agent: &Agent) -> String {
    format!("{}·{}", agent.runtime, agent.mode.word())
}

fn since(model: &Model, agent: &Agent) -> String {
    agent.turn_started_at.map(|ts| model.clock(ts)).unwrap_or_default()
}

fn used(agent: &Agent) -> String {
    let n = agent.usage.input_tokens.saturating_add(agent.usage.output_tokens);
    if n == 0 { String::new() } else { tokens(n) }
}

/// Steps of the turn that runs, where the runtime tells them.
fn steps(agent: &Agent) -> Option<(u32, u32)> {
    agent.step.filter(|_| agent.state.in_turn())
}

/// What the agent does, or why it stands.
fn doing(agent: &Agent) -> Cow<'_, str> {
    if let Some(p) = agent.pending_approvals.first() {
        return p.command.as_deref().map_or(Cow::Borrowed(p.what.as_str()), unwrapped);
    }
    match (&agent.reason, agent.state) {
        (Some(r), State::Failed | State::Stopped | State::Unknown | State::Queued) => r.as_str().into(),
        _ => match agent.activity.strip_prefix("$ ") {
            Some(command) => format!("$ {}", unwrapped(command)).into(),
            None => agent.activity.as_str().into(),
        },
    }
}

/// Columns: state, name, runtime·mode, model, tokens, start of the turn, unread, activity.
fn one_line(model: &Model, agent: &Agent, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let w = area.width;
    let (glyph, word, style) = mark(t, agent);
    let name_w = (w / 4).clamp(10, 24).min(w.saturating_sub(3));
    put_at(buf, area, 1, 0, glyph, style);
    put_at(buf, area, 3, 0, &fit(agent.name.as_str(), usize::from(name_w)), t.strong);
    let mut x = 3 + name_w + 1;
    put_at(buf, area, x, 0, word, style);
    x += 10;
    if w >= 60 {
        put_at(buf, area, x, 0, &fit(&runtime(agent), 15), t.text);
        x += 16;
    }
    if w >= 92 {
        put_at(buf, area, x, 0, &fit(agent.model.as_deref().unwrap_or("-"), 16), t.dim);
        x += 17;
    }
    if w >= 40 {
        put_at(buf, area, x, 0, &format!("{:>5}", used(agent)), t.dim);
        put_at(buf, area, x + 6, 0, &format!("{:>5}", since(model, agent)), t.dim);
        x += 12;
    }
    x = unread(model, agent, area, x, 0, buf);
    if let Some((n, limit)) = steps(agent)
        && w > x + 16
    {
        x = put_at(buf, area, x, 0, &gauge(n, limit), t.gauge(n, limit)) + 2;
    }
    let room = usize::from(w.saturating_sub(x + 1));
    if room > 3 {
        let style = if Group::of(agent) == Group::NeedsYou { t.text } else { t.dim };
        put_at(buf, area, x, 0, &fit(&doing(agent), room), style);
    }
}

/// The number of events nobody has looked at, in four columns.
fn unread(model: &Model, agent: &Agent, area: Rect, x: u16, y: u16, buf: &mut Buffer) -> u16 {
    let text = match agent.unread {
        0 => String::new(),
        n @ 1..=99 => format!("+{n}"),
        _ => "+99".to_owned(),
    };
    put_at(buf, area, x, y, &text, model.theme.accent);
    x + 4
}

/// Name, state and clock; below, quieter, runtime, model and tokens, then what it does.
fn block(model: &Model, agent: &Agent, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let w = area.width;
    let (glyph, word, style) = mark(t, agent);
    put_at(buf, area, 1, 0, glyph, style);
    // State, clock and unread stand in columns behind the names, and not too far from them.
    let at = w.saturating_sub(19).min(34);
    let x = put_at(
        buf,
        area,
        3,
        0,
        &fit(agent.name.as_str(), usize::from(at.saturating_sub(4)).max(4)),
        t.strong,
    );
    if at > x {
        put_at(buf, area, at, 0, word, style);
        put_at(buf, area, at + 10, 0, &format!("{:>5}", since(model, agent)), t.dim);
        unread(model, agent, area, at + 16, 0, buf);
    }
    if area.height < 2 {
        return;
    }
    let mut facts = runtime(agent);
    for f in [agent.model.clone().unwrap_or_default(), used(agent)] {
        if !f.is_empty() {
            facts.push_str("  ");
            facts.push_str(&f);
        }
    }
    let mut left = 3;
    if let Some((n, limit)) = steps(agent) {
        left = put_at(buf, area, left, 1, &gauge(n, limit), t.gauge(n, limit)) + 2;
    }
    let room = usize::from(w.saturating_sub(4));
    let style = if Group::of(agent) == Group::NeedsYou { t.text } else { t.dim };
    if area.height > 2 {
        put_at(buf, area, left, 1, &fit(&facts, (room + 3).saturating_sub(usize::from(left))), t.dim);
        put_at(buf, area, 3, 2, &fit(&doing(agent), room), style);
        return;
    }
    let x = put_at(buf, area, left, 1, &fit(&facts, room.min(34)), t.dim);
    let room = usize::from(w.saturating_sub(x + 3));
    if room > 4 {
        put_at(buf, area, x + 2, 1, &fit(&doing(agent), room), style);
    }
}
