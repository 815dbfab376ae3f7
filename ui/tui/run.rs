//! The loop: one task owns the model, takes messages in order of urgency, and draws when it is time.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use crossterm::event::{Event, EventStream};
use fracta::control::client::Client;
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::effects::{Home, QUEUE, Worker};
use super::frame::Frames;
use super::keymap::KeyMap;
use super::model::{Link, Model, Options};
use super::msg::{Effect, Msg};
use super::screen::Screen;
use super::terminal::{Guard, Modes, Writer, panicked, write_patiently};
use super::theme::Theme;
use super::{update, view};

/// Messages taken before a frame is drawn: a flood costs one frame.
const DRAIN: usize = 512;
/// How long the first frame waits for the list.
const FIRST: Duration = Duration::from_millis(5);
/// How long quitting waits for requests that a person made.
const LAST: Duration = Duration::from_secs(2);
/// Largest text for the terminal's clipboard; many terminals take no more.
const CLIPBOARD: usize = 74_000;

/// Shows the agents of a control plane until a person quits. `home`: it is the project's own, and is
/// started again where it fails.
///
/// # Errors
/// Where stdin or stdout is no terminal, a key or theme of the options is not known, or the terminal
/// cannot be used.
pub async fn run(client: Client, options: Options, home: Option<Home>) -> anyhow::Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!(
            "the screen needs a terminal, and stdin or stdout is none; `fracta list`, `fracta watch NAME` and `--json` work without"
        );
    }
    let model = prepare(&options, place(client.at()))?;
    let plain = dumb();
    let guard = Guard::enter(Modes { mouse: options.mouse, plain }).context("cannot set up the terminal")?;
    let writer = Writer::new(io::stdout()).context("cannot start the terminal's writer")?;
    let (tx, rx) = mpsc::channel(QUEUE);
    let worker = Worker::new(client, home, tx);
    worker.begin(options.spawns);
    let signals = Signals::new().context("cannot listen for signals")?;
    let mut app = App {
        model,
        guard,
        writer,
        worker,
        rx,
        signals,
        screen: Screen::new(),
        frames: Frames::default(),
        quit: None,
    };
    if let Ok((w, h)) = crossterm::terminal::size() {
        app.model.size = (w, h);
    }
    let end = app.main().await;
    app.close(end).await
}

/// The next event that is there already. Polls with the task's own waker: the stream keeps the waker it
/// was first polled with, so a throw-away one would leave the next key unheard.
async fn ready(input: &mut EventStream) -> Option<io::Result<Event>> {
    std::future::poll_fn(|cx| match input.poll_next_unpin(cx) {
        Poll::Ready(event) => Poll::Ready(event),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|t| t == "dumb")
}

/// The model as the options and the environment want it.
fn prepare(options: &Options, at: String) -> anyhow::Result<Model> {
    let keys = KeyMap::new(&options.keys)?;
    let mut options = options.clone();
    options.no_color |= dumb() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let name = options.theme.as_deref().unwrap_or("default");
    let Some(mut theme) = Theme::named(name) else {
        bail!("ui.theme: there is no theme {name:?}; use one of: {}", Theme::NAMES.join(", "));
    };
    if options.no_color {
        theme = Theme::mono();
    }
    let mut model = Model::new(&options, keys, theme, jiff::tz::TimeZone::system(), at);
    model.now = Timestamp::now();
    Ok(model)
}

/// Why the loop ended.
enum End {
    Person,
    Signal,
    TerminalGone,
    Panic,
}

struct Signals {
    term: Signal,
    hup: Signal,
    int: Signal,
    stop: Signal,
    cont: Signal,
    size: Signal,
}

enum Caught {
    End,
    Stop,
    Continued,
    Resized,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
            int: signal(SignalKind::interrupt())?,
            stop: signal(SignalKind::from_raw(nix::libc::SIGTSTP))?,
            cont: signal(SignalKind::from_raw(nix::libc::SIGCONT))?,
            size: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.term.recv() => Caught::End,
            _ = self.hup.recv() => Caught::End,
            _ = self.int.recv() => Caught::End,
            _ = self.stop.recv() => Caught::Stop,
            _ = self.cont.recv() => Caught::Continued,
            _ = self.size.recv() => Caught::Resized,
        }
    }
}

