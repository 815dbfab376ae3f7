//! From buffers to bytes: the difference between what the terminal shows and what it should show, in
//! one synchronized update. No difference, no byte.

use std::io::{self, Write};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

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
        let mut cells = self.shown.diff_iter(&self.next).peekable();
        if cells.peek().is_some() {
            if out.is_empty() {
                out.extend_from_slice(BEGIN);
                if self.cursor.is_some() {
                    out.extend_from_slice(b"\x1b[?25l");
                    self.cursor = None;
                }
            }
            CrosstermBackend::new(&mut out).draw(cells)?;
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
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

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
        let mut term = vt100::Parser::new(2, 10, 0);
        for text in ["日本語", "ab", "x日本", "👩‍👩‍👧 a", "é́z", ""] {
            term.process(&paint(&mut s, text, None));
            let mut fresh = vt100::Parser::new(2, 10, 0);
            fresh.process(&paint(&mut Screen::new(), text, None));
            assert_eq!(term.screen().contents(), fresh.screen().contents(), "{text}");
        }
        assert_eq!(term.screen().contents().trim(), "");
    }
}
