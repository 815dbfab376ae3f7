//! The reading end of a journal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::recovery::{Backward, whole_lines};
use super::{JournalError, MAX_CHUNK, MAX_EVENT_LINE};
use crate::event::encode;

/// First bytes read at a guess; enough for a usual line and the start of the next.
const PROBE: usize = 4 << 10;

/// What is left of the range when the search ends and reading begins.
const NEAR: u64 = 16 << 10;

/// Reads a journal, also while it is being written. Holds no lock and no position: any number of
/// them may read the same file. Reads block (the page cache, usually): not for async threads
/// without `spawn_blocking`.
#[derive(Debug)]
pub struct Reader {
    file: File,
    path: PathBuf,
    committed: Option<Arc<AtomicU64>>,
    preads: AtomicU64,
}

/// Whole lines of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Lines of events, each ending in `\n`, safe to print as they are. Empty: nothing more yet.
    pub bytes: Vec<u8>,
    /// Number of the first event in `bytes`; 0 if there is none.
    pub first_seq: u64,
    /// Number of the last event in `bytes`, or the number asked for if there is none.
    pub last_seq: u64,
    /// Where to [go on](Reader::read_from). Moves over damage also when `bytes` is empty.
    pub next_offset: u64,
    /// What could not be read. The numbers say what is missing.
    pub damage: Vec<Damage>,
}

impl Chunk {
    /// More may lie behind it. A chunk may be all damage, and events behind that: only one with neither
    /// is the end.
    pub fn goes_on(&self) -> bool {
        !self.bytes.is_empty() || !self.damage.is_empty()
    }
}

/// A place in the file where events are missing: lines that are none, or a jump in the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The last good event before it.
    pub after_seq: u64,
    /// The first good event behind it; none if it is the last in this chunk.
    pub next_seq: Option<u64>,
    /// Offset in the file, for people.
    pub offset: u64,
    /// Bytes that are no events; 0 for a mere jump.
    pub bytes: u64,
}

