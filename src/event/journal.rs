//! The journal of a session: `events.jsonl`, one event a line, only ever appended to.
//!
//! One [`Journal`] writes (it holds a lock on the file); any number of [`Reader`]s read at the same
//! time without locks and never see half a line. The journal gives the numbers: 1, 2, 3, … without
//! gap or repeat, also across restarts.
//!
//! **Finding a number.** Lines start with `{"seq":N,` and the numbers rise, so a reader finds any
//! number by searching the file itself: guesses by interpolation, every other one a bisection, which
//! bounds them. A million events (some 200 MB) take about as many reads as a thousand. An index file
//! beside the journal would save a handful of reads from the page cache, and could be missing, stale
//! or torn; this cannot.
//!
//! **After a crash.** [`Journal::open`] reads only the file's tail. A torn last line is cut off, and
//! [`Recovered::resume`] says where in `raw.jsonl` to read again and how many facts of that line are
//! already here, so that nothing is lost or doubled.
//!
//! **Bounds.** A text of more than [`MAX_TEXT`] bytes is cut and says so; `raw.jsonl` has it whole.

mod limit;
mod reader;
mod recovery;
mod writer;

pub use reader::{Chunk, Damage, Reader};
pub use recovery::{Recovered, ResumePoint};
pub use writer::Journal;

use std::io;
use std::path::PathBuf;

/// Name of the file in a session's folder.
pub const FILE: &str = "events.jsonl";

/// Longest text kept in one field of an event, in bytes (512 KiB).
pub const MAX_TEXT: usize = 512 << 10;

/// Largest single write, and largest chunk a reader gives unless one line alone is longer (256 KiB).
pub const MAX_CHUNK: usize = 256 << 10;

/// Events that wait for a commit, in bytes as lines; above it nothing more is taken (16 MiB).
pub const MAX_PENDING: usize = 16 << 20;

/// Longest line that a reader gives; a longer one can only be damage (64 MiB).
pub const MAX_EVENT_LINE: usize = 64 << 20;

/// Why the journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is being written by another process; stop the other control plane first (`fracta stop`)")]
    Locked { path: PathBuf },
    #[error(
        "{bytes} bytes of events wait to be written to {path}, and no more are taken: free some disk space, then try again"
    )]
    Full { path: PathBuf, bytes: usize },
}
