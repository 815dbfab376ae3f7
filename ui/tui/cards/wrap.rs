//! Rows: text broken to a width, with its inks. Inks are names, not styles, so that a new theme needs
//! no new wrapping.

use ratatui::style::{Modifier, Style};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::tui::theme::Theme;

/// What a piece of text is, for the theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Text,
    Dim,
    Strong,
    Accent,
    Ok,
    Warn,
    Error,
    User,
    Code,
    Heading,
    Link,
    Added,
    Removed,
    Hunk,
    Reasoning,
    Approval,
}

/// A tone and its emphasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ink {
    pub tone: Tone,
    pub bold: bool,
    pub italic: bool,
    pub strike: bool,
}

impl From<Tone> for Ink {
    fn from(tone: Tone) -> Self {
        Self { tone, bold: false, italic: false, strike: false }
    }
}

impl Ink {
    pub fn style(self, theme: &Theme) -> Style {
        let mut style = match self.tone {
            Tone::Text => theme.text,
            Tone::Dim => theme.dim,
            Tone::Strong => theme.strong,
            Tone::Accent => theme.accent,
            Tone::Ok => theme.ok,
            Tone::Warn => theme.warn,
            Tone::Error => theme.error,
            Tone::User => theme.user,
            Tone::Code => theme.code,
            Tone::Heading => theme.heading,
            Tone::Link => theme.link,
            Tone::Added => theme.added,
            Tone::Removed => theme.removed,
            Tone::Hunk => theme.hunk,
            Tone::Reasoning => theme.reasoning,
            Tone::Approval => theme.approval,
        };
        for (on, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.italic, Modifier::ITALIC),
            (self.strike, Modifier::CROSSED_OUT),
        ] {
            if on {
                style = style.add_modifier(modifier);
            }
        }
        style
    }
}

/// One row of the screen: its text and up to which byte each ink goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub text: String,
    pub runs: Vec<(usize, Ink)>,
}

impl Row {
    fn push(&mut self, text: &str, ink: Ink) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        match self.runs.last_mut() {
            Some((end, last)) if *last == ink => *end = self.text.len(),
            _ => self.runs.push((self.text.len(), ink)),
        }
    }

    /// Columns that the row takes.
    pub fn width(&self) -> usize {
        let mut sum = 0;
        clusters(&self.text, |_, w| sum += w);
        sum
    }
}

/// A logical line before wrapping.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub spans: Vec<(Ink, String)>,
    /// Stands before the first row.
    pub first: Vec<(Ink, String)>,
    /// Stands before the others; the same width as `first`.
    pub rest: Vec<(Ink, String)>,
    /// Break at the edge, not between words: code and command output.
    pub hard: bool,
}

impl Line {
    pub fn new(tone: impl Into<Ink>, text: impl Into<String>) -> Self {
        Self { spans: vec![(tone.into(), text.into())], ..Self::default() }
    }

    pub fn then(mut self, tone: impl Into<Ink>, text: impl Into<String>) -> Self {
        self.spans.push((tone.into(), text.into()));
        self
    }

    /// Indents all rows, the first with `bullet`.
    pub fn indent(mut self, tone: impl Into<Ink>, bullet: &str) -> Self {
        let ink = tone.into();
        self.rest.push((ink, " ".repeat(bullet.width())));
        self.first.push((ink, bullet.to_owned()));
        self
    }

    pub fn hard(mut self) -> Self {
        self.hard = true;
        self
    }
}

/// Calls `f(cluster, columns)` for each cluster that is drawn as one. Freak clusters wider than two
/// columns (rows of conjoining letters) are taken apart, so that each fits in a cell and the next.
pub fn clusters<'a>(text: &'a str, mut f: impl FnMut(&'a str, usize)) {
    if text.is_ascii() {
        return (0..text.len()).for_each(|i| f(&text[i..=i], 1));
    }
    for g in text.graphemes(true) {
        let width = cluster_width(g);
        if width <= 2 {
            f(g, width);
            continue;
        }
        for (at, c) in g.char_indices() {
            let s = &g[at..at + c.len_utf8()];
            f(s, cluster_width(s).max(c.width().unwrap_or(0)));
        }
    }
}

/// As ratatui counts: it gives half-width voiced marks a column of their own.
fn cluster_width(g: &str) -> usize {
    g.width() + g.chars().filter(|c| matches!(c, '\u{ff9e}' | '\u{ff9f}')).count()
}

/// Where a row may end, while it is being filled.
#[derive(Clone, Copy)]
struct Break {
    /// The row ends here.
    end: usize,
    /// The next row starts here.
    next: usize,
    /// Columns from the row's start to `next`.
    columns: usize,
}

