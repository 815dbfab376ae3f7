//! The agent's stdin: a bounded queue, so that a client never waits for a slow agent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStdin;

/// Bytes that one client may have waiting here before no more is read from it (1 MiB; a frame that
/// is being received comes on top).
pub(super) const MAX_QUEUED: u64 = 1 << 20;
/// Neighbours in the queue are joined up to this size.
const MERGE: usize = 16 << 10;

/// What waits to be written to the agent.
#[derive(Debug, Default)]
pub(super) struct Stdin {
    pipe: Option<ChildStdin>,
    queue: VecDeque<Chunk>,
    /// Bytes that the agent took.
    pub(super) total: u64,
    /// Close when the queue is empty.
    closing: bool,
    /// Why nothing is taken any more.
    pub(super) broken: Option<String>,
}

#[derive(Debug)]
struct Chunk {
    client: u64,
    bytes: Vec<u8>,
    at: usize,
}

impl Stdin {
    /// `None`: the agent has no stdin.
    pub(super) fn connect(&mut self, pipe: Option<ChildStdin>) {
        if pipe.is_none() {
            self.broken = Some("the agent was started without stdin".to_owned());
        }
        self.pipe = pipe;
    }

    /// What to wait on for writing; none while there is nothing to write.
    pub(super) fn waits_on(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| !self.queue.is_empty()).map(AsFd::as_fd)
    }

    /// Takes bytes of a client. Where stdin is closed they are dropped; [`Stdin::broken`] says so.
    pub(super) fn push(&mut self, client: u64, bytes: Vec<u8>) {
        if self.closing {
            self.broken.get_or_insert_with(|| "it was closed before".to_owned());
        } else if self.broken.is_none() && !bytes.is_empty() {
            match self.queue.back_mut() {
                // Many tiny messages must not cost many times their size.
                Some(last) if last.client == client && last.bytes.len() + bytes.len() <= MERGE => {
                    last.bytes.extend_from_slice(&bytes);
                }
                _ => self.queue.push_back(Chunk { client, bytes, at: 0 }),
            }
        }
    }

    pub(super) fn close_after(&mut self) {
        self.closing = true;
        self.close_if_done();
    }

    /// Takes nothing any more.
    pub(super) fn break_off(&mut self, why: &str) {
        self.queue.clear();
        if self.pipe.take().is_some() {
            self.broken.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Writes what the pipe takes; tells whose bytes and how many.
    pub(super) fn step(&mut self, mut wrote: impl FnMut(u64, u64)) {
        while let (Some(pipe), Some(first)) = (&mut self.pipe, self.queue.front_mut()) {
            match pipe.write(&first.bytes[first.at..]) {
                Ok(n) => {
                    first.at += n;
                    self.total += n as u64;
                    wrote(first.client, n as u64);
                    if first.at == first.bytes.len() {
                        self.queue.pop_front();
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => self.break_off(&e.to_string()),
            }
        }
        self.close_if_done();
    }

    fn close_if_done(&mut self) {
        if self.closing && self.queue.is_empty() {
            self.pipe = None;
            self.queue.shrink_to_fit();
        }
    }
}
