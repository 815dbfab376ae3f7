//! Making hostile text harmless. Agents, pods and configs are hostile (law 2): what they say passes
//! through here before anything may show it to a person.
//!
//! | input | [`line`], [`block`], [`Stream`] | [`exact`], [`exact_line`] |
//! |---|---|---|
//! | whole escape sequences (CSI, OSC, DCS, APC, PM, SOS, ESC x; 7-bit and C1) | dropped | shown: `␛[31m` |
//! | introducer of a sequence that does not end | shown: `␛]` | shown |
//! | `\n` | kept (line: `␊`) | kept (line: `␊`) |
//! | `\r\n`, lone `\r` | `\n` (line: `␍␊`, `␍`) | `␍\n`, `␍` |
//! | tab | spaces to the next stop of 4 | the same |
//! | `x\bx`, `_\bx` (overstrike of manual pages) | `x` | `x␈x` |
//! | other C0, DEL | `␀` … `␡` | the same |
//! | other C1, bidi controls, U+2028/2029, annotations, noncharacters | `⟨U+202E⟩` | the same |
//! | invisible characters (zero-width, soft hyphen, tags, …) | dropped | `⟨U+200B⟩` |
//! | joiners and variation selectors | kept where they mean something (emoji, scripts) | the same |
//! | more than 8 marks on a base | dropped from the ninth on | shown |
//!
//! Use `exact` for what a person decides on (the command of an approval, its diff): there a sequence
//! that is dropped could hide what will run.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// Columns between tab stops.
const TAB: usize = 4;
/// Combining marks kept on one base character.
const MAX_MARKS: u8 = 8;
/// Joiners kept in one cluster; longer chains fall apart into several.
const MAX_JOINS: u8 = 8;
/// What a [`Stream`] holds back of an unfinished escape sequence, in bytes.
const MAX_HELD: usize = 4096;

/// Text that is safe to write to a terminal as one line: control characters (C0, DEL, C1), line
/// breaks, bidi controls and invisible format characters are made visible or dropped.
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, false, false)
}

/// As [`line`], but keeps `\n`, and turns `\r\n` into `\n` and tabs into spaces.
pub fn block(text: &str) -> Cow<'_, str> {
    clean(text, true, false)
}

/// As [`block`], but drops nothing: escape sequences and invisible characters are shown. For text
/// that a person decides on.
pub fn exact(text: &str) -> Cow<'_, str> {
    clean(text, true, true)
}

/// As [`exact`], in one line.
pub fn exact_line(text: &str) -> Cow<'_, str> {
    clean(text, false, true)
}

/// [`block`] of bytes that may not be UTF-8; what is not becomes U+FFFD.
pub fn clean_bytes(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    block(&text).into_owned()
}

/// True where [`line`] would change nothing.
pub fn is_clean(text: &str) -> bool {
    plain(text, false) || matches!(line(text), Cow::Borrowed(_))
}

/// One cleaned line of at most `max_chars` clusters: white space and line breaks become single
/// spaces, and what is cut off is marked with `…`.
pub fn summary(text: &str, max_chars: usize) -> String {
    use unicode_segmentation::UnicodeSegmentation as _;
    let mut out = String::new();
    let mut room = max_chars;
    // A summary reads no more of a large text than it can show (with room for what cleaning drops).
    let (head, cut) = prefix(text, max_chars.saturating_mul(16).saturating_add(1024));
    let cleaned = block(head);
    for (n, word) in cleaned.split_whitespace().enumerate() {
        if n > 0 {
            if room <= 1 {
                return ellipsis(out, room);
            }
            out.push(' ');
            room -= 1;
        }
        for cluster in word.graphemes(true) {
            if room == 0 {
                return ellipsis(out, room);
            }
            out.push_str(cluster);
            room -= 1;
        }
    }
    if cut { ellipsis(out, room) } else { out }
}