/// Breaks a line to rows of at most `width` columns (at least 1) and appends them.
pub fn wrap(line: &Line, width: usize, out: &mut Vec<Row>) {
    let width = width.max(1);
    let text: String = line.spans.iter().map(|(_, s)| s.as_str()).collect();
    let indent = |prefix: &[(Ink, String)]| prefix.iter().map(|(_, s)| s.width()).sum::<usize>();
    let (first, rest) = (indent(&line.first), indent(&line.rest));
    // Where the prefix leaves no room for words, it goes.
    let prefixed = first.max(rest) + 4 <= width;
    let room = |n: usize| if !prefixed { width } else { width - if n == 0 { first } else { rest } };
    let mut filler = Filler { line, text: &text, prefixed, rows: 0, out };
    let (mut start, mut column, mut at) = (0, 0, 0);
    let mut brk: Option<Break> = None;
    let mut blank = true;
    clusters(&text, |g, w| {
        let space = g == " ";
        // Of several spaces the row ends before the first.
        let space_end = brk.filter(|b| b.next == at).map_or(at, |b| b.end);
        if column + w > room(filler.rows) {
            if space && !line.hard {
                // A row's end swallows the space.
                brk = Some(Break { end: space_end, next: at + 1, columns: column + 1 });
                column += 1;
                at += 1;
                return;
            }
            match brk.take() {
                Some(b) if b.next > start => {
                    filler.row(start, b.end);
                    (start, column) = (b.next, column - b.columns);
                }
                _ => {
                    filler.row(start, at);
                    (start, column) = (at, 0);
                }
            }
            if column + w > room(filler.rows) && at > start {
                filler.row(start, at);
                (start, column) = (at, 0);
            }
        }
        column += w;
        let wide = w == 2 && !line.hard;
        blank &= space;
        if !line.hard && !blank && (space || wide) {
            let end = if space { space_end } else { at + g.len() };
            brk = Some(Break { end, next: at + g.len(), columns: column });
        }
        at += g.len();
    });
    let end = if line.hard { text.len() } else { start + text[start..].trim_end_matches(' ').len() };
    if end > start || filler.rows == 0 {
        filler.row(start, end);
    }
}

struct Filler<'a> {
    line: &'a Line,
    text: &'a str,
    prefixed: bool,
    rows: usize,
    out: &'a mut Vec<Row>,
}

impl Filler<'_> {
    /// Appends the row of these bytes.
    fn row(&mut self, from: usize, to: usize) {
        // A cluster wider than the screen leaves an empty row behind itself: not worth one.
        if from == to
            && self.rows == 0
            && from < self.text.len()
            && !self.text[from..].trim_start().is_empty()
        {
            return;
        }
        let mut row = Row::default();
        if self.prefixed {
            let prefix = if self.rows == 0 { &self.line.first } else { &self.line.rest };
            prefix.iter().for_each(|(ink, s)| row.push(s, *ink));
        }
        let mut at = 0;
        for (ink, s) in &self.line.spans {
            let (a, b) = (from.max(at), to.min(at + s.len()));
            if a < b {
                row.push(&self.text[a..b], *ink);
            }
            at += s.len();
            if at >= to {
                break;
            }
        }
        self.rows += 1;
        self.out.push(row);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str, width: usize) -> Vec<String> {
        let mut out = Vec::new();
        wrap(&Line::new(Tone::Text, text), width, &mut out);
        out.into_iter().map(|r| r.text).collect()
    }

    #[test]
    fn breaks_between_words_and_inside_long_ones() {
        assert_eq!(rows("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(rows("abcdefghij xy", 4), ["abcd", "efgh", "ij", "xy"]);
        assert_eq!(rows("", 4), [""]);
        assert_eq!(rows("世界世界", 5), ["世界", "世界"]);
        assert_eq!(rows("ab  ", 3), ["ab"]);
        assert_eq!(rows("  indented text", 12), ["  indented", "text"]);
    }

    #[test]
    fn prefixes_hang() {
        let mut out = Vec::new();
        wrap(&Line::new(Tone::Text, "one two three").indent(Tone::Dim, "• "), 9, &mut out);
        let text: Vec<_> = out.iter().map(|r| r.text.as_str()).collect();
        assert_eq!(text, ["• one two", "  three"]);
        assert_eq!(out[0].runs, [(4, Tone::Dim.into()), (11, Tone::Text.into())]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_too_wide(text in "[a-z 世é👩\u{301}]{0,80}", width in 2usize..30, hard: bool) {
            let text = fracta::text::line(&text).into_owned();
            let mut out = Vec::new();
            let line = Line { hard, ..Line::new(Tone::Text, text.clone()) };
            wrap(&line, width, &mut out);
            for row in &out {
                prop_assert!(row.width() <= width, "{row:?}");
            }
            let kept: String = out.iter().flat_map(|r| r.text.chars()).filter(|c| *c != ' ').collect();
            let given: String = text.chars().filter(|c| *c != ' ').collect();
            prop_assert_eq!(kept, given);
        }
    }
}
