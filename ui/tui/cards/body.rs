//! The long text of a card, cut into units that are final. Only what is behind the last unit may
//! still change, so a delta costs what it brings, not what stands there already.

use fracta::text;

/// Most bytes kept of one card.
pub const MAX_TEXT: usize = 256 * 1024;
/// What is dropped at once from the start of a text that keeps its end.
const SLACK: usize = 64 * 1024;
/// The open tail is cut into a unit when it grows over this; tables may be longer.
const MAX_OPEN: usize = 4 * 1024;
const MAX_OPEN_TABLE: usize = 16 * 1024;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Markdown,
    /// Line by line; of too much the start is kept.
    Plain,
    /// Line by line; of too much the end is kept.
    Output,
    Diff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    Markdown,
    Code,
    /// The line that opens or closes a code block; shows nothing itself.
    FenceOpen,
    FenceClose,
    Line,
}

/// A piece of text that changes no more. It starts where the one before ends.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    pub end: usize,
    pub kind: UnitKind,
    /// Goes on where the unit before was cut: no blank row between.
    pub glued: bool,
}

#[derive(Debug, Clone, Copy)]
struct Fence {
    mark: u8,
    len: usize,
}

#[derive(Debug)]
pub struct Body {
    pub mode: Mode,
    stream: text::Stream,
    pub text: String,
    pub units: Vec<Unit>,
    /// Bytes that were not kept.
    pub cut: u64,
    /// Changes when units were taken back: nothing wrapped of them holds any more.
    pub generation: u32,
    /// A completing event brought all of it: nothing of an earlier page is missing.
    pub whole: bool,
    /// Start of the line that is not read yet.
    scan: usize,
    fence: Option<Fence>,
    /// The open tail holds list items; then an indented or bulleted line behind a blank one belongs to it.
    listy: bool,
    blank_before: bool,
    glue_next: bool,
}

