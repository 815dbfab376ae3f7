//! A connected control plane.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use super::stdin::MAX_QUEUED;
use crate::backend::local::frame::{BadFrame, Decoder, Hello, Incoming, Notice, Request};
use crate::backend::local::record::ExitRecord;

/// Everything a client may be told, as it is now. Notices are made of the difference between this and
/// what the client was told last, and only when it took the earlier ones: a client that does not read
/// costs no memory, and one that reads slowly hears less often, never something old.
pub(super) struct Facts<'a> {
    pub(super) hello: &'a dyn Fn() -> Hello,
    pub(super) raw_len: u64,
    pub(super) stdin_total: u64,
    pub(super) stdin_broken: Option<&'a str>,
    pub(super) trouble: Option<&'a str>,
    pub(super) exit: Option<&'a ExitRecord>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: u64,
    sock: UnixStream,
    decoder: Decoder,
    out: Vec<u8>,
    out_at: usize,
    told: Told,
    /// Stdin bytes it sent, and how many of them the agent took.
    sent: u64,
    written: u64,
    /// And how many were lost because stdin is broken.
    lost: u64,
    /// It began a message for stdin and has not ended it.
    pub(super) mid_message: bool,
    pub(super) killed: Option<u32>,
    pub(super) pong: bool,
    /// It takes no notices any more; what it asked before is still carried out.
    mute: bool,
    /// It hung up, or sent nonsense.
    pub(super) gone: bool,
}

#[derive(Debug, Default)]
struct Told {
    hello: bool,
    raw_len: u64,
    stdin: (u64, u64),
    broken: bool,
    trouble: Option<String>,
    exit: bool,
}

impl Client {
    /// `sock` must not block.
    pub(super) fn new(id: u64, sock: UnixStream) -> Self {
        Self {
            id,
            sock,
            decoder: Decoder::default(),
            out: Vec::new(),
            out_at: 0,
            told: Told::default(),
            sent: 0,
            written: 0,
            lost: 0,
            mid_message: false,
            killed: None,
            pong: false,
            mute: false,
            gone: false,
        }
    }

    pub(super) fn sock(&self) -> &UnixStream {
        &self.sock
    }

    /// More of it is wanted: not too much of its stdin bytes wait already.
    pub(super) fn may_send(&self) -> bool {
        self.sent - self.written - self.lost < MAX_QUEUED
    }

    /// Notices wait for room in its socket.
    pub(super) fn has_output(&self) -> bool {
        self.out_at < self.out.len()
    }

    /// It was told of the end of the run: the bytes are in its socket, where they stay readable.
    pub(super) fn knows_the_end(&self) -> bool {
        self.mute || (self.told.exit && !self.has_output())
    }

    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Stdin is broken: nothing of it waits any more.
    pub(super) fn forget_queued(&mut self) {
        self.lost = self.sent - self.written;
    }

    /// Receives what there is. The caller then takes the requests with [`Client::request`].
    pub(super) fn receive(&mut self, scratch: &mut [u8]) {
        match self.sock.read(scratch) {
            Ok(0) => self.gone = true,
            Ok(n) => self.decoder.push(&scratch[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next request that is here whole; none also where the client has to wait.
    pub(super) fn request(&mut self) -> Option<Incoming> {
        if !self.may_send() {
            return None;
        }
        let next = match self.decoder.next_frame() {
            Ok(Some((kind, payload))) => Request::decode(kind, payload).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err::<_, BadFrame>(e),
        };
        match next {
            Ok(Some(Incoming::Stdin { bytes, last })) => {
                self.sent += bytes.len() as u64;
                self.mid_message = !last;
                Some(Incoming::Stdin { bytes, last })
            }
            Ok(Some(other)) => Some(other),
            Ok(None) => {
                self.decoder.trim();
                None
            }
            Err(_) => {
                self.gone = true;
                None
            }
        }
    }

    /// Tells it what it does not know yet, as far as its socket takes it.
    pub(super) fn tell(&mut self, facts: &Facts<'_>) {
        while !self.mute {
            if !self.has_output() {
                self.out.clear();
                self.out_at = 0;
                self.fill(facts);
                if self.out.is_empty() {
                    return;
                }
            }
            match self.sock.write(&self.out[self.out_at..]) {
                Ok(n) => self.out_at += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.mute = true;
                    self.out.clear();
                    return;
                }
            }
        }
    }

    fn fill(&mut self, facts: &Facts<'_>) {
        let out = &mut self.out;
        if !self.told.hello {
            self.told.hello = true;
            self.told.raw_len = facts.raw_len;
            Notice::Hello((facts.hello)()).encode(out);
        }
        if self.told.trouble.as_deref() != facts.trouble {
            let over = facts.trouble.is_none();
            let text = facts.trouble.map(str::to_owned).or_else(|| self.told.trouble.take());
            Notice::Trouble { text: text.unwrap_or_default(), over }.encode(out);
            self.told.trouble = facts.trouble.map(str::to_owned);
        }
        if self.told.raw_len != facts.raw_len {
            self.told.raw_len = facts.raw_len;
            Notice::Grown { raw_len: facts.raw_len }.encode(out);
        }
        if self.told.stdin != (facts.stdin_total, self.written) {
            self.told.stdin = (facts.stdin_total, self.written);
            Notice::StdinWritten { total: facts.stdin_total, yours: self.written }.encode(out);
        }
        if let (false, Some(error)) = (self.told.broken, facts.stdin_broken) {
            self.told.broken = true;
            Notice::StdinBroken { error: error.to_owned() }.encode(out);
        }
        if let Some(count) = self.killed.take() {
            Notice::Killed { count }.encode(out);
        }
        if std::mem::take(&mut self.pong) {
            Notice::Pong.encode(out);
        }
        if let (false, Some(exit)) = (self.told.exit, facts.exit) {
            self.told.exit = true;
            Notice::Exit(exit.clone()).encode(out);
        }
    }
}