struct App {
    model: Model,
    guard: Guard,
    writer: Writer,
    worker: Worker,
    rx: mpsc::Receiver<Msg>,
    signals: Signals,
    screen: Screen,
    frames: Frames,
    quit: Option<End>,
}

impl App {
    async fn main(&mut self) -> End {
        let mut input = EventStream::new();
        // The first frame waits a moment for the list, so that it need not be drawn twice.
        self.frames.urgent(Instant::now() + FIRST);
        loop {
            let due = self.frames.due();
            tokio::select! {
                biased;
                () = panicked() => return End::Panic,
                caught = self.signals.next() => self.caught(caught),
                event = input.next() => match event {
                    Some(Ok(event)) => {
                        self.input(event);
                        for _ in 0..DRAIN {
                            let Some(Ok(event)) = ready(&mut input).await else { break };
                            self.input(event);
                        }
                    }
                    _ => return End::TerminalGone,
                },
                Some(msg) = self.rx.recv() => self.data(msg),
                () = self.writer.done() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !self.writer.busy() => {}
            }
            if let Some(end) = self.quit.take() {
                return end;
            }
            if self.writer.failed() {
                return End::TerminalGone;
            }
            let now = Instant::now();
            if self.frames.due().is_some_and(|due| due <= now) && !self.writer.busy() {
                self.draw(now);
            }
        }
    }

    fn caught(&mut self, caught: Caught) {
        match caught {
            Caught::End => self.quit = Some(End::Signal),
            Caught::Stop => self.suspend(),
            Caught::Continued => self.resume(),
            Caught::Resized => self.resized(),
        }
    }

    /// Crossterm tells of a new size, too, but not where keys came at the same moment.
    fn resized(&mut self) {
        if let Ok((w, h)) = crossterm::terminal::size()
            && self.model.size != (w, h)
        {
            self.apply(Msg::Resize(w, h));
            self.frames.urgent(Instant::now());
        }
    }

    fn input(&mut self, event: Event) {
        let now = Instant::now();
        let msg = match event {
            Event::Key(k) => Msg::Key(k),
            Event::Paste(text) => Msg::Paste(text),
            Event::Mouse(m) => Msg::Mouse(m),
            Event::Resize(w, h) => Msg::Resize(w, h),
            // Draws nothing by itself.
            Event::FocusGained => return self.apply(Msg::Focus(true)),
            Event::FocusLost => return self.apply(Msg::Focus(false)),
        };
        self.model.now = Timestamp::now();
        self.apply(msg);
        self.frames.urgent(now);
    }

    /// Takes a message and what waits behind it.
    fn data(&mut self, first: Msg) {
        let now = Instant::now();
        let connecting = self.model.link == Link::Connecting;
        self.model.now = Timestamp::now();
        let mut next = Some(first);
        for _ in 0..DRAIN {
            let Some(msg) = next else { break };
            self.apply(msg);
            next = self.rx.try_recv().ok();
        }
        if let Some(msg) = next {
            self.apply(msg);
        }
        if connecting && self.model.link != Link::Connecting {
            self.frames.urgent(now);
        } else if self.frames.due().is_none_or(|d| d > now) {
            self.frames.request(now);
        }
    }

    fn apply(&mut self, msg: Msg) {
        for effect in update::update(&mut self.model, msg) {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Quit => self.quit = Some(End::Person),
            Effect::Suspend => self.suspend(),
            Effect::Redraw => self.screen.invalidate(),
            Effect::Copy(text) => self.aside(clipboard(&text)),
            Effect::Notify(text) => self.aside(notification(&text)),
            other => self.worker.start(other),
        }
    }

    /// Bytes for the terminal that are no frame. Dropped where it does not read.
    fn aside(&mut self, bytes: Vec<u8>) {
        self.screen.before(bytes);
        self.frames.urgent(Instant::now());
    }

    fn draw(&mut self, now: Instant) {
        view::layout(&mut self.model);
        let more = update::after_layout(&mut self.model);
        let model = &self.model;
        match self.screen.paint(model.size, |buf| view::draw(model, buf)) {
            Ok(bytes) => self.writer.send(bytes),
            // Writing into memory does not fail.
            Err(e) => tracing::error!(error = %e, "frame"),
        }
        self.frames.drawn(now);
        for effect in more {
            self.effect(effect);
        }
    }