impl Reader {
    /// Opens `events.jsonl` for reading.
    ///
    /// Where the writer is in the same process, [`super::Journal::reader`] is better: it never shows
    /// lines of a batch that failed and is taken back.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::new(path, None)
    }

    pub(super) fn open_committed(path: &Path, committed: Arc<AtomicU64>) -> Result<Self, JournalError> {
        Self::new(path, Some(committed))
    }

    fn new(path: &Path, committed: Option<Arc<AtomicU64>>) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|source| JournalError::Io {
            what: "open",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { file, path: path.to_owned(), committed, preads: AtomicU64::new(0) })
    }

    /// The events after number `seq`, at most `max_bytes` of them (and [`MAX_CHUNK`]), but at least
    /// one if there is one. `seq` 0 gives the first. The time does not grow with the journal.
    pub fn read_after(&self, seq: u64, max_bytes: usize) -> Result<Chunk, JournalError> {
        let offset = self.find(seq).map_err(|e| self.failed(e))?;
        self.read_from(offset, seq, max_bytes)
    }

    /// Goes on where a chunk ended: its `next_offset` and `last_seq`. No search.
    pub fn read_from(&self, offset: u64, after_seq: u64, max_bytes: usize) -> Result<Chunk, JournalError> {
        self.chunk(offset, after_seq, max_bytes.min(MAX_CHUNK)).map_err(|e| self.failed(e))
    }

    /// The last `n` events before number `before_seq` (`u64::MAX`: of the journal), in order, for
    /// scrolling up. At most [`MAX_CHUNK`] bytes, but at least one event if there is one: go on with
    /// the chunk's `first_seq` until it gives none.
    pub fn read_last(&self, before_seq: u64, n: usize) -> Result<Chunk, JournalError> {
        self.last(before_seq, n).map_err(|e| self.failed(e))
    }

    /// Number of the last event, 0 if there is none.
    pub fn last_seq(&self) -> Result<u64, JournalError> {
        self.end().and_then(|end| self.tail_seq(end)).map_err(|e| self.failed(e))
    }

    /// Reads made so far: what a search costs, for tests and benches.
    pub fn preads(&self) -> u64 {
        self.preads.load(Ordering::Relaxed)
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::Io { what: "read", path: self.path.clone(), source }
    }

    /// Where whole committed lines end.
    fn end(&self) -> io::Result<u64> {
        match &self.committed {
            Some(committed) => Ok(committed.load(Ordering::Acquire)),
            None => {
                self.preads.fetch_add(1, Ordering::Relaxed);
                whole_lines(&self.file)
            }
        }
    }

    /// Up to `buf.len()` bytes at an offset; fewer only at the end.
    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buf.len() {
            self.preads.fetch_add(1, Ordering::Relaxed);
            match self.file.read_at(&mut buf[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(got)
    }

    fn tail_seq(&self, end: u64) -> io::Result<u64> {
        let mut lines = Backward::new(end);
        let mut seq = None;
        while seq.is_none() {
            let Some(line) = lines.previous(&self.file)? else { break };
            seq = encode::seq_of(line);
        }
        self.preads.fetch_add(lines.reads, Ordering::Relaxed);
        Ok(seq.unwrap_or(0))
    }

    /// Offset of the first event with a number above `seq`, or the end.
    fn find(&self, seq: u64) -> io::Result<u64> {
        if seq == 0 {
            return Ok(0);
        }
        let end = self.end()?;
        let last = self.tail_seq(end)?;
        if seq >= last {
            return Ok(end);
        }
        let near = self.narrow(seq, end, last)?;
        // Walk the few lines that are left.
        Ok(self.first_above(seq, near, end, 2 * NEAR as usize)?.map_or(end, |(start, _)| start))
    }

    /// Start of a line at most about [`NEAR`] before the first event above `seq`.
    fn narrow(&self, seq: u64, end: u64, last: u64) -> io::Result<u64> {
        // No line that starts before `lo` is above `seq`, none at or after `hi` is not.
        let (mut lo, mut hi) = (0, end);
        let (mut lo_seq, mut hi_seq) = (0, last.max(1));
        let mut bisect = false;
        while hi - lo > NEAR {
            let span = hi - lo;
            let guess = if bisect {
                span / 2
            } else {
                // A little before where it should be, so that the next guess closes in from above.
                let part = (seq - lo_seq.min(seq)) as f64 / (hi_seq - lo_seq.min(hi_seq)).max(1) as f64;
                ((span as f64 * part) as u64).saturating_sub(NEAR / 2)
            };
            bisect = !bisect;
            let mid = lo + guess.clamp(1, span - 1);
            match self.first_above(0, mid, hi, PROBE)? {
                Some((start, n)) if n <= seq => (lo, lo_seq) = (start, n),
                Some((_, n)) => (hi, hi_seq) = (mid, n),
                None => hi = mid,
            }
        }
        Ok(lo)
    }

    /// Start and number of the first event above `seq` whose line starts in `from..end`. Reads
    /// `want` bytes first.
    fn first_above(&self, seq: u64, from: u64, end: u64, mut want: usize) -> io::Result<Option<(u64, u64)>> {
        // A line starts at `from` if the byte before is an end of line.
        let mut at = from.saturating_sub(1);
        let mut inside = from > 0;
        let mut buf = Vec::new();
        while at < end {
            buf.resize(want, 0);
            let got = self.pread(&mut buf, at)?;
            let part = &buf[..got];
            let mut used = 0;
            while used < got {
                if !inside {
                    if at + used as u64 >= end {
                        return Ok(None);
                    }
                    // 28 bytes hold the start of every event.
                    if got - used < 28 && got == want {
                        break;
                    }
                    if let Some(n) = encode::seq_of(&part[used..]).filter(|n| *n > seq) {
                        return Ok(Some((at + used as u64, n)));
                    }
                }
                match memchr::memchr(b'\n', &part[used..]) {
                    Some(i) => used += i + 1,
                    None => {
                        inside = true;
                        used = got;
                        break;
                    }
                }
                inside = false;
            }
            if got < want && used >= got {
                return Ok(None);
            }
            at += used as u64;
            // A long line, or damage: larger steps.
            want = (want * 2).min(1 << 20);
        }
        Ok(None)
    }

    fn chunk(&self, offset: u64, after: u64, max: usize) -> io::Result<Chunk> {
        let limit = self.committed.as_ref().map(|c| c.load(Ordering::Acquire));
        let room = |want: usize| match limit {
            Some(end) => want.min(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX)),
            None => want,
        };
        let mut buf = vec![0; room(max.max(1))];
        let mut got = self.pread(&mut buf, offset)?;
        let whole = loop {
            if let Some(at) = memchr::memrchr(b'\n', &buf[..got]) {
                break at + 1;
            }
            if got < buf.len() || room(buf.len() + 1) == buf.len() {
                break 0; // no whole line yet
            }
            if got >= MAX_EVENT_LINE {
                return self.skip_line(offset, after, got as u64, limit);
            }
            buf.resize(room(buf.len() * 2), 0);
            got += self.pread(&mut buf[got..], offset + got as u64)?;
        };
        // Where one line alone was too long, only that line.
        let whole = if whole > max { memchr::memchr(b'\n', &buf).map_or(0, |i| i + 1) } else { whole };
        buf.truncate(whole);
        Ok(sift(buf, offset, after))
    }

    /// A line longer than any event: passes over it, or says that there is nothing more yet.
    fn skip_line(&self, offset: u64, after: u64, done: u64, limit: Option<u64>) -> io::Result<Chunk> {
        let mut at = offset + done;
        let mut buf = vec![0; 1 << 20];
        let mut chunk = Chunk { last_seq: after, next_offset: offset, ..Chunk::default() };
        loop {
            let got = self.pread(&mut buf, at)?;
            if got == 0 || limit.is_some_and(|end| at >= end) {
                return Ok(chunk);
            }
            if let Some(i) = memchr::memchr(b'\n', &buf[..got]) {
                chunk.next_offset = at + i as u64 + 1;
                let bytes = chunk.next_offset - offset;
                chunk.damage.push(Damage { after_seq: after, next_seq: None, offset, bytes });
                return Ok(chunk);
            }
            at += got as u64;
        }
    }

    fn last(&self, before: u64, n: usize) -> io::Result<Chunk> {
        let end = if before == u64::MAX { self.end()? } else { self.find(before.saturating_sub(1))? };
        if before <= 1 || n == 0 {
            return Ok(Chunk { next_offset: end, ..Chunk::default() });
        }
        let mut lines = Backward::new(end);
        let (mut taken, mut bytes) = (0, 0);
        while taken < n {
            let Some(line) = lines.previous(&self.file)? else { break };
            let len = line.len() + 1;
            if bytes + len > MAX_CHUNK && taken > 0 {
                break;
            }
            bytes += len;
            // Damage does not count, or `n` events of it would look like the start.
            taken += usize::from(encode::seq_of(line).is_some());
        }
        self.preads.fetch_add(lines.reads, Ordering::Relaxed);
        let start = end - bytes as u64;
        let mut buf = vec![0; bytes];
        let got = self.pread(&mut buf, start)?;
        buf.truncate(got);
        let first = memchr::memchr(b'\n', &buf).map_or(&buf[..], |i| &buf[..i]);
        let after = encode::seq_of(first).map_or(0, |s| s.saturating_sub(1));
        Ok(sift(buf, start, after))
    }
}

