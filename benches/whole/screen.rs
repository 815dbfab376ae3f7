//! `fracta` on a pseudo-terminal, its frames cut out of its bytes and read by a terminal emulator.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::clock;

pub const ROWS: u16 = 40;
pub const COLS: u16 = 120;
const END: &[u8] = b"\x1b[?2026l";

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

/// Bytes, and when they were read: for this process, and for all.
struct Chunk {
    at: Instant,
    clock: u64,
    bytes: Vec<u8>,
}

/// A frame that the terminal shows now.
#[derive(Clone, Copy)]
pub struct Frame {
    /// When its first byte came.
    pub first: Instant,
    /// When it was whole, by [`clock`].
    pub whole: u64,
}

pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    chunks: Receiver<Chunk>,
    parser: vt100::Parser,
    /// Of a frame that is not whole yet.
    part: Vec<u8>,
    first: Instant,
    clock: u64,
    pub started: Instant,
    /// All bytes that came.
    pub bytes: usize,
}

impl Screen {
    /// Starts `exe` without arguments in `root`.
    pub fn start(exe: &Path, root: &Path) -> Self {
        let size = PtySize { rows: ROWS, cols: COLS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        let (tx, chunks) = sync_channel(1024);
        std::thread::spawn(move || {
            let mut buf = vec![0; 64 << 10];
            while let Ok(n) = reader.read(&mut buf) {
                let chunk = Chunk { at: Instant::now(), clock: clock(), bytes: buf[..n].to_vec() };
                if n == 0 || tx.send(chunk).is_err() {
                    return;
                }
            }
        });
        let mut command = CommandBuilder::new(exe);
        command.cwd(root);
        command.env("TERM", "xterm-256color");
        let started = Instant::now();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        Self {
            child,
            master: pair.master,
            keys,
            chunks,
            parser: vt100::Parser::new(cells(ROWS), cells(COLS), 0),
            part: Vec::new(),
            first: started,
            clock: 0,
            started,
            bytes: 0,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    pub fn key(&mut self, key: &str) -> Instant {
        let now = Instant::now();
        self.keys.write_all(key.as_bytes()).unwrap();
        self.keys.flush().unwrap();
        now
    }

    /// The next whole frame, read into the emulator.
    pub fn frame(&mut self, until: Instant) -> Option<Frame> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.part, END) {
                let rest = self.part.split_off(at + END.len());
                let frame = std::mem::replace(&mut self.part, rest);
                self.parser.process(&frame);
                let whole = Frame { first: self.first, whole: self.clock };
                self.first = Instant::now();
                return Some(whole);
            }
            let left = until.saturating_duration_since(Instant::now());
            let chunk = self.chunks.recv_timeout(left).ok()?;
            self.bytes += chunk.bytes.len();
            self.clock = chunk.clock;
            if self.part.is_empty() {
                self.first = chunk.at;
            }
            self.part.extend(chunk.bytes);
        }
    }

    /// Reads frames until the screen is as `want` says; the frame that brought it there.
    pub fn until(&mut self, patience: Duration, want: impl Fn(&str) -> bool) -> Option<Frame> {
        let until = Instant::now() + patience;
        loop {
            let frame = self.frame(until)?;
            if want(&self.text()) {
                return Some(frame);
            }
        }
    }

    /// Reads on until no byte has come for `quiet`.
    pub fn settle(&mut self, quiet: Duration) {
        while self.frame(Instant::now() + quiet).is_some() {}
    }

    pub fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// The screen's rows from a column on.
    pub fn pane(&self, from: u16) -> impl Iterator<Item = String> {
        self.parser.screen().rows(from, COLS - from)
    }

    /// The row of the list that is marked as selected.
    pub fn selected(&self) -> Option<u16> {
        (0..ROWS).find(|y| self.parser.screen().cell(*y, 0).is_some_and(|c| c.contents() == "▌"))
    }

    /// Quits with `q`; kills it where that does not help.
    pub fn quit(mut self) {
        self.key("q");
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            while self.frame(Instant::now() + Duration::from_millis(20)).is_some() {}
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.master);
    }
}
