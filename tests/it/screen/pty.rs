//! A program in a real pseudo-terminal: its bytes go into a terminal emulator and a log, and what is
//! awaited is what the emulator shows.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

use crate::plane_support::{FRACTA, Plane};

/// Begin and end of a frame.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";
/// Only so that a test that waits in vain shows its screen before the runner ends it.
const PATIENCE: Duration = Duration::from_secs(45);

struct Seen {
    terminal: vt100::Parser,
    raw: Vec<u8>,
    /// No more bytes will come.
    closed: bool,
    /// The reader is to let go of the terminal.
    hang_up: bool,
}

impl Seen {
    fn text(&self) -> String {
        self.terminal.screen().contents()
    }

    /// Nothing of a frame is missing.
    fn whole(&self) -> bool {
        let last = |what| memchr::memmem::rfind(&self.raw, what);
        match (last(BEGIN), last(END)) {
            (None, _) => true,
            (Some(b), e) => e.is_some_and(|e| e > b),
        }
    }
}

/// A program and its terminal. The program is killed when this is dropped.
pub struct Screen {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    slave: Option<Box<dyn SlavePty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    reader: Option<JoinHandle<()>>,
    /// The terminal's settings before the program started.
    pub settings: String,
    exited: bool,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

impl Screen {
    /// `fracta` with these arguments in a project's folder, in a terminal of columns × rows.
    pub fn open(plane: &Plane, args: &[&str], columns: u16, rows: u16) -> Self {
        Self::start(&plane.root(), args, plane.env(), columns, rows)
    }

    /// The same, in any folder and with any variables.
    pub fn start(cwd: &Path, args: &[&str], env: &[(OsString, OsString)], columns: u16, rows: u16) -> Self {
        let mut command = CommandBuilder::new(FRACTA);
        command.args(args);
        command.cwd(cwd);
        command.env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        env.iter().for_each(|(k, v)| command.env(k, v));
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let settings = settings(&*pair.master);
        let mut from = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        let terminal = vt100::Parser::new(cells(rows), cells(columns), 0);
        let seen = Seen { terminal, raw: Vec::new(), closed: false, hang_up: false };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let theirs = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut buf = [0; 16 << 10];
            loop {
                // An error is the end: Linux says EIO when nobody holds the other side.
                let n = from.read(&mut buf).unwrap_or(0);
                let mut seen = theirs.0.lock().unwrap();
                seen.raw.extend_from_slice(&buf[..n]);
                seen.terminal.process(&buf[..n]);
                seen.closed = n == 0;
                theirs.1.notify_all();
                if seen.closed || seen.hang_up {
                    break;
                }
            }
        });
        Self {
            seen,
            child,
            master: Some(pair.master),
            slave: Some(pair.slave),
            writer: Some(writer),
            reader: Some(reader),
            settings,
            exited: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().unwrap()
    }

    /// Waits until something holds after a whole frame; none where the program ended before it did.
    #[track_caller]
    fn wait_seen<T>(&self, fits: impl Fn(&Seen) -> Option<T>) -> T {
        let mut seen = self.lock();
        loop {
            if seen.whole()
                && let Some(found) = fits(&seen)
            {
                return found;
            }
            if seen.closed {
                drop(seen); // A panic with the lock would keep the others from it.
                panic!("the program ended");
            }
            let (next, waited) = self.seen.1.wait_timeout(seen, PATIENCE).unwrap();
            seen = next;
            if waited.timed_out() {
                drop(seen);
                panic!("waited in vain");
            }
        }
    }

    /// Waits until the screen's text fits; that text.
    #[track_caller]
    pub fn wait_for(&self, fits: impl Fn(&str) -> bool) -> String {
        self.wait_seen(|s| Some(s.text()).filter(|t| fits(t)))
    }

    /// Waits until a text stands on the screen; the whole screen.
    #[track_caller]
    pub fn wait_text(&self, what: &str) -> String {
        self.wait_for(|t| t.contains(what))
    }

    /// Waits until one row holds all of these; that row.
    #[track_caller]
    pub fn wait_row(&self, what: &[&str]) -> String {
        self.wait_seen(|s| {
            let text = s.text();
            text.lines().find(|l| what.iter().all(|w| l.contains(w))).map(str::to_owned)
        })
    }

    /// Waits until the log after `mark` fits.
    #[track_caller]
    pub fn wait_bytes(&self, mark: usize, fits: impl Fn(&[u8]) -> bool) {
        self.wait_seen(|s| fits(&s.raw[mark..]).then_some(()));
    }

    pub fn text(&self) -> String {
        self.lock().text()
    }

    /// Looks at the emulator.
    pub fn look<T>(&self, f: impl FnOnce(&vt100::Screen) -> T) -> T {
        f(self.lock().terminal.screen())
    }

    /// Number of bytes written so far.
    pub fn mark(&self) -> usize {
        self.lock().raw.len()
    }

    pub fn bytes_since(&self, mark: usize) -> Vec<u8> {
        self.lock().raw[mark..].to_vec()
    }

    /// Types. An escape key goes alone: with what follows at once, it means another key.
    pub fn keys(&mut self, keys: &str) {
        let w = self.writer.as_mut().unwrap();
        w.write_all(keys.as_bytes()).unwrap();
        w.flush().unwrap();
    }

    /// Pastes, as a terminal in bracketed paste mode does.
    pub fn paste(&mut self, text: &str) {
        self.keys(&format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Types a command line.
    pub fn command(&mut self, line: &str) {
        self.keys(&format!(":{line}\r"));
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.lock().terminal.set_size_now(columns, rows);
        self.master.as_ref().unwrap().resize(size(columns, rows)).unwrap();
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The terminal's settings now.
    pub fn settings_now(&self) -> String {
        settings(&**self.master.as_ref().unwrap())
    }

    /// Waits for the end; exit status 0, and all that was written.
    pub fn finish(&mut self) -> (bool, Vec<u8>) {
        let (ok, raw, _) = self.finish_with_settings();
        (ok, raw)
    }

    /// The same, with the settings in which the program left the terminal.
    pub fn finish_with_settings(&mut self) -> (bool, Vec<u8>, String) {
        let status = self.child.wait().unwrap();
        self.exited = true;
        let settings = self.settings_now();
        // With ours, the last holder of the other side goes, and the reader comes to its end.
        self.slave.take();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status.success(), self.lock().raw.clone(), settings)
    }

    /// Closes the terminal's window: the program's terminal is gone. Returns when the program is, too.
    pub fn hang_up(&mut self) {
        self.lock().hang_up = true;
        // The reader lets go after the next byte.
        self.keys("?");
        self.reader.take().unwrap().join().unwrap();
        self.slave.take();
        self.writer.take();
        self.master.take();
        self.child.wait().unwrap();
        self.exited = true;
    }
}

trait SetSize {
    fn set_size_now(&mut self, columns: u16, rows: u16);
}

impl SetSize for vt100::Parser {
    fn set_size_now(&mut self, columns: u16, rows: u16) {
        self.set_size(cells(rows), cells(columns));
    }
}

fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

impl Drop for Screen {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(seen) = self.seen.0.lock()
        {
            crate::support::note(&format!("--- the screen\n{}", seen.text()));
        }
        if !self.exited {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
