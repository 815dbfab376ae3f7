//! The writing end of a journal.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::recovery::{self, Recovered};
use super::{FILE, JournalError, MAX_CHUNK, MAX_PENDING, MAX_TEXT, Reader, limit};
use crate::event::{Body, Event, Fact, encode};

/// Buffers above this are given back after a large batch.
const KEEP: usize = 1 << 20;

/// Numbers facts and appends them to a session's `events.jsonl`.
///
/// Facts are [pushed](Self::push) and then [committed](Self::commit) together: one `write` for a
/// batch (or one for each [`MAX_CHUNK`] of it). Either all of the batch is in the file or, after an
/// error, none: what got there is cut off again, the batch stays pending under the same numbers, and
/// the next commit tries again. Nobody hears of an event before it is in the file.
///
/// A process crash loses nothing committed; [`sync`](Self::sync) makes it outlive the machine's.
pub struct Journal {
    disk: Box<dyn Disk>,
    path: PathBuf,
    /// Length of the committed lines. Readers of this process go no further.
    committed: Arc<AtomicU64>,
    /// A write failed and what it left could not be cut off yet.
    dirty: bool,
    /// The event in hand; its names never change.
    event: Event,
    last_seq: u64,
    pending: Vec<Pending>,
    /// The pending events as lines.
    lines: Vec<u8>,
}

struct Pending {
    raw: Option<u64>,
    ts: Timestamp,
    fact: Fact,
    /// Where its line ends in `lines`.
    end: usize,
}

/// What the journal asks of a file; tests give it a failing one.
trait Disk: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Journal {
    /// Opens (or makes, 0600) the journal in a session's folder, and repairs its end: a torn last
    /// line is cut off. Reads only the tail. The names go into every event.
    ///
    /// # Errors
    /// [`JournalError::Locked`] while another process (or this one) has it open for writing.
    pub fn open(dir: &Path, agent: &str, session: &str) -> Result<(Self, Recovered), JournalError> {
        let path = dir.join(FILE);
        let file = open_locked(&path)?;
        let io = |what| {
            let path = path.clone();
            move |source| JournalError::Io { what, path, source }
        };
        let len = file.metadata().map_err(io("look at"))?.len();
        let whole = recovery::whole_lines(&file).map_err(io("read"))?;
        let mut found = recovery::survey(&file, whole).map_err(io("read"))?;
        if whole < len {
            file.set_len(whole).map_err(io("cut the torn last line off"))?;
            found.torn = Some(len - whole);
        }
        let event = Event {
            seq: 0,
            ts: Timestamp::UNIX_EPOCH,
            agent: agent.to_owned(),
            session: session.to_owned(),
            turn: None,
            raw: None,
            body: Body::TurnStarted {},
        };
        let journal = Self {
            disk: Box::new(file),
            path,
            committed: Arc::new(AtomicU64::new(whole)),
            dirty: false,
            event,
            last_seq: found.last_seq,
            pending: Vec::new(),
            lines: Vec::new(),
        };
        Ok((journal, found))
    }

    /// Number of the last committed event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Length of the committed lines, in bytes.
    pub fn len(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Nothing was committed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait for a commit. Commit when it passes [`MAX_CHUNK`].
    pub fn pending(&self) -> usize {
        self.lines.len()
    }

    /// A reader that sees committed events only, also while a failed batch is being taken back.
    pub fn reader(&self) -> Result<Reader, JournalError> {
        Reader::open_committed(&self.path, Arc::clone(&self.committed))
    }

    /// Adds a fact to the batch. `raw`: offset in `raw.jsonl` of the line it came from, or none for
    /// what the control plane states. The time is cut to the millisecond.
    ///
    /// # Errors
    /// [`JournalError::Full`] while more than [`MAX_PENDING`] waits (commits keep failing).
    pub fn push(&mut self, raw: Option<u64>, fact: Fact, ts: Timestamp) -> Result<(), JournalError> {
        self.room()?;
        self.add(raw, fact, encode::millis(ts));
        Ok(())
    }

    /// Writes the batch and then gives each event with its line (ending in `\n`) to `sink`.
    ///
    /// # Errors
    /// After an error the file is as before and the batch still pending: commit again, or
    /// [`discard`](Self::discard) it.
    pub fn commit(&mut self, mut sink: impl FnMut(&Event, &[u8])) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.write()?;
        let pending = std::mem::take(&mut self.pending);
        let mut lines = std::mem::take(&mut self.lines);
        let mut start = 0;
        let first = self.last_seq + 1;
        self.last_seq += pending.len() as u64;
        let mut pending = pending;
        for (seq, p) in (first..).zip(pending.drain(..)) {
            self.event.seq = seq;
            self.event.ts = p.ts;
            self.event.raw = p.raw;
            self.event.turn = p.fact.turn;
            self.event.body = p.fact.body;
            sink(&self.event, &lines[start..p.end]);
            start = p.end;
        }
        lines.clear();
        lines.shrink_to(KEEP);
        self.lines = lines;
        pending.shrink_to(4096);
        self.pending = pending;
        Ok(())
    }