fn ellipsis(mut out: String, room: usize) -> String {
    use unicode_segmentation::UnicodeSegmentation as _;
    if room == 0 {
        let Some((at, _)) = out.grapheme_indices(true).next_back() else { return out };
        out.truncate(at);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// The longest prefix of at most `max` bytes that ends between characters, and whether it is shorter.
fn prefix(text: &str, max: usize) -> (&str, bool) {
    if text.len() <= max {
        return (text, false);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], true)
}

/// Cleans text that arrives in pieces as [`block`] would clean the whole: a sequence, a `\r\n` or an
/// overstrike may be split between pieces (only the `_` of `_\bx` is not taken back once it is out).
/// Holds back at most 4 KiB.
#[derive(Debug, Default)]
pub struct Stream {
    state: State,
    held: String,
}

impl Stream {
    /// The clean text that this piece makes certain.
    pub fn push(&mut self, piece: &str) -> String {
        if self.held.is_empty() && plain(piece, true) && !piece.is_empty() {
            self.state.skip(piece);
            return piece.to_owned();
        }
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        let mut out = String::with_capacity(text.len());
        let mut rest = self.run(&text, false, &mut out);
        if text.len() - rest > MAX_HELD {
            rest += self.run(&text[rest..], true, &mut out);
        }
        self.held.push_str(&text[rest..]);
        out
    }

    /// What was held back, made visible.
    pub fn finish(&mut self) -> String {
        let text = std::mem::take(&mut self.held);
        let mut out = String::new();
        self.run(&text, true, &mut out);
        out
    }

    fn run(&mut self, text: &str, last: bool, out: &mut String) -> usize {
        Cleaner { newlines: true, exact: false, last, state: &mut self.state, out }.run(text)
    }
}

fn clean(text: &str, newlines: bool, exact: bool) -> Cow<'_, str> {
    if plain(text, newlines) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    Cleaner { newlines, exact, last: true, state: &mut State::default(), out: &mut out }.run(text);
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// True if all is printable ASCII (and `\n`). In chunks without a way out, so that it vectorises.
fn plain(text: &str, newlines: bool) -> bool {
    text.as_bytes().chunks(64).all(|chunk| {
        chunk.iter().fold(true, |ok, &b| ok & ((b.wrapping_sub(0x20) < 0x5f) | (newlines & (b == b'\n'))))
    })
}

/// What the next character's fate depends on. It describes the output, not the input, so that
/// cleaning twice is cleaning once.
#[derive(Debug, Default)]
struct State {
    column: usize,
    prev: Option<char>,
    marks: u8,
    joins: u8,
    /// A variation selector was kept on this base.
    varied: bool,
}

impl State {
    /// Steps over plain text.
    fn skip(&mut self, text: &str) {
        let tail = text.rfind('\n').map_or(text, |at| &text[at + 1..]);
        if tail.len() < text.len() {
            self.column = 0;
        }
        self.column += tail.len();
        self.prev = tail.chars().next_back();
        (self.marks, self.joins, self.varied) = (0, 0, false);
    }
}

struct Cleaner<'a> {
    newlines: bool,
    exact: bool,
    /// No more text comes: what is unfinished is shown, not held.
    last: bool,
    state: &'a mut State,
    out: &'a mut String,
}

/// How an escape sequence ends, seen from its introducer.
enum Sequence {
    /// A whole one, of so many bytes.
    Whole(usize),
    /// Not one: show the introducer and go on behind it.
    Broken,
    /// The text ends inside.
    Open,
}

impl Cleaner<'_> {
    /// Cleans `text`; returns where it stopped: its end, or the start of what waits for more.
    fn run(&mut self, text: &str) -> usize {
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at + c.len_utf8()..];
            match c {
                ' '..='~' => self.base(c, 1),
                '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}' if !self.exact => {
                    match sequence(c, rest) {
                        Sequence::Whole(len) => at += len,
                        Sequence::Open if !self.last => return at,
                        Sequence::Open | Sequence::Broken => self.picture(c),
                    }
                }
                '\n' if self.newlines => self.newline(),
                '\r' if self.newlines && !self.exact => match rest.chars().next() {
                    None if !self.last => return at,
                    Some('\n') => {}
                    _ => self.newline(),
                },
                '\t' => {
                    for _ in 0..TAB - self.state.column % TAB {
                        self.base(' ', 1);
                    }
                }
                '\u{8}' if !self.exact => match rest.chars().next() {
                    None if !self.last => return at,
                    next => at += self.overstrike(next),
                },
                '\u{200c}' | '\u{200d}' => match rest.chars().next() {
                    None if !self.last => return at,
                    next => self.joiner(c, next),
                },
                '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => self.picture(c),
                _ => self.other(c),
            }
            at += c.len_utf8();
        }
        at
    }

    fn base(&mut self, c: char, width: usize) {
        self.out.push(c);
        self.state.column += width;
        if self.state.prev != Some('\u{200d}') {
            self.state.joins = 0;
        }
        self.state.prev = Some(c);
        (self.state.marks, self.state.varied) = (0, false);
    }

    fn newline(&mut self) {
        self.base('\n', 0);
        self.state.column = 0;
        self.state.prev = None;
    }

    /// A control character, made visible.
    fn picture(&mut self, c: char) {
        match c {
            '\0'..='\u{1f}' => self.base(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'), 1),
            '\u{7f}' => self.base('\u{2421}', 1),
            _ => self.code_point(c),
        }
    }

    fn code_point(&mut self, c: char) {
        for c in format!("⟨U+{:04X}⟩", u32::from(c)).chars() {
            self.base(c, 1);
        }
    }

    fn invisible(&mut self, c: char) {
        if self.exact {
            self.code_point(c);
        }
    }

    fn other(&mut self, c: char) {
        if is_attack(c) {
            return self.code_point(c);
        }
        if matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}') {
            return self.selector(c);
        }
        if is_invisible(c) {
            return self.invisible(c);
        }
        match c.width() {
            Some(0) => self.mark(c),
            width => self.base(c, width.unwrap_or(1)),
        }
    }

    /// A combining mark (or what takes no column of its own): bounded, and never without a base, so
    /// that it cannot climb onto what stands left of this text.
    fn mark(&mut self, c: char) {
        if self.state.prev.is_none() {
            self.base('\u{25cc}', 1);
        }
        if self.state.marks < MAX_MARKS {
            self.out.push(c);
            self.state.marks += 1;
        } else {
            self.invisible(c);
        }
    }

    fn selector(&mut self, c: char) {
        let keep = self.state.prev.is_some_and(|p| match c {
            '\u{fe0e}' | '\u{fe0f}' => is_symbol(p) || matches!(p, '0'..='9' | '#' | '*'),
            '\u{e0100}'..='\u{e01ef}' => is_ideograph(p),
            _ => false,
        });
        if keep && !self.state.varied {
            self.out.push(c);
            self.state.varied = true;
        } else {
            self.invisible(c);
        }
    }

    fn joiner(&mut self, c: char, next: Option<char>) {
        let keep = match (self.state.prev, next) {
            (Some(p), Some(n)) => {
                (c == '\u{200d}' && is_symbol(p) && is_symbol(n)) || (joins_letters(p) && joins_letters(n))
            }
            _ => false,
        };
        if keep && self.state.joins < MAX_JOINS {
            self.out.push(c);
            self.state.joins += 1;
            self.state.prev = Some('\u{200d}');
        } else {
            self.invisible(c);
        }
    }

    /// `_\bx` and `x\bx` are how manual pages write underlined and bold; they hide nothing. Returns
    /// how many bytes of what follows are used up.
    fn overstrike(&mut self, next: Option<char>) -> usize {
        match (self.state.prev, next) {
            (Some(p @ '!'..='~'), Some(n)) if p == n => return n.len_utf8(),
            (Some('_'), Some('!'..='~')) if self.out.ends_with('_') => {
                self.out.pop();
                self.state.column = self.state.column.saturating_sub(1);
                self.state.prev = Some(' ');
            }
            _ => self.picture('\u{8}'),
        }
        0
    }
}