impl Body {
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            stream: text::Stream::default(),
            text: String::new(),
            units: Vec::new(),
            cut: 0,
            generation: 0,
            whole: false,
            scan: 0,
            fence: None,
            listy: false,
            blank_before: false,
            glue_next: false,
        }
    }

    /// Start of what may still change.
    pub fn open(&self) -> usize {
        self.units.last().map_or(0, |u| u.end)
    }

    /// The text of a unit; of the open tail for the number behind the last.
    pub fn unit_text(&self, n: usize) -> &str {
        let start = if n == 0 { 0 } else { self.units[n - 1].end };
        let end = self.units.get(n).map_or(self.text.len(), |u| u.end);
        &self.text[start..end]
    }

    /// The open tail as a unit, if there is one.
    pub fn tail(&self) -> Option<Unit> {
        let kind = match self.mode {
            Mode::Markdown if self.fence.is_some() => UnitKind::Code,
            Mode::Markdown => UnitKind::Markdown,
            _ => UnitKind::Line,
        };
        (self.open() < self.text.len()).then_some(Unit { end: self.text.len(), kind, glued: self.glue_next })
    }

    /// Units and tail.
    pub fn len(&self) -> usize {
        self.units.len() + usize::from(self.open() < self.text.len())
    }

    pub fn push(&mut self, piece: &str) {
        let clean = self.stream.push(piece);
        self.append(&clean);
    }

    /// No more comes.
    pub fn finish(&mut self) {
        let rest = self.stream.finish();
        self.append(&rest);
    }

    /// The whole text makes good what deltas missed; nothing happens if they missed nothing.
    pub fn complete(&mut self, whole: &str) {
        self.finish();
        if self.cut > 0 || self.text != *text::block(whole) {
            self.replace(whole);
        }
        self.whole = true;
    }

    /// Puts another text in its place. Diffs are shown exactly: a person decides on them.
    pub fn replace(&mut self, whole: &str) {
        let generation = self.generation.wrapping_add(1);
        *self = Self { generation, whole: true, ..Self::new(self.mode) };
        // Cleaning is bounded too: of a giant only what can be kept is read.
        let (from, to) = bounds(whole, self.mode == Mode::Output);
        self.cut = (whole.len() - (to - from)) as u64;
        let clean = if self.mode == Mode::Diff {
            text::exact(&whole[from..to])
        } else {
            text::block(&whole[from..to])
        };
        self.append(&clean);
    }

    /// Text that came before this one (an earlier page of the transcript).
    pub fn put_before(&mut self, earlier: &Body) {
        let (generation, cut) = (self.generation.wrapping_add(1), self.cut + earlier.cut);
        let stream = std::mem::take(&mut self.stream);
        let later = std::mem::take(&mut self.text);
        *self = Self { generation, cut, ..Self::new(self.mode) };
        self.append(&earlier.text);
        self.append(&later);
        self.stream = stream;
    }

    fn append(&mut self, clean: &str) {
        let mut clean = clean;
        if self.mode != Mode::Output {
            let mut room = MAX_TEXT.saturating_sub(self.text.len()).min(clean.len());
            while !clean.is_char_boundary(room) {
                room -= 1;
            }
            self.cut += (clean.len() - room) as u64;
            clean = &clean[..room];
        }
        self.text.push_str(clean);
        self.read();
        if self.mode == Mode::Output && self.text.len() > MAX_TEXT + SLACK {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        let excess = self.text.len() - MAX_TEXT;
        let n = self.units.partition_point(|u| u.end <= excess);
        let Some(bytes) = n.checked_sub(1).map(|n| self.units[n].end) else { return };
        self.text.drain(..bytes);
        self.units.drain(..n);
        self.units.iter_mut().for_each(|u| u.end -= bytes);
        self.scan -= bytes;
        self.cut += bytes as u64;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Reads the complete lines that are new.
    fn read(&mut self) {
        while let Some(n) = memchr::memchr(b'\n', &self.text.as_bytes()[self.scan..]) {
            let (start, end) = (self.scan, self.scan + n + 1);
            self.scan = end;
            if self.mode == Mode::Markdown {
                self.read_markdown(start, end);
            } else {
                self.seal(end, UnitKind::Line, false);
            }
        }
        let limit = match self.text.as_bytes().get(self.open()) {
            Some(b'|') if self.mode == Mode::Markdown => MAX_OPEN_TABLE,
            _ => MAX_OPEN,
        };
        while self.text.len() - self.open() > limit {
            let mut end = self.open() + limit;
            while !self.text.is_char_boundary(end) {
                end -= 1;
            }
            if let Some(tail) = self.tail() {
                if tail.kind == UnitKind::Markdown {
                    let open = &self.text[self.open()..end];
                    let at = open.rfind('\n').or_else(|| open.rfind(' ')).map_or(open.len(), |n| n + 1);
                    end = self.open() + at;
                }
                self.seal(end, tail.kind, true);
                self.scan = self.scan.max(end);
            }
        }
    }

    fn seal(&mut self, end: usize, kind: UnitKind, glue_next: bool) {
        if end > self.open() {
            self.units.push(Unit { end, kind, glued: self.glue_next });
            self.glue_next = glue_next;
        }
        self.listy = false;
    }

    fn read_markdown(&mut self, start: usize, end: usize) {
        let line = &self.text[start..end];
        let indent = line.len() - line.trim_start_matches(' ').len();
        let blank = line.trim().is_empty();
        if let Some(fence) = self.fence {
            let closes = indent < 4
                && fence_of(line.trim()).is_some_and(|f| {
                    f.mark == fence.mark && f.len >= fence.len && line.trim().len() == f.len
                });
            if closes {
                self.fence = None;
            }
            self.seal(end, if closes { UnitKind::FenceClose } else { UnitKind::Code }, false);
            self.blank_before = false;
            return;
        }
        let listed = indent < 4 && is_item(line.trim_start());
        let opens = fence_of(line.trim_start()).filter(|_| indent == 0 || (indent < 4 && !self.listy));
        let begins = self.blank_before && !blank && indent == 0 && !(self.listy && listed);
        if opens.is_some() || begins {
            self.seal(start, UnitKind::Markdown, false);
        }
        if opens.is_some() {
            self.fence = opens;
            self.seal(end, UnitKind::FenceOpen, false);
        } else {
            self.listy |= listed;
        }
        self.blank_before = blank;
    }
}

/// What is read of a text that is too large: its start, or its end.
fn bounds(text: &str, end: bool) -> (usize, usize) {
    if text.len() <= MAX_TEXT {
        return (0, text.len());
    }
    let mut at = if end { text.len() - MAX_TEXT } else { MAX_TEXT };
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    if end { (at, text.len()) } else { (0, at) }
}

/// The fence that a line starts with.
fn fence_of(line: &str) -> Option<Fence> {
    let mark = *line.as_bytes().first().filter(|b| matches!(b, b'`' | b'~'))?;
    let len = line.bytes().take_while(|b| *b == mark).count();
    let info = &line[len..];
    (len >= 3 && !(mark == b'`' && info.contains('`'))).then_some(Fence { mark, len })
}

fn is_item(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let mark = &line[digits..];
    let bullet = digits == 0 && mark.starts_with(['-', '*', '+']);
    let number = (1..10).contains(&digits) && mark.starts_with(['.', ')']);
    (bullet || number) && mark[1..].starts_with([' ', '\t', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<(UnitKind, String)> {
        let mut b = Body::new(Mode::Markdown);
        text.chars().for_each(|c| b.push(&c.to_string()));
        let mut all: Vec<_> = b.units.iter().map(|u| u.kind).collect();
        all.extend(b.tail().map(|u| u.kind));
        all.into_iter().enumerate().map(|(n, k)| (k, b.unit_text(n).to_owned())).collect()
    }

    #[test]
    fn blocks_are_sealed_as_they_end() {
        use UnitKind::*;
        let got = units("para\ngoes on\n\n- a\n\n  more\n\n- b\n\nend\n```rs\nlet x;\n\n```\nlast");
        let want = [
            (Markdown, "para\ngoes on\n\n"),
            (Markdown, "- a\n\n  more\n\n- b\n\n"),
            (Markdown, "end\n"),
            (FenceOpen, "```rs\n"),
            (Code, "let x;\n"),
            (Code, "\n"),
            (FenceClose, "```\n"),
            (Markdown, "last"),
        ];
        assert_eq!(got, want.map(|(k, s)| (k, s.to_owned())));
    }

    #[test]
    fn the_open_tail_is_bounded() {
        let mut b = Body::new(Mode::Markdown);
        for _ in 0..10_000 {
            b.push("word ");
            assert!(b.text.len() - b.open() <= MAX_OPEN);
        }
        assert!(b.units.iter().skip(1).all(|u| u.glued));
    }

    #[test]
    fn too_much_is_cut_and_counted() {
        let mut b = Body::new(Mode::Output);
        (0..100_000).for_each(|n| b.push(&format!("line {n}\n")));
        assert!(b.text.len() <= MAX_TEXT + SLACK && b.text.ends_with("line 99999\n"));
        let total: usize = (0..100_000).map(|n| format!("line {n}\n").len()).sum();
        assert_eq!(b.cut as usize + b.text.len(), total);
        assert_eq!(b.unit_text(0).lines().count(), 1);
        let mut b = Body::new(Mode::Markdown);
        (0..100_000).for_each(|n| b.push(&format!("line {n}\n")));
        assert!(b.text.len() <= MAX_TEXT && b.text.starts_with("line 0\n"));
        assert_eq!(b.cut as usize + b.text.len(), total);
    }

    #[test]
    fn completing_with_the_same_text_changes_nothing() {
        let mut b = Body::new(Mode::Markdown);
        b.push("one \x1b[3");
        b.push("1mtwo");
        b.complete("one \x1b[31mtwo");
        assert_eq!((b.generation, b.text.as_str()), (0, "one two"));
        b.complete("one two three");
        assert_eq!((b.generation, b.text.as_str()), (1, "one two three"));
    }
}
