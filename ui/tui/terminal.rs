//! The terminal itself: entering and leaving its modes whatever happens, and writing to it without
//! ever waiting for it.
//!
//! Frames are written by a thread of their own, one at a time: a terminal that does not read (a
//! stalled SSH link, `ctrl-s`) delays frames, not the program, and what is drawn then is the latest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossterm::terminal;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use tokio::sync::Notify;

/// How long the way out may wait for a terminal that does not read.
const PATIENCE: Duration = Duration::from_millis(300);

/// Modes in force, to be undone; `None`: the terminal is as we found it.
static UNDO: Mutex<Option<&'static [u8]>> = Mutex::new(None);
/// A thread or task panicked; the screen was given back.
static PANICKED: AtomicBool = AtomicBool::new(false);
static PANIC: Notify = Notify::const_new();

/// What to ask of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    pub mouse: bool,
    /// `TERM=dumb`: only the alternate screen and the cursor.
    pub plain: bool,
}

// Alternate screen, hidden cursor, bracketed paste, focus reports, unambiguous keys (terminals
// without them ignore the request; none of this waits for an answer).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1004h\x1b[>1u";
const ENTER_MOUSE: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1004h\x1b[>1u\x1b[?1000h\x1b[?1006h";
const ENTER_PLAIN: &[u8] = b"\x1b[?1049h\x1b[?25l";
// The other way round, first of all the end of a frame that may have been cut off.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[<1u\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l";
const LEAVE_MOUSE: &[u8] =
    b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[<1u\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l";
const LEAVE_PLAIN: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

impl Modes {
    fn enter(self) -> &'static [u8] {
        match self {
            Modes { plain: true, .. } => ENTER_PLAIN,
            Modes { mouse: true, .. } => ENTER_MOUSE,
            _ => ENTER,
        }
    }

    fn leave(self) -> &'static [u8] {
        match self {
            Modes { plain: true, .. } => LEAVE_PLAIN,
            Modes { mouse: true, .. } => LEAVE_MOUSE,
            _ => LEAVE,
        }
    }
}

/// Gives the terminal back when dropped.
pub struct Guard {
    modes: Modes,
}

impl Guard {
    /// Takes the terminal over. Panics give it back first.
    ///
    /// # Errors
    /// Where raw mode cannot be set.
    pub fn enter(modes: Modes) -> io::Result<Self> {
        std::panic::set_hook(hook(io::stdout(), std::panic::take_hook()));
        let guard = Self { modes };
        guard.resume()?;
        Ok(guard)
    }

    /// Takes the terminal over (again).
    pub fn resume(&self) -> io::Result<()> {
        leave();
        terminal::enable_raw_mode()?;
        *UNDO.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.modes.leave());
        write_patiently(io::stdout().as_fd(), self.modes.enter(), PATIENCE)
    }

    /// Gives the terminal back for a while.
    pub fn suspend(&self) {
        leave();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync>;

/// Gives the terminal back before the words of a panic are written, and ends the screen after them.
fn hook(out: impl AsFd + Send + Sync + 'static, before: Hook) -> Hook {
    Box::new(move |info| {
        leave_to(out.as_fd());
        before(info);
        PANICKED.store(true, Ordering::SeqCst);
        PANIC.notify_one();
    })
}

/// Waits for a panic anywhere in the process.
pub async fn panicked() {
    loop {
        if PANICKED.load(Ordering::SeqCst) {
            return;
        }
        PANIC.notified().await;
    }
}

fn leave() {
    leave_to(io::stdout().as_fd());
}

/// Undoes the modes in force; does nothing where there are none.
fn leave_to(out: BorrowedFd<'_>) {
    // Poisoned by a panic in here: undo all the same.
    let undo = UNDO.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bytes) = undo {
        // A terminal that is gone (SIGHUP) takes neither; there is nothing left to restore then.
        let _ = write_patiently(out, bytes, PATIENCE);
        let _ = terminal::disable_raw_mode();
    }
}

/// Writes all of `bytes`, waiting no longer than `patience` for the terminal to read.
pub fn write_patiently(fd: BorrowedFd<'_>, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
    let end = Instant::now() + patience;
    while !bytes.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        let ms = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
        match nix::poll::poll(&mut fds, PollTimeout::from(ms)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        match nix::unistd::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) if !left.is_zero() => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Writes frames in a thread of its own.
pub struct Writer {
    frames: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    busy: AtomicBool,
    failed: AtomicBool,
    done: Notify,
}

impl Writer {
    /// Starts the thread; it ends with the writer.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn new(mut out: impl io::Write + Send + 'static) -> io::Result<Self> {
        // One frame waits at most: `send` is only called when the last one is out.
        let (frames, queue) = sync_channel::<Vec<u8>>(1);
        let state = Arc::new(State::default());
        let theirs = Arc::clone(&state);
        std::thread::Builder::new().name("terminal".to_owned()).stack_size(128 * 1024).spawn(move || {
            for frame in queue {
                let written = out.write_all(&frame).and_then(|()| out.flush());
                if written.is_err() {
                    theirs.failed.store(true, Ordering::SeqCst);
                }
                theirs.busy.store(false, Ordering::SeqCst);
                theirs.done.notify_one();
            }
        })?;
        Ok(Self { frames, state })
    }

    /// The last frame is not out yet.
    pub fn busy(&self) -> bool {
        self.state.busy.load(Ordering::SeqCst)
    }

    /// The terminal takes no more bytes.
    pub fn failed(&self) -> bool {
        self.state.failed.load(Ordering::SeqCst)
    }

    /// Hands a frame over. Only when not [`Writer::busy`].
    pub fn send(&self, frame: Vec<u8>) {
        if frame.is_empty() {
            return;
        }
        self.state.busy.store(true, Ordering::SeqCst);
        if self.frames.try_send(frame).is_err() {
            self.state.failed.store(true, Ordering::SeqCst);
        }
    }

    /// Resolves when a frame went out (or could not).
    pub async fn done(&self) {
        self.state.done.notified().await;
    }

    /// Waits until the last frame is out, but not for long.
    pub async fn settle(&self) {
        let idle = async {
            while self.busy() && !self.failed() {
                self.done().await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, idle).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn every_mode_entered_is_left() {
        for modes in [
            Modes { mouse: false, plain: false },
            Modes { mouse: true, plain: false },
            Modes { mouse: false, plain: true },
        ] {
            let (enter, leave) = (
                String::from_utf8(modes.enter().to_vec()).unwrap(),
                String::from_utf8(modes.leave().to_vec()).unwrap(),
            );
            for mode in ["1049", "2004", "1004", "1000", "1006"] {
                assert_eq!(
                    enter.contains(&format!("?{mode}h")),
                    leave.contains(&format!("?{mode}l")),
                    "{mode} in {modes:?}"
                );
            }
            assert_eq!(enter.contains("\x1b[>1u"), leave.contains("\x1b[<1u"));
            assert!(leave.contains("\x1b[?25h"), "the cursor is shown again");
            assert!(leave.ends_with("\x1b[?1049l"), "the alternate screen is left last");
        }
    }

    #[tokio::test]
    async fn a_panic_gives_the_terminal_back_before_its_words() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let words = writer.try_clone().unwrap();
        let modes = Modes { mouse: true, plain: false };
        *UNDO.lock().unwrap() = Some(modes.leave());
        let usual = std::panic::take_hook();
        std::panic::set_hook(hook(
            writer,
            Box::new(move |info| {
                let said = info.payload_as_str().unwrap_or_default();
                write_patiently(words.as_fd(), said.as_bytes(), PATIENCE).unwrap();
            }),
        ));
        // Two of them: the terminal is given back once.
        for word in ["first", "second"] {
            assert!(std::thread::spawn(move || panic!("{word}")).join().is_err());
        }
        std::panic::set_hook(usual);
        panicked().await;
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, [modes.leave(), b"firstsecond"].concat());
    }

    #[test]
    fn a_terminal_that_does_not_read_is_not_waited_for() {
        let (reader, writer) = std::io::pipe().unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        let much = vec![b'x'; 1 << 20];
        let e = write_patiently(writer.as_fd(), &much, Duration::ZERO).unwrap_err();
        assert!(matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{e}");
        drop(reader);
    }

    #[tokio::test]
    async fn frames_go_out_one_at_a_time() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let w = Writer::new(writer).unwrap();
        w.send(b"one".to_vec());
        w.settle().await;
        assert!(!w.busy());
        w.send(b"two".to_vec());
        w.settle().await;
        let mut got = [0; 6];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"onetwo");
        drop(reader);
        w.send(b"x".to_vec());
        w.settle().await;
        assert!(w.failed(), "a terminal that is gone is noticed");
    }
}
