//! Events as lines of JSON: how they are written to the journal and read back.
//!
//! `fracta events` prints the journal's lines as they are, so a line must be harmless by itself
//! (law 2). Besides what JSON escapes anyway, every character that steers a terminal or hides from
//! the eye ([`hidden`]) is written as `\uXXXX`. Nothing is lost: a parser gives the text back.
//!
//! The key order is fixed (`seq` first), because the journal finds events by the number at the start
//! of a line. The envelope is written by hand: serde's `flatten` would copy every field once more,
//! and this runs for every token of every agent.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;

use super::{Body, Event};

/// What every line starts with.
const SEQ: &[u8] = b"{\"seq\":";

/// Why a line is not an event.
#[derive(Debug, thiserror::Error)]
#[error("not an event line: {0}")]
pub struct ParseError(#[from] serde_json::Error);

/// Appends the event as one line of JSON ending in `\n`. The time is written to the millisecond
/// (create times with [`millis`], and the round trip is exact).
pub fn line(event: &Event, out: &mut Vec<u8>) {
    let head = Head {
        seq: event.seq,
        ts: event.ts,
        agent: &event.agent,
        session: &event.session,
        turn: event.turn.as_deref(),
        raw: event.raw,
    };
    write(&head, &event.body, out);
}

/// The envelope, borrowed.
pub(crate) struct Head<'a> {
    pub seq: u64,
    pub ts: Timestamp,
    pub agent: &'a str,
    pub session: &'a str,
    pub turn: Option<&'a str>,
    pub raw: Option<u64>,
}

/// As [`line`], from parts.
pub(crate) fn write(head: &Head<'_>, body: &Body, out: &mut Vec<u8>) {
    out.extend_from_slice(SEQ);
    number(head.seq, out);
    out.extend_from_slice(b",\"ts\":\"");
    time(head.ts, out);
    out.extend_from_slice(b"\",\"agent\":");
    string(head.agent, out);
    out.extend_from_slice(b",\"session\":");
    string(head.session, out);
    if let Some(turn) = head.turn {
        out.extend_from_slice(b",\"turn\":");
        string(turn, out);
    }
    if let Some(raw) = head.raw {
        out.extend_from_slice(b",\"raw\":");
        number(raw, out);
    }
    let at = out.len();
    // Writing into memory cannot fail and bodies have only string keys, so this branch is never
    // taken; if it were, the number must still be there.
    if body.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Safe)).is_err() {
        out.truncate(at);
        out.extend_from_slice(b"{\"kind\":\"gap\",\"text\":\"this event could not be written as JSON\"}");
    }
    // The body is an object with at least `kind`: its `{` becomes the comma after the envelope.
    if let Some(brace) = out.get_mut(at) {
        *brace = b',';
    }
    out.push(b'\n');
}

/// Any value as one line of JSON that is as harmless as an event's, without its end.
///
/// # Errors
/// The value cannot be written as JSON (a map whose keys are no strings).
pub fn json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Safe))?;
    Ok(out)
}

