//! From the agent's stdout into `raw.jsonl`, losing nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStdout;
use std::time::{Duration, Instant};

/// Bytes taken from the pipe at once (a pipe's usual size).
const CHUNK: usize = 64 << 10;
/// Pauses between attempts to write where the disk does not take it.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// Copies the agent's stdout to the file. While the file takes nothing, nothing is read: the agent
/// waits in its own write, and not a byte is lost.
#[derive(Debug)]
pub(super) struct Pump {
    pipe: Option<ChildStdout>,
    file: File,
    /// `raw.jsonl` where the output goes elsewhere: only held locked.
    raw: Option<File>,
    /// Length of the file.
    pub(super) len: u64,
    buf: Box<[u8]>,
    /// What of `buf` is not written yet.
    pending: std::ops::Range<usize>,
    retry: Option<Retry>,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
    text: String,
}

impl Pump {
    pub(super) fn new(file: File, raw: Option<File>, len: u64) -> Self {
        Self {
            pipe: None,
            file,
            raw,
            len,
            buf: vec![0; CHUNK].into_boxed_slice(),
            pending: 0..0,
            retry: None,
        }
    }

    /// The pipe to read; it must not block.
    pub(super) fn connect(&mut self, pipe: ChildStdout) {
        self.pipe = Some(pipe);
    }

    /// What to wait on for reading; none while there is nothing to read or nowhere to put it.
    pub(super) fn waits_on(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// When to try to write again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry.as_ref().map(|r| r.at)
    }

    /// What keeps it from writing.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.retry.as_ref().map(|r| r.text.as_str())
    }

    /// Moves one chunk. False: nothing can be moved now.
    pub(super) fn step(&mut self, now: Instant) -> bool {
        if !self.pending.is_empty() {
            return self.write(now);
        }
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(&mut self.buf) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(n) => {
                self.pending = 0..n;
                self.write(now)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            // A pipe that cannot be read has nothing more to say.
            Err(_) => {
                self.pipe = None;
                false
            }
        }
    }

    /// Nothing is held back: all that was read is in the file.
    pub(super) fn is_clear(&self) -> bool {
        self.pending.is_empty()
    }

    /// The run is over: reads no more, and gives back the lock on the file.
    pub(super) fn release(&mut self) {
        self.pipe = None;
        let _ = self.raw.as_ref().unwrap_or(&self.file).unlock();
    }

    /// Length of `raw.jsonl`.
    pub(super) fn raw_len(&self) -> u64 {
        self.raw.as_ref().map_or(self.len, |raw| raw.metadata().map_or(0, |m| m.len()))
    }

    fn write(&mut self, now: Instant) -> bool {
        if self.retry.as_ref().is_some_and(|r| now < r.at) {
            return false;
        }
        while !self.pending.is_empty() {
            match self.file.write(&self.buf[self.pending.clone()]) {
                Ok(n) if n > 0 => {
                    self.pending.start += n;
                    self.len += n as u64;
                    self.retry = None;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => {
                    let error = other.err().unwrap_or_else(|| io::Error::from(ErrorKind::WriteZero));
                    self.postpone(&error, now);
                    return false;
                }
            }
        }
        true
    }

    fn postpone(&mut self, error: &io::Error, now: Instant) {
        let pause = self.retry.as_ref().map_or(FIRST_RETRY, |r| (r.pause * 2).min(SLOWEST_RETRY));
        let text = format!(
            "the agent's output cannot be written to {} ({error}): the agent waits, nothing is lost; it goes \
             on when there is room",
            crate::backend::local::RAW_FILE
        );
        self.retry = Some(Retry { at: now + pause, pause, text });
    }
}