/// Finds the end of the sequence that `intro` begins; `rest` follows it. A search stops at the next
/// introducer, so that all searches together stay linear.
fn sequence(intro: char, rest: &str) -> Sequence {
    let bytes = rest.as_bytes();
    match intro {
        '\u{9b}' => csi(bytes, 0),
        '\u{1b}' => match bytes.first() {
            None => Sequence::Open,
            Some(b'[') => csi(bytes, 1),
            Some(b']' | b'P' | b'_' | b'^' | b'X') => string(rest, 1),
            Some(0x20..=0x2f) => {
                let n = bytes.iter().take_while(|b| matches!(b, 0x20..=0x2f)).count();
                match bytes.get(n) {
                    None => Sequence::Open,
                    Some(0x30..=0x7e) => Sequence::Whole(n + 1),
                    Some(_) => Sequence::Broken,
                }
            }
            Some(0x30..=0x7e) => Sequence::Whole(1),
            Some(_) => Sequence::Broken,
        },
        _ => string(rest, 0),
    }
}

fn csi(bytes: &[u8], from: usize) -> Sequence {
    let body = &bytes[from..];
    let params = body.iter().take_while(|b| matches!(b, 0x30..=0x3f)).count();
    let inter = body[params..].iter().take_while(|b| matches!(b, 0x20..=0x2f)).count();
    match body.get(params + inter) {
        None => Sequence::Open,
        Some(0x40..=0x7e) => Sequence::Whole(from + params + inter + 1),
        Some(_) => Sequence::Broken,
    }
}

fn string(rest: &str, from: usize) -> Sequence {
    let body = &rest[from..];
    for (at, c) in body.char_indices() {
        match c {
            '\u{7}' | '\u{9c}' => return Sequence::Whole(from + at + c.len_utf8()),
            '\u{1b}' => {
                return match body.as_bytes().get(at + 1) {
                    None => Sequence::Open,
                    Some(b'\\') => Sequence::Whole(from + at + 2),
                    Some(_) => Sequence::Broken,
                };
            }
            // CAN and SUB abort; a further introducer begins anew.
            '\u{18}' | '\u{1a}' | '\u{80}'..='\u{9f}' => return Sequence::Broken,
            _ => {}
        }
    }
    Sequence::Open
}

/// Characters that change how text around them is shown, or that no text may hold.
fn is_attack(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Characters that take no place and show nothing (or show as nothing, as the Hangul fillers do).
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// Symbols that have an emoji form or take part in emoji sequences.
fn is_symbol(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}' | '\u{24c2}' | '\u{25a0}'..='\u{27bf}' | '\u{2934}' | '\u{2935}'
        | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Scripts in which a joiner or non-joiner changes the letters: Arabic to Tibetan, Myanmar, Khmer, Mongolian.
fn joins_letters(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{fff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{18af}') && !c.is_numeric()
}

#[cfg(test)]
mod tests;
