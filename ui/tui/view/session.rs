//! The session: a heading, the transcript, what waits for an answer, and the input.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::line::{fit, gauge, put, put_at, put_right, tokens, unwrapped, width};
use super::{input, list};
use crate::tui::keymap::Action;
use crate::tui::model::{Focus, Model, Stream};

/// Parts of the session's area.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Areas {
    pub heading: Rect,
    pub transcript: Rect,
    /// The request that waits for an answer.
    pub pending: Rect,
    pub input: Rect,
}

pub fn areas(model: &Model, area: Rect) -> Areas {
    let heading = match area.height {
        0..6 => 0,
        6..14 => 1,
        14..24 => 2,
        // A blank row below the facts.
        _ => 3,
    };
    let mut left = area.height - heading.min(area.height);
    let pending =
        u16::from(left >= 6 && model.list.selected().is_some_and(|a| !a.pending_approvals.is_empty()));
    left -= pending;
    let input = input::height(model, area.width, left).min(left);
    left -= input;
    let rows = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
    // The cards' marks stand below the heading's.
    let inset = u16::from(area.width > 50);
    let transcript = Rect { x: area.x + inset, width: area.width - 2 * inset, ..rows(heading, left) };
    Areas {
        heading: rows(0, heading),
        transcript,
        pending: rows(heading + left, pending),
        input: rows(heading + left + pending, input),
    }
}

pub fn draw(model: &Model, a: &Areas, buf: &mut Buffer) -> Option<Position> {
    if a.transcript.width == 0 {
        return None;
    }
    model.list.selected()?;
    heading(model, a.heading, buf);
    transcript(model, a.transcript, buf);
    pending(model, a.pending, buf);
    input::draw(model, a.input, buf)
}

fn heading(model: &Model, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let Some(agent) = model.list.selected() else { return };
    if area.height == 0 {
        return;
    }
    let (glyph, word, style) = list::mark(t, agent);
    let x = put(buf, area, 1, glyph, style) + 1;
    let x = put(buf, area, x, agent.name.as_str(), t.strong) + 2;
    let mut x = put(buf, area, x, word, style) + 2;
    if let Some(reason) = agent.reason.as_ref().filter(|r| !r.is_empty()) {
        let room = usize::from(area.width.saturating_sub(x + 1));
        x = put(buf, area, x, &fit(reason, room), style) + 2;
    }
    let (state, style) = match model.shown().map(|s| &s.stream) {
        None | Some(Stream::Loading) => ("reading…", t.dim),
        Some(Stream::Live) => ("", t.dim),
        Some(Stream::Lost(_)) => ("stream broken, trying again", t.error),
        Some(Stream::Gone) => ("gone", t.warn),
    };
    if usize::from(area.width) > usize::from(x) + width(state) {
        put_right(buf, area, 1, state, style);
    }
    if area.height < 2 {
        return;
    }
    let mut facts = vec![format!("{}·{}", agent.runtime, agent.mode.word())];
    facts.extend(agent.model.clone());
    facts.push(agent.backend.clone());
    facts.extend(agent.branch.clone());
    let u = &agent.usage;
    if u.input_tokens + u.output_tokens > 0 {
        facts.push(format!("{} in {} out", tokens(u.input_tokens), tokens(u.output_tokens)));
    }
    facts.extend(u.cost_usd.map(|c| format!("${c:.2}")));
    if agent.queued_messages > 0 {
        facts.push(format!("{} queued", agent.queued_messages));
    }
    let text = facts.join("  ");
    let mut x = 3;
    if let Some((n, limit)) = agent.step {
        x = put_at(buf, area, x, 1, &gauge(n, limit), t.gauge(n, limit)) + 2;
    }
    put_at(buf, area, x, 1, &fit(&text, usize::from(area.width.saturating_sub(x + 1))), t.dim);
}

fn transcript(model: &Model, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let Some(s) = model.shown() else { return };
    if area.height == 0 {
        return;
    }
    s.transcript.draw(area, buf, model.focus == Focus::Session);
    if !s.transcript.following() {
        let below = s.transcript.rows_below();
        let key = model.keys.key_of(Action::Bottom);
        let text = format!(" ↓ {below} more below · {key} follows ");
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        put_right(buf, last, 1, &text, t.selection);
    }
    let none = model.list.selected().is_some_and(|a| a.last_seq == 0) && s.stream == Stream::Live;
    if none && s.transcript.last_seq() == 0 {
        put_at(buf, area, 1, 1, "no events yet", t.dim);
    }
}

fn pending(model: &Model, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let Some(agent) = model.list.selected() else { return };
    let Some(p) = agent.pending_approvals.first() else { return };
    if area.height == 0 {
        return;
    }
    let more = agent.pending_approvals.len() - 1;
    let keys = format!(
        "{} approve  {} deny{}",
        model.keys.key_of(Action::Approve),
        model.keys.key_of(Action::Deny),
        if more > 0 { format!("  +{more}") } else { String::new() }
    );
    // The command is what is decided on; the reason comes where there is room for it.
    let command = p.command.as_deref().map(unwrapped).filter(|c| !c.trim().is_empty());
    let what = match &command {
        Some(c) => format!("▲ $ {c}"),
        None => format!("▲ {}", p.what),
    };
    let room = usize::from(area.width).saturating_sub(width(&keys) + 4);
    let x = put(buf, area, 1, &fit(&what, room), t.approval) + 2;
    let left = (room + 1).saturating_sub(usize::from(x));
    if command.is_some() && left > 8 {
        put(buf, area, x, &fit(&p.what, left), t.dim);
    }
    put_right(buf, area, 1, &keys, t.accent);
}
