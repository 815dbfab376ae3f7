//! Copying the visible rows to the screen. Pure: nothing is measured or changed here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use super::Transcript;
use super::card::Card;
use super::render::gutter;
use super::scroll::gutter_width;
use super::wrap::{Ink, Row, Tone, clusters};

impl Transcript {
    /// Draws what the last [`Transcript::layout`] made visible. `focused`: this pane has the keyboard.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, focused: bool) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let indent = gutter_width(area.width);
        let text = Rect { x: area.x + indent, width: area.width - indent, ..area };
        for slice in &self.slices {
            let Some(card) = self.card(slice.serial) else { continue };
            let Some(wrapped) = &card.wrapped else { continue };
            for n in 0..slice.rows {
                let y = usize::from(area.y) + slice.y + n;
                if y >= usize::from(area.bottom()) {
                    break;
                }
                let (y, at) = (y as u16, slice.from + n);
                #[cfg(test)]
                self.work.set(self.work.get() + 1);
                if at >= wrapped.len().max(1) {
                    continue;
                }
                if indent > 0 {
                    self.draw_gutter(card, slice.serial, at, (area.x, y), buf, focused);
                }
                if let Some(row) = wrapped.row(at) {
                    self.draw_row(row, Rect { y, height: 1, ..text }, buf);
                }
                if let Some((tone, said)) = wrapped.fact.as_ref().filter(|_| at == 0) {
                    self.draw_fact(*tone, said, Rect { y, height: 1, ..text }, buf);
                }
            }
        }
    }

    fn draw_gutter(
        &self,
        card: &Card,
        serial: i64,
        row: usize,
        at: (u16, u16),
        buf: &mut Buffer,
        focused: bool,
    ) {
        let (glyph, tone) = gutter(card);
        let selected = self.selected == Some(serial);
        let bar = if focused { self.theme.border_focused } else { self.theme.dim };
        let mut style = Ink::from(tone).style(&self.theme);
        let shown = match (row, selected) {
            (0, _) => glyph,
            (_, true) => {
                style = bar;
                "│"
            }
            (_, false) if card.is_pending() => "▌",
            _ => return,
        };
        if selected && row == 0 && focused {
            style = style.patch(self.theme.selection);
        }
        if let Some(cell) = buf.cell_mut(at) {
            cell.set_symbol(shown).set_style(style);
        }
    }

    fn draw_row(&self, row: &Row, area: Rect, buf: &mut Buffer) {
        let (mut x, mut at, mut run) = (area.x, 0, 0);
        clusters(&row.text, |g, width| {
            while row.runs.get(run).is_some_and(|(end, _)| *end <= at) {
                run += 1;
            }
            at += g.len();
            let style = row.runs.get(run).map_or(self.theme.text, |(_, ink)| ink.style(&self.theme));
            x = put(buf, area, x, g, width, style);
        });
    }

    fn draw_fact(&self, tone: Tone, said: &str, area: Rect, buf: &mut Buffer) {
        let style = Ink::from(tone).style(&self.theme);
        let mut x = area.right().saturating_sub(said.width().try_into().unwrap_or(u16::MAX)).max(area.x);
        clusters(said, |g, width| x = put(buf, area, x, g, width, style));
    }
}

/// Puts one cluster into its cells; what does not fit whole is left out. Returns where the next goes.
fn put(buf: &mut Buffer, area: Rect, x: u16, g: &str, width: usize, style: Style) -> u16 {
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    let next = x.saturating_add(width);
    if width == 0 || next > area.right() {
        return if width == 0 { x } else { area.right() };
    }
    if let Some(cell) = buf.cell_mut((x, area.y)) {
        cell.set_symbol(g).set_style(style);
    }
    for hidden in x + 1..next {
        if let Some(cell) = buf.cell_mut((hidden, area.y)) {
            cell.reset();
        }
    }
    next
}
