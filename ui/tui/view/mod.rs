//! What the screen looks like. Layout first (it may cache), then drawing, which changes nothing and
//! costs what is visible.

mod help;
mod inbox;
mod input;
mod line;
mod list;
mod overlay;
mod session;
mod spawn;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::list::Group;
use super::model::{Focus, Level, Link, Model};
use super::prompt::Kind;
use line::{fit, put, put_right, width};

/// Where everything is; empty areas are not shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Areas {
    pub header: Rect,
    pub banner: Rect,
    pub list: Rect,
    /// The rule between list and session.
    pub rule: Rect,
    pub session: session::Areas,
    pub footer: Rect,
    /// What overlays may cover.
    pub body: Rect,
}

/// The areas for the model's size and focus.
pub fn areas(model: &Model) -> Areas {
    let (w, h) = model.size;
    let mut a = Areas::default();
    if w == 0 || h == 0 {
        return a;
    }
    let header = u16::from(h >= 3);
    let banner = u16::from(model.banner.is_some() && h >= 12);
    let footer = u16::from(h >= 2);
    a.header = Rect::new(0, 0, w, header);
    a.banner = Rect::new(0, header, w, banner);
    a.footer = Rect::new(0, h - footer, w, footer);
    let top = header + banner;
    a.body = Rect::new(0, top, w, h.saturating_sub(top + footer));
    let body = a.body;
    if model.wide() {
        let list = (u32::from(w) * 38 / 100).min(96) as u16;
        a.list = Rect { width: list, ..body };
        a.rule = Rect::new(list, body.y, 1, body.height);
        let rest = Rect::new(list + 2, body.y, w - list - 2, body.height);
        a.session = session::areas(model, rest);
    } else if model.focus == Focus::List {
        a.list = body;
    } else {
        a.session = session::areas(model, body);
    }
    a
}

/// Brings everything that depends on the size into place: wraps, scroll positions.
pub fn layout(model: &mut Model) {
    let a = areas(model);
    list::layout(model, a.list);
    let t = a.session.transcript;
    if let Some(s) = model.shown_mut()
        && t.width > 0
        && t.height > 0
    {
        s.transcript.layout(t.width, t.height);
    }
    overlay::layout(model, a.body);
}

/// Draws the whole screen; returns where the cursor stands, if it is shown.
pub fn draw(model: &Model, buf: &mut Buffer) -> Option<Position> {
    let a = areas(model);
    header(model, a.header, buf);
    if a.banner.height > 0
        && let Some(text) = &model.banner
    {
        put(buf, a.banner, 1, text, model.theme.warn);
    }
    list::draw(model, a.list, buf);
    for y in a.rule.y..a.rule.bottom() {
        buf.set_string(a.rule.x, y, "│", model.theme.border);
    }
    let mut cursor = session::draw(model, &a.session, buf);
    if model.overlay.is_some() {
        cursor = overlay::draw(model, a.body, buf);
    }
    footer(model, a.footer, buf).or(if model.prompt.is_some() { None } else { cursor })
}

/// Title, what needs a person, and the state of the link.
fn header(model: &Model, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let (word, style) = match &model.link {
        Link::Connecting => ("connecting…".to_owned(), t.dim),
        Link::Up => (String::new(), t.dim),
        Link::Lost(why) => (format!("disconnected, trying again: {why}"), t.error),
    };
    let mut x = put(buf, area, 1, "fracta", t.strong) + 2;
    let (needs, working) = (model.list.count(Group::NeedsYou), model.list.count(Group::Working));
    if needs > 0 {
        let verb = if needs == 1 { "needs" } else { "need" };
        x = put(buf, area, x, &format!("▲ {needs} {verb} you"), t.approval) + 2;
    }
    if working > 0 {
        x = put(buf, area, x, &format!("● {working} working"), t.accent) + 2;
    }
    let n = model.list.len();
    let all = if n == 1 { "1 agent".to_owned() } else { format!("{n} agents") };
    if model.link != Link::Connecting && usize::from(x) + width(&all) < usize::from(area.width) {
        x = put(buf, area, x, &all, t.dim) + 2;
    }
    let room = usize::from(area.width).saturating_sub(usize::from(x) + 1);
    let word = fit(&word, room);
    put_right(buf, area, 1, &word, style);
    if word.is_empty() && room > 12 {
        put_right(buf, area, 1, &fit(&model.at, room.min(40)), t.dim);
    }
}

/// The prompt, else the note, else the hints. Returns the prompt's cursor.
fn footer(model: &Model, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let t = &model.theme;
    if area.height == 0 {
        return None;
    }
    if let Some(p) = &model.prompt {
        let sign = if p.kind == Kind::Command { ":" } else { "/" };
        let head = p.head();
        // The text scrolls so that the cursor stays in sight.
        let room = usize::from(area.width).saturating_sub(2);
        let skip = line::skip_for(&head, room);
        let x = put(buf, area, 0, sign, t.accent);
        put(buf, area, x, &p.text()[skip..], t.text);
        let at = x + u16::try_from(width(&head[skip..])).unwrap_or(0);
        return Some(Position::new(at.min(area.width.saturating_sub(1)), area.y));
    }
    if let Some(n) = &model.note {
        let style = match n.level {
            Level::Info => t.text,
            Level::Good => t.ok,
            Level::Bad => t.error,
        };
        put(buf, area, 1, &fit(&n.text, usize::from(area.width).saturating_sub(2)), style);
        return None;
    }
    // An overlay says itself what its keys are.
    if model.overlay.is_none() {
        help::hints(model, area, buf);
    }
    None
}