/// Reads a line (with or without its `\n`).
///
/// A kind that this build does not know (written by a newer fracta) becomes [`Body::Raw`] with the
/// whole line as its text: number, time and turn are kept, so that a reader loses no count and says
/// that there was something it cannot show. A known kind with wrong fields is an error.
pub fn parse(line: &[u8]) -> Result<Event, ParseError> {
    // Two passes over the slice, each picking its fields, cost less than one with `flatten`.
    let env: Envelope = serde_json::from_slice(line)?;
    let body = match serde_json::from_slice::<Body>(line) {
        Ok(body) => body,
        Err(e) if is_known(&env.kind) => return Err(e.into()),
        Err(_) => Body::Raw { text: String::from_utf8_lossy(line.trim_ascii_end()).into_owned() },
    };
    Ok(Event {
        seq: env.seq,
        ts: env.ts,
        agent: env.agent,
        session: env.session,
        turn: env.turn,
        raw: env.raw,
        body,
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    seq: u64,
    ts: Timestamp,
    agent: String,
    session: String,
    #[serde(default)]
    turn: Option<String>,
    #[serde(default)]
    raw: Option<u64>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

/// The kinds of [`Body`]; a test holds the list against the type.
fn is_known(kind: &str) -> bool {
    const KINDS: &[&str] = &[
        "session.started",
        "turn.started",
        "turn.completed",
        "message.delta",
        "message.completed",
        "reasoning.delta",
        "reasoning.completed",
        "command.started",
        "command.output",
        "command.completed",
        "tool.started",
        "tool.completed",
        "file.changed",
        "plan.updated",
        "usage",
        "step",
        "approval.requested",
        "approval.resolved",
        "user.message",
        "warning",
        "error",
        "gap",
        "raw",
        "session.ended",
    ];
    KINDS.contains(&kind)
}

/// The number at the start of a line, if it starts as an event does. Reads nothing else.
pub(crate) fn seq_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(SEQ)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || rest.get(digits) != Some(&b',') {
        return None;
    }
    rest[..digits].iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// A line is JSON and may be printed as it is: it holds nothing [`hidden`]. For reading what a
/// damaged file may hold; costs no memory.
pub(crate) fn is_clean(line: &[u8]) -> bool {
    let harmless = match std::str::from_utf8(line) {
        Ok(text) if text.is_ascii() => !line.iter().any(u8::is_ascii_control),
        Ok(text) => !text.chars().any(|c| c.is_ascii_control() || hidden(c)),
        Err(_) => false,
    };
    harmless && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// Characters that are escaped although JSON would not: DEL and C1 controls, bidi controls, line and
/// paragraph separators, and format characters that nobody sees.
pub fn hidden(c: char) -> bool {
    matches!(
        u32::from(c),
        0x7f..=0x9f
            | 0xad
            | 0x61c
            | 0x180e
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0xe0000..=0xe0fff
    )
}

/// The time cut to the millisecond, as events carry it.
pub fn millis(ts: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(ts.as_millisecond()).unwrap_or(ts)
}

/// Compact JSON whose strings hold no [`hidden`] character.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W>(&mut self, out: &mut W, text: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        if text.is_ascii() && memchr::memchr(0x7f, text.as_bytes()).is_none() {
            return out.write_all(text.as_bytes());
        }
        let mut from = 0;
        for (i, c) in text.char_indices().filter(|(_, c)| hidden(*c)) {
            out.write_all(&text.as_bytes()[from..i])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            from = i + c.len_utf8();
        }
        out.write_all(&text.as_bytes()[from..])
    }
}

/// The longest start of a text of at most `max` bytes that ends at a character.
pub(crate) fn prefix(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn string(text: &str, out: &mut Vec<u8>) {
    let at = out.len();
    if text.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Safe)).is_err() {
        out.truncate(at);
        out.extend_from_slice(b"\"\"");
    }
}

fn number(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `2026-11-22T09:00:00.123Z`. By hand, since a general formatter costs more than the whole rest of
/// a short event.
fn time(ts: Timestamp, out: &mut Vec<u8>) {
    const DAY: i64 = 86_400_000;
    let ms = ts.as_millisecond();
    let (days, rest) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    if !(0..=9999).contains(&year) {
        // Before the year 0: jiff knows how to write that.
        out.extend_from_slice(format!("{:.3}", millis(ts)).as_bytes());
        return;
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], rest / 3_600_000);
    put(&mut text[14..16], rest / 60_000 % 60);
    put(&mut text[17..19], rest / 1000 % 60);
    put(&mut text[20..23], rest % 1000);
    out.extend_from_slice(&text);
}

/// Writes a number right-aligned over zeros.
fn put(field: &mut [u8], mut n: i64) {
    for b in field.iter_mut().rev() {
        *b = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Days since 1970-01-01 as year, month and day of the Gregorian calendar. The year is counted from
/// March, so that the leap day is its last, within 400-year eras of 146 097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, doe) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let march = (5 * doy + 2) / 153; // 0 = March
    let day = doy - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