    /// Pushes the facts of one raw line (or of none) and commits, with whatever was pending.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). After [`JournalError::Full`] none of these facts was taken; after
    /// [`JournalError::Io`] all of them are pending, so do not append them again.
    pub fn append(
        &mut self,
        raw: Option<u64>,
        facts: impl IntoIterator<Item = Fact>,
        ts: Timestamp,
        sink: impl FnMut(&Event, &[u8]),
    ) -> Result<(), JournalError> {
        self.room()?;
        let ts = encode::millis(ts);
        for fact in facts {
            self.add(raw, fact, ts);
        }
        self.commit(sink)
    }

    /// Forgets the batch. Its numbers go to the next one.
    pub fn discard(&mut self) {
        self.pending.clear();
        self.lines.clear();
    }

    /// Asks the system to put what was committed on the disk. For turn ends, not for deltas.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.disk.sync().map_err(|source| JournalError::Io { what: "sync", path: self.path.clone(), source })
    }

    fn room(&self) -> Result<(), JournalError> {
        let bytes = self.lines.len();
        if bytes > MAX_PENDING {
            return Err(JournalError::Full { path: self.path.clone(), bytes });
        }
        Ok(())
    }

    fn add(&mut self, raw: Option<u64>, mut fact: Fact, ts: Timestamp) {
        let start = self.lines.len();
        self.encode(raw, &fact, ts);
        // Only a long line can hold a long text: the usual event is not looked at again.
        if self.lines.len() - start > MAX_TEXT && limit::cut(&mut fact.body, raw.is_some()) {
            self.lines.truncate(start);
            self.encode(raw, &fact, ts);
        }
        self.pending.push(Pending { raw, ts, fact, end: self.lines.len() });
    }

    fn encode(&mut self, raw: Option<u64>, fact: &Fact, ts: Timestamp) {
        let head = encode::Head {
            seq: self.last_seq + self.pending.len() as u64 + 1,
            ts,
            agent: &self.event.agent,
            session: &self.event.session,
            turn: fact.turn.as_deref(),
            raw,
        };
        encode::write(&head, &fact.body, &mut self.lines);
    }

    /// All of `lines`, or an error and the file as it was.
    fn write(&mut self) -> Result<(), JournalError> {
        let start = self.len();
        let io = |what, source| JournalError::Io { what, path: self.path.clone(), source };
        if self.dirty {
            self.disk.set_len(start).map_err(|e| io("cut a failed write off", e))?;
            self.dirty = false;
        }
        match write_all(&mut *self.disk, &self.lines, start) {
            Ok(()) => {
                self.committed.store(start + self.lines.len() as u64, Ordering::Release);
                Ok(())
            }
            Err(e) => {
                self.dirty = self.disk.set_len(start).is_err();
                Err(io("write to", e))
            }
        }
    }
}

/// Writes in parts of at most [`MAX_CHUNK`]; a short write is followed by the rest.
fn write_all(disk: &mut dyn Disk, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write_at(&bytes[..bytes.len().min(MAX_CHUNK)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn open_locked(path: &Path) -> Result<File, JournalError> {
    let io = |what| move |source| JournalError::Io { what, path: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Agents can write in this folder too: never through a link they put there.
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(io("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(e)) => return Err(io("lock")(e)),
    }
    let mode = file.metadata().map_err(io("look at"))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io("make private"))?;
    }
    Ok(file)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
