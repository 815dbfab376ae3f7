//! Reading a journal's tail: what is there after a crash, and lines from the end backwards.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::Deserialize;

/// What [`super::Journal::open`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Number of the last event; 0 if there is none.
    pub last_seq: u64,
    /// Bytes of a torn last line that were cut off, if there were any.
    pub torn: Option<u64>,
    /// Lines at the end that are no events (damage). They keep a number each, so that no number is
    /// given twice; readers see a hole there.
    pub damaged: u64,
    /// Where to read `raw.jsonl` again; none if no event was read from it.
    pub resume: Option<ResumePoint>,
}

/// The last line of `raw.jsonl` that events were read from. Read it again, drop the first
/// `events_from_it` facts that it gives, append the rest with the same `raw`, and go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumePoint {
    /// Offset of that line in `raw.jsonl`.
    pub raw_offset: u64,
    /// Facts of that line that are in the journal. Fewer than it gave if the writer died between
    /// two of them.
    pub events_from_it: u64,
}

/// Length of the file's whole lines.
pub(super) fn whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut buf = vec![0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut buf[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Reads backwards from `end` (the length of whole lines) until number and resume point are known.
///
/// Events without `raw` are passed over, also between events of one raw line: the control plane may
/// have stated something after it came back in the middle of such a line. There is no other bound
/// than the file: stopping early would mean reading all of `raw.jsonl` again, and every event twice.
pub(super) fn survey(file: &File, end: u64) -> io::Result<Recovered> {
    let mut found = Recovered::default();
    let mut last = None;
    let mut lines = Backward::new(end);
    while let Some(line) = lines.previous(file)? {
        let Some(tail) = Tail::read(line) else {
            if last.is_none() {
                found.damaged += 1;
            }
            continue;
        };
        last.get_or_insert(tail.seq);
        match (tail.raw, &mut found.resume) {
            (None, _) => {}
            (Some(raw_offset), None) => found.resume = Some(ResumePoint { raw_offset, events_from_it: 1 }),
            (Some(raw), Some(point)) if raw == point.raw_offset => point.events_from_it += 1,
            (Some(_), Some(_)) => break,
        }
    }
    found.last_seq = last.unwrap_or(0).saturating_add(found.damaged);
    Ok(found)
}

/// What recovery needs of an event; reading it checks that the whole line is JSON.
#[derive(Deserialize)]
struct Tail<'a> {
    seq: u64,
    #[serde(default)]
    raw: Option<u64>,
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
}

impl<'a> Tail<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

const BLOCK: usize = 64 << 10;

/// Lines from an end backwards. Memory: the block in hand, or the longest line.
pub(super) struct Backward {
    /// Offset of `buf[0]` in the file.
    start: u64,
    buf: Vec<u8>,
    /// End of what was not given yet, in `buf`.
    end: usize,
    block: usize,
    pub reads: u64,
}

impl Backward {
    /// `end` is just after a `\n`, or 0.
    pub fn new(end: u64) -> Self {
        Self { start: end, buf: Vec::new(), end: 0, block: BLOCK, reads: 0 }
    }

    /// The line before the last one given, without its `\n`.
    pub fn previous(&mut self, file: &File) -> io::Result<Option<&[u8]>> {
        loop {
            // The line's own end is the last byte; what is before it is the line.
            let line_end = self.end.saturating_sub(1);
            if let Some(at) = memchr::memrchr(b'\n', &self.buf[..line_end]) {
                self.end = at + 1;
                return Ok(Some(&self.buf[at + 1..line_end]));
            }
            if self.start == 0 {
                let all = self.end > 0;
                self.end = 0;
                return Ok(all.then(|| &self.buf[..line_end]));
            }
            self.read_more(file)?;
        }
    }

    /// Puts the block before in front. Blocks double, so that a long line is copied few times.
    fn read_more(&mut self, file: &File) -> io::Result<()> {
        let start = self.start.saturating_sub(self.block as u64);
        let mut buf = vec![0; (self.start - start) as usize];
        file.read_exact_at(&mut buf, start)?;
        self.reads += 1;
        self.block = if self.end > 0 { self.block.saturating_mul(2).min(16 << 20) } else { BLOCK };
        buf.extend_from_slice(&self.buf[..self.end]);
        self.end = buf.len();
        self.buf = buf;
        self.start = start;
        Ok(())
    }
}