/// Keeps the lines that are events after number `after`, and notes the rest. The usual chunk is
/// whole and is only looked at, not copied.
fn sift(mut bytes: Vec<u8>, offset: u64, after: u64) -> Chunk {
    let mut chunk = Chunk { last_seq: after, ..Chunk::default() };
    let mut open: Option<Damage> = None;
    let (mut from, mut to) = (0, 0);
    while let Some(i) = memchr::memchr(b'\n', &bytes[from..]) {
        let (line, next) = (from..from + i, from + i + 1);
        let here =
            Damage { after_seq: chunk.last_seq, next_seq: None, offset: offset + from as u64, bytes: 0 };
        let seq = match judge(&bytes, line.clone(), chunk.last_seq) {
            Verdict::Event(seq) => seq,
            Verdict::Later => break,
            Verdict::Damage => {
                open.get_or_insert(here).bytes += (next - from) as u64;
                from = next;
                continue;
            }
        };
        if seq != chunk.last_seq + 1 {
            open.get_or_insert(here);
        }
        if let Some(d) = open.take() {
            chunk.damage.push(Damage { next_seq: Some(seq), ..d });
        }
        if chunk.first_seq == 0 {
            chunk.first_seq = seq;
        }
        chunk.last_seq = seq;
        if from != to {
            bytes.copy_within(from..next, to);
        }
        to += next - from;
        from = next;
    }
    chunk.damage.extend(open);
    chunk.next_offset = offset + from as u64;
    bytes.truncate(to);
    chunk.bytes = bytes;
    chunk
}

enum Verdict {
    Event(u64),
    Damage,
    /// To be judged with more of the file in sight.
    Later,
}

/// Whether a line is the event that follows number `last`. A number that leaps is believed only if
/// the lines behind it go on above it: one wrong digit must not hide all that follows.
fn judge(bytes: &[u8], line: std::ops::Range<usize>, last: u64) -> Verdict {
    let (first, end) = (line.start == 0, line.end + 1);
    let text = &bytes[line];
    let Some(seq) = encode::seq_of(text).filter(|s| *s > last && encode::is_clean(text)) else {
        return Verdict::Damage;
    };
    if seq == last + 1 {
        return Verdict::Event(seq);
    }
    match bytes[end..].split(|b| *b == b'\n').find_map(encode::seq_of) {
        Some(next) if next <= seq => Verdict::Damage,
        None if !first => Verdict::Later,
        _ => Verdict::Event(seq),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
