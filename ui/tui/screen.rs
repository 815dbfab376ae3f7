//! From buffers to bytes: the difference between what the terminal shows and what it should show, in
//! one synchronized update. No difference, no byte.

use std::io::{self, Write};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Begin and end of a synchronized update (mode 2026): a frame is shown whole or not at all.
pub const BEGIN: &[u8] = b"\x1b[?2026h";
pub const END: &[u8] = b"\x1b[?2026l";

/// What the terminal shows, as far as we wrote it.
pub struct Screen {
    shown: Buffer,
    next: Buffer,
    cursor: Option<Position>,
    /// Nothing is known of what the terminal shows.
    blank: bool,
    /// Sequences that are no cells (clipboard, bell), for the next frame.
    aside: Vec<u8>,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            shown: Buffer::empty(Rect::ZERO),
            next: Buffer::empty(Rect::ZERO),
            cursor: None,
            blank: true,
            aside: Vec::new(),
        }
    }

    /// Bytes to write before the next frame, whatever it shows.
    pub fn before(&mut self, bytes: Vec<u8>) {
        // Bounded: what a terminal that does not read has not got is replaced.
        if self.aside.len() + bytes.len() > 1 << 18 {
            self.aside.clear();
        }
        self.aside.extend(bytes);
    }

    /// Forget what the terminal shows (resize, resume, `ctrl-l`).
    pub fn invalidate(&mut self) {
        self.blank = true;
    }

    /// Draws with `draw` into a buffer of `size` and returns the bytes that bring the terminal there.
    pub fn paint(
        &mut self,
        size: (u16, u16),
        draw: impl FnOnce(&mut Buffer) -> Option<Position>,
    ) -> io::Result<Vec<u8>> {
        let area = Rect::new(0, 0, size.0, size.1);
        if self.shown.area != area {
            self.shown.resize(area);
            self.next.resize(area);
            self.blank = true;
        }
        if self.blank {
            self.shown.reset();
        }
        self.next.reset();
        let cursor = draw(&mut self.next);
        let mut out = Vec::new();
        if self.blank {
            out.extend_from_slice(BEGIN);
            out.extend_from_slice(b"\x1b[?25l\x1b[0m\x1b[2J");
            self.cursor = None;
        }
        let rows = self.doubtful();
        let doubtful = |y: u16| rows.binary_search(&y).is_ok();
        let mut cells = self.shown.diff_iter(&self.next).filter(|(_, y, _)| !doubtful(*y)).peekable();
        if cells.peek().is_some() || !rows.is_empty() {
            if out.is_empty() {
                out.extend_from_slice(BEGIN);
                if self.cursor.is_some() {
                    out.extend_from_slice(b"\x1b[?25l");
                    self.cursor = None;
                }
            }
            if cells.peek().is_some() {
                CrosstermBackend::new(&mut out).draw(cells)?;
            }
            for y in rows {
                self.whole_row(y, &mut out)?;
            }
        }
        if cursor != self.cursor {
            if out.is_empty() {
                out.extend_from_slice(BEGIN);
            }
            match cursor {
                Some(p) => write!(out, "\x1b[{};{}H\x1b[?25h", p.y + 1, p.x + 1)?,
                None => out.extend_from_slice(b"\x1b[?25l"),
            }
        }
        if !out.is_empty() {
            out.extend_from_slice(END);
        }
        if !self.aside.is_empty() {
            out.splice(0..0, self.aside.drain(..));
        }
        self.cursor = cursor;
        self.blank = false;
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(out)
    }

    /// Rows that change and hold (or held) graphemes whose width terminals disagree about.
    fn doubtful(&self) -> Vec<u16> {
        let width = usize::from(self.next.area.width).max(1);
        let rows = self.shown.content().chunks(width).zip(self.next.content().chunks(width));
        (0u16..)
            .zip(rows)
            .filter(|(_, (old, new))| old != new && (old.iter().any(unsure) || new.iter().any(unsure)))
            .map(|(y, _)| y)
            .collect()
    }

    /// Writes a row from nothing: what a terminal drew wider than we count is erased behind each
    /// doubtful grapheme, before the rest of the row is written.
    fn whole_row(&self, y: u16, out: &mut Vec<u8>) -> io::Result<()> {
        write!(out, "\x1b[{};1H\x1b[2K", y + 1)?;
        let width = self.next.area.width;
        let empty = Buffer::empty(Rect::new(0, y, width, 1));
        let mut row = empty.clone();
        for x in 0..width {
            row[(x, y)] = self.next[(x, y)].clone();
        }
        let mut part = Vec::new();
        for (x, y, cell) in empty.diff_iter(&row) {
            part.push((x, y, cell));
            if unsure(cell) {
                CrosstermBackend::new(&mut *out).draw(part.drain(..))?;
                let next = u32::from(x) + u32::try_from(cell.symbol().width()).unwrap_or(1);
                if next < u32::from(width) {
                    write!(out, "\x1b[{};{}H\x1b[K", y + 1, next + 1)?;
                }
            }
        }
        if !part.is_empty() {
            CrosstermBackend::new(out).draw(part.into_iter())?;
        }
        Ok(())
    }
}

/// A grapheme of several characters (emoji joined, coloured or given by a selector): terminals that do
/// not join them draw it wider than it counts.
fn unsure(cell: &Cell) -> bool {
    let s = cell.symbol();
    s.len() > 1 && s.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>() != s.width()
        || s.contains('\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    fn terminal() -> vt100::Parser {
        vt100::Parser::new(2.try_into().unwrap(), 10.try_into().unwrap(), 0)
    }

    fn paint(s: &mut Screen, text: &str, cursor: Option<(u16, u16)>) -> Vec<u8> {
        s.paint((10, 2), |b| {
            b.set_string(0, 0, text, Style::new());
            cursor.map(Position::from)
        })
        .unwrap()
    }

    #[test]
    fn the_same_screen_costs_no_byte() {
        let mut s = Screen::new();
        let first = paint(&mut s, "hello", Some((5, 0)));
        assert!(first.starts_with(BEGIN) && first.ends_with(END));
        assert!(paint(&mut s, "hello", Some((5, 0))).is_empty());
        assert!(!paint(&mut s, "hello", Some((4, 0))).is_empty(), "the cursor moved");
        assert!(paint(&mut s, "hello", Some((4, 0))).is_empty());
        assert!(!paint(&mut s, "hello", None).is_empty());
        s.invalidate();
        assert!(!paint(&mut s, "hello", None).is_empty());
    }

    #[test]
    fn what_reaches_a_terminal_is_what_was_drawn() {
        let mut s = Screen::new();
        let mut term = terminal();
        let plain = ["日本語", "ab", "x日本", "éz", ""].map(|t| (t, t));
        // This terminal draws a joined family as its members: the rest of them must not stay.
        for (text, want) in [("👩‍👩‍👧 a", "👩\u{200d}a")].into_iter().chain(plain) {
            term.process(&paint(&mut s, text, None));
            let mut fresh = terminal();
            fresh.process(&paint(&mut Screen::new(), text, None));
            let row = |t: &vt100::Parser| t.screen().contents().trim_end().to_owned();
            assert_eq!(row(&term), row(&fresh), "{text}");
            assert_eq!(row(&term).replace(' ', ""), want, "{text}");
        }
        assert_eq!(term.screen().contents().trim(), "");
    }
}