    /// Gives the terminal back and stops this process until it is continued.
    fn suspend(&mut self) {
        self.guard.suspend();
        // Not TSTP: its handler is ours. The shell sees a stopped job all the same.
        if let Err(e) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP) {
            tracing::warn!(error = %e, "cannot stop");
        }
        self.resume();
    }

    /// Takes the terminal over again; its size may have changed in between.
    fn resume(&mut self) {
        if self.guard.resume().is_err() {
            self.quit = Some(End::TerminalGone);
            return;
        }
        if let Ok((w, h)) = crossterm::terminal::size() {
            self.apply(Msg::Resize(w, h));
        }
        self.screen.invalidate();
        self.frames.urgent(Instant::now());
    }

    /// Gives the terminal back, and says what a person should know.
    async fn close(mut self, end: End) -> anyhow::Result<()> {
        if matches!(end, End::Person) {
            self.writer.settle().await;
        }
        drop(self.guard);
        let lost = self.worker.finish(LAST, &mut self.rx).await;
        match end {
            End::Panic => bail!("fracta's screen failed (the panic is above); the agents go on"),
            End::TerminalGone => bail!("the terminal is gone; the agents go on"),
            End::Person | End::Signal if lost > 0 => {
                bail!(
                    "{lost} request(s) got no answer before fracta left, so it is not known whether they were carried out"
                )
            }
            End::Person => {
                let live = self.model.list.live();
                // A demo ends its agents.
                if live > 0 && self.model.banner.is_none() {
                    let text = match live {
                        1 => "1 agent goes on without the screen; `fracta` comes back to it.\n".to_owned(),
                        n => format!("{n} agents go on without the screen; `fracta` comes back to them.\n"),
                    };
                    // Only a courtesy: where it cannot be written, nothing is lost.
                    let _ = write_patiently(io::stdout().as_fd(), text.as_bytes(), FIRST);
                }
                Ok(())
            }
            End::Signal => Ok(()),
        }
    }
}

/// Where the agents are, for the title: a project's folder says more than its socket.
fn place(at: &str) -> String {
    let folder = at.strip_suffix("/.fracta/control.sock").unwrap_or(at);
    let home = std::env::var("HOME").unwrap_or_default();
    match folder.strip_prefix(&home).filter(|_| !home.is_empty()) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
        _ => folder.to_owned(),
    }
}

/// OSC 52: the terminal's clipboard, over SSH too.
fn clipboard(text: &str) -> Vec<u8> {
    let mut end = text.len().min(CLIPBOARD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let code = base64::engine::general_purpose::STANDARD.encode(&text.as_bytes()[..end]);
    format!("\x1b]52;c;{code}\x07").into_bytes()
}

/// A bell, and a desktop notification where the terminal makes one of OSC 9.
fn notification(text: &str) -> Vec<u8> {
    let clean: String =
        fracta::text::line(text).chars().filter(|c| !c.is_control() && *c != ';').take(120).collect();
    format!("\x07\x1b]9;fracta: {clean}\x07").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_cannot_be_smuggled_out() {
        let n = notification("evil\x1b]52;c;AAAA\x07\u{9b}1m");
        assert_eq!(n.iter().filter(|b| **b == 0x1b).count(), 1);
        assert_eq!(n.iter().filter(|b| **b == 0x07).count(), 2);
        let c = clipboard("a\x1b\x07b");
        assert_eq!(c, b"\x1b]52;c;YRsHYg==\x07");
    }

    #[test]
    fn the_title_is_the_projects_folder() {
        assert_eq!(place("/srv/p/.fracta/control.sock"), "/srv/p");
        assert_eq!(place("http://127.0.0.1:1"), "http://127.0.0.1:1");
        let home = std::env::var("HOME").unwrap_or_default();
        if home.len() > 1 {
            assert_eq!(place(&format!("{home}/p/.fracta/control.sock")), "~/p");
            assert_eq!(place(&format!("{home}x/.fracta/control.sock")), format!("{home}x"));
        }
    }

    #[test]
    fn a_wrong_theme_or_key_is_named() {
        let e = prepare(&Options { theme: Some("neon".into()), ..Options::default() }, String::new());
        assert!(e.err().unwrap().to_string().contains("neon"));
        let keys = [("spwan".to_owned(), vec!["x".to_owned()])].into();
        let e = prepare(&Options { keys, ..Options::default() }, String::new());
        assert!(e.err().unwrap().to_string().contains("spwan"));
    }
}
