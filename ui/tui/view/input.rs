//! The input: what is typed, and what Enter will do with it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;
use ratatui_textarea::TextArea;

use super::line::{fit, put, width};
use crate::tui::keymap::Action;
use crate::tui::model::{Focus, Model, Route};

/// Rows the input takes of `left` rows: its rule and the text, up to a third.
pub fn height(model: &Model, columns: u16, left: u16) -> u16 {
    if left < 4 {
        return u16::from(left >= 2 || model.focus == Focus::Input);
    }
    let room = usize::from(columns.saturating_sub(3)).max(1);
    let most = usize::from((left / 3).clamp(1, 10));
    // Long texts need no exact count: they take the most anyway.
    let mut rows = 0;
    for l in model.input.lines() {
        rows += 1 + width(l) / room;
        if rows >= most {
            break;
        }
    }
    1 + u16::try_from(rows.clamp(1, most)).unwrap_or(1)
}

pub fn draw(model: &Model, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let t = &model.theme;
    let agent = model.list.selected()?;
    if area.height == 0 || area.width == 0 {
        return None;
    }
    let focused = model.focus == Focus::Input;
    let (word, why) = match model.route(agent) {
        Route::Steer => ("steer", "goes into the running turn".to_owned()),
        Route::Say(why) => ("say", why),
        Route::Answer(_) => ("answer", "one line for each question; or JSON".to_owned()),
        Route::No(why) => ("closed", why),
    };
    let mut text = area;
    if area.height > 1 {
        let rule = Rect { height: 1, ..area };
        let style = if focused { t.border_focused } else { t.border };
        buf.set_stringn(rule.x, rule.y, "─".repeat(usize::from(rule.width)), usize::from(rule.width), style);
        let x = put(buf, rule, 1, " ", style);
        let x = put(buf, rule, x, word, if focused { t.accent } else { t.dim });
        let room = usize::from(rule.width.saturating_sub(x + 4));
        if room > 8 {
            put(buf, rule, x, &format!(" · {} ", fit(&why, room)), t.dim);
        }
        text.y += 1;
        text.height -= 1;
    }
    put(buf, text, 1, "›", if focused { t.accent } else { t.dim });
    let inner = Rect { x: text.x + 3.min(text.width), width: text.width.saturating_sub(3), ..text };
    if model.input.is_empty() && !focused {
        let hint = format!("{} to write", model.keys.key_of(Action::Input));
        put(buf, inner, 0, &hint, t.dim);
        return None;
    }
    let cursor = text_area(&model.input, inner, buf);
    if focused { cursor } else { None }
}

/// Draws a text area and says where its cursor is.
pub fn text_area(area: &TextArea<'static>, place: Rect, buf: &mut Buffer) -> Option<Position> {
    let place = place.intersection(buf.area);
    if place.width == 0 || place.height == 0 {
        return None;
    }
    area.render(place, buf);
    let (top, left) = area.scroll_offset();
    let c = area.screen_cursor();
    let x = c.col.saturating_sub(usize::from(left)).min(usize::from(place.width) - 1);
    let y = c.row.saturating_sub(usize::from(top)).min(usize::from(place.height) - 1);
    Some(Position::new(place.x + u16::try_from(x).ok()?, place.y + u16::try_from(y).ok()?))
}
