//! One process of the agent, from its start to its end.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::{Ask, Place, Supervisor, problem};
use crate::backend::local::RAW_FILE;
use crate::backend::{Control, Link, Notice};
use crate::control::wire::Code;
use crate::event::{Body, Delivery, Fact, Outcome};
use crate::runtime::{Mode, Output, Protocol};
use crate::session::launch::Prepared;
use crate::session::state::State;
use crate::store::MessageStatus;
use crate::transport::Exit;
use crate::transport::lines::{Lines, RawReader};

/// How much of the end of stderr is looked at for the reason of a death, in bytes.
const STDERR_TAIL: u64 = 8 << 10;

/// A process and the conversation with it.
pub(super) struct Run {
    /// None: it ended while nobody looked; only its last words are left to read.
    pub link: Option<Box<dyn Link>>,
    pub protocol: Box<dyn Protocol>,
    pub runtime: &'static dyn crate::runtime::Runtime,
    pub lines: Lines,
    /// How far `raw.jsonl` was fed to the protocol. Taken out only while it is.
    pub reader: Option<RawReader>,
    /// How far it has grown.
    pub grown: u64,
    pub stderr_start: u64,
    pub exit: Option<Ending>,
    /// The outcome of the last turn that ended in this process.
    pub outcome: Option<(Outcome, Option<String>)>,
    /// It has said something that is an event: from then on events tell the state.
    pub told: bool,
    /// Lines up to here had their answers sent by a control plane that was killed.
    pub sent_before: Option<u64>,
    /// Facts that the journal holds already: those of lines before the offset, and so many of it.
    pub journalled: Option<(u64, u64)>,
    /// A person or fracta ended it on purpose: why.
    pub ended_by: Option<String>,
}

/// How a run came to its end.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Exit(Exit),
    /// Without a trace.
    Lost(String),
}

/// Why there is no process.
pub(super) enum NotStarted {
    Failed(String),
    /// Nobody wants it any more.
    Stopped(&'static str),
    /// The control plane ends: the next one starts it.
    Later,
}

impl From<String> for NotStarted {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl Run {
    pub fn has_unread(&self) -> bool {
        self.read() < self.grown
    }

    /// How far it was read.
    pub fn read(&self) -> u64 {
        self.reader.as_ref().map_or(self.grown, RawReader::offset)
    }

    /// It ended, and everything it said was read.
    pub fn is_over(&self) -> bool {
        self.exit.is_some() && !self.has_unread()
    }
}

/// The next notice of the run's link, or never.
pub(super) async fn next_notice(run: &mut Option<Run>) -> Option<Notice> {
    match run.as_mut().and_then(|r| r.link.as_mut()) {
        Some(link) => link.notice().await,
        None => std::future::pending().await,
    }
}

impl Supervisor {
    /// Starts a process. In batch mode it is the turn of `message`.
    pub(super) async fn start_run(&mut self, message: Option<(&str, &str)>) -> Result<(), NotStarted> {
        let number = self.runs + 1;
        let token = self.entry.live().state.resume_token.clone();
        let prepared = self.prepare(number, token, message.map(|m| m.1)).await?;
        self.mask = prepared.mask;
        let mut warnings = prepared.warnings;
        if number > 1 && !prepared.runtime.capabilities().resume {
            let adapter = prepared.runtime.adapter();
            let text = format!(
                "the adapter {adapter} cannot resume: from here on the agent knows nothing of what was before"
            );
            warnings.push(text);
        }
        for text in warnings {
            if self.warned.insert(text.clone()) {
                self.state_fact(Body::Warning { text });
            }
        }
        let mut protocol = prepared.runtime.protocol(&prepared.session, message.map(|m| m.0));
        let backend = self.env.launcher.backend(&self.entry.record.backend).map_err(|p| p.message)?;
        let link = backend.start(&prepared.run).await.map_err(|e| e.0)?;
        self.runs = number;
        let start = link.raw_start();
        let reader = RawReader::open(&self.entry.dir.join(RAW_FILE), start)
            .map_err(|e| NotStarted::from(format!("cannot read raw.jsonl: {e}")))?;
        tracing::info!(agent = %self.entry.record.name, session = self.session(), run = number, pid = link.pid(), "process started");
        let mut out = Output::default();
        protocol.open(&mut out);
        self.run = Some(Run {
            stderr_start: link.stderr_start(),
            link: Some(link),
            protocol,
            runtime: prepared.runtime,
            lines: Lines::new(start),
            reader: Some(reader),
            grown: start,
            exit: None,
            outcome: None,
            told: false,
            sent_before: None,
            journalled: None,
            ended_by: None,
        });
        self.take(out, None).await;
        Ok(())
    }

    /// Prepares a process, which may take a credential helper's whole patience: who wants the agent ended does not
    /// wait for that. What is asked meanwhile has its turn afterwards.
    async fn prepare(
        &mut self,
        number: u32,
        token: Option<String>,
        prompt: Option<&str>,
    ) -> Result<Prepared, NotStarted> {
        let (env, entry) = (Arc::clone(&self.env), Arc::clone(&self.entry));
        let mut preparing = std::pin::pin!(env.launcher.prepare(&entry, number, token, prompt));
        loop {
            let room = self.postponed.len() < super::INBOX;
            tokio::select! {
                biased;
                done = &mut preparing => return done.map_err(|p| p.message.into()),
                ask = self.inbox.recv(), if room => match ask {
                    Some(Ask::Abort { reply }) => {
                        // With the end of the start it is done.
                        let _ = reply.send(Ok(()));
                        return Err(NotStarted::Stopped("aborted by a person before it began"));
                    }
                    Some(ask) => {
                        let end = match &ask {
                            Ask::Kill { .. } | Ask::Shutdown { agents: true, .. } => {
                                Some(NotStarted::Stopped("ended before it began"))
                            }
                            Ask::Shutdown { agents: false, .. } => Some(NotStarted::Later),
                            Ask::Say { .. } | Ask::Answer { .. } | Ask::Abort { .. } => None,
                        };
                        self.postponed.push_back(ask);
                        if let Some(end) = end {
                            return Err(end);
                        }
                    }
                    None => return Err(NotStarted::Later),
                },
            }
        }
    }

    /// A notice of the link, or its loss.
    pub(super) async fn noticed(&mut self, notice: Option<Notice>) {
        let Some(run) = self.run.as_mut() else { return };
        match notice {
            Some(Notice::Grown { raw_len }) => run.grown = run.grown.max(raw_len),
            Some(Notice::Exit { exit, raw_len }) => {
                run.grown = run.grown.max(raw_len);
                run.exit = Some(Ending::Exit(exit));
                run.link = None;
            }
            Some(Notice::Swept) => self.swept(),
            Some(Notice::Trouble { text }) => self.state_fact(Body::Warning { text }),
            // A process that dies takes no input either: how it ended tells more, and comes next. Only
            // one that had begun may live on deaf.
            Some(Notice::InputBroken { why }) => {
                if run.told && self.entry.record.mode == Mode::Stream {
                    self.tell_unconfirmed(&format!("the process no longer takes input: {why}")).await;
                }
            }
            None => {
                run.link = None;
                self.find_run().await;
            }
        }
    }

    /// The process is over and everything it said was read: tell how it ended.
    pub(super) async fn finish_run(&mut self) {
        self.read_last_piece().await;
        let Some(run) = self.run.take() else { return };
        crate::session::settings::remove(&self.entry.dir);
        let (state, mut reason) = self.verdict(&run);
        reason.iter_mut().for_each(|why| self.mask.string(why));
        let outcome = match state {
            State::Stopped => Outcome::Interrupted,
            _ => Outcome::Failed,
        };
        let open_turn = self.entry.live().state.turn.clone();
        if let Some(turn) = open_turn {
            self.put(None, Fact::of(turn, Body::TurnCompleted { outcome, error: reason.clone() }));
        }
        self.put(None, Fact::from(Body::SessionEnded { state, reason: reason.clone() }));
        self.commit();
        self.settle_in_flight(&run, state, reason.as_deref()).await;
        if state == State::Failed && !run.protocol.ready() {
            // Its session never opened; the next process would fare no better, and so on for ever.
            let why = reason.clone().unwrap_or_else(|| "its session could not be opened".to_owned());
            self.reject_queue(&why).await;
        }
        self.place = Place::None;
        tracing::info!(agent = %self.entry.record.name, session = self.session(), state = state.word(), reason, "process ended");
        self.turn_over().await;
        self.save_state();
    }

    /// What a finished process means for the agent.
    fn verdict(&self, run: &Run) -> (State, Option<String>) {
        if let Some(why) = run.protocol.fatal() {
            return (State::Failed, Some(why.to_owned()));
        }
        if let Some(why) = &run.ended_by {
            return (State::Stopped, Some(why.clone()));
        }
        let exit = match &run.exit {
            Some(Ending::Exit(e)) => e,
            Some(Ending::Lost(why)) => return (State::Failed, Some(why.clone())),
            None => return (State::Unknown, None),
        };
        let died = || {
            let tail = stderr_tail(&self.entry.dir, run.stderr_start);
            run.runtime.failure(&tail, exit)
        };
        match &run.outcome {
            Some((Outcome::Failed, error)) => (State::Failed, error.clone().or_else(|| Some(died()))),
            Some((Outcome::Completed, _)) if exit.success() => (State::Completed, None),
            Some((Outcome::Interrupted, _)) if exit.success() => (State::Stopped, None),
            // A stream process that ends by itself between turns did all that it was asked.
            None if exit.success() && self.entry.record.mode == Mode::Stream => (State::Completed, None),
            _ => (State::Failed, Some(died())),
        }
    }

    /// What was handed over and never confirmed: refused where the process never took it in,
    /// unconfirmed where nobody can know.
    async fn settle_in_flight(&mut self, run: &Run, state: State, reason: Option<&str>) {
        let never_started = matches!(&run.exit, Some(Ending::Exit(e)) if e.spawn_error.is_some());
        let why = reason.unwrap_or(state.word()).to_owned();
        for message in std::mem::take(&mut self.in_flight) {
            let (delivery, text) = if never_started || !run.told {
                (Delivery::Rejected, format!("the process ended before it took the message: {why}"))
            } else {
                (Delivery::Unconfirmed, format!("the process ended before it confirmed the message: {why}"))
            };
            if message.record.status == MessageStatus::Doubtful && delivery == Delivery::Unconfirmed {
                self.forget(message).await; // Its fate was told already.
            } else {
                self.settle(message, None, delivery, Some(text)).await;
            }
        }
    }

    /// Ends the process and all that belongs to it; its end is told as `why`.
    pub(super) async fn end_process(&mut self, why: &str) {
        if let Some(run) = self.run.as_mut() {
            run.ended_by.get_or_insert_with(|| why.to_owned());
            if let Some(link) = run.link.as_mut() {
                // A lost link shows as the end of notices, and is handled there.
                let _ = link.control(Control::Kill { grace_ms: super::abort::GRACE_MS }).await;
            }
        }
    }

    /// Reports that a process could not be started; the turn's message is refused.
    pub(super) async fn start_failed(&mut self, message: Option<super::Message>, not: NotStarted) {
        let (why, state) = match not {
            NotStarted::Failed(why) => (why, State::Failed),
            NotStarted::Stopped(why) => (why.to_owned(), State::Stopped),
            NotStarted::Later => return self.start_later(message).await,
        };
        tracing::warn!(agent = %self.entry.record.name, reason = why, "cannot start");
        self.place = Place::None;
        crate::session::settings::remove(&self.entry.dir);
        if let Some(m) = message {
            self.settle(m, None, Delivery::Rejected, Some(why.clone())).await;
        }
        self.state_fact(Body::SessionEnded { state, reason: Some(why) });
        self.reject_queue("the agent cannot be started").await;
    }

    /// Leaves a start to the next control plane: the message waits as it did.
    async fn start_later(&mut self, message: Option<super::Message>) {
        self.place = Place::None;
        let Some(mut message) = message else { return };
        match self.env.store.set_message(&message.record.id, MessageStatus::Queued).await {
            Ok(()) => {
                message.record.status = MessageStatus::Queued;
                self.queue.push_front(message);
            }
            Err(e) => {
                let why = format!("the control plane ended before it began, and cannot write that down: {e}");
                self.settle(message, None, Delivery::Rejected, Some(why)).await;
            }
        }
    }

    /// The reason for refusing what needs a running turn.
    pub(super) fn no_turn(&self) -> crate::control::wire::Problem {
        let name = &self.entry.record.name;
        problem(Code::Conflict, format!("{name} is {}: no turn runs", self.entry.state().word()))
    }
}

/// The end of what this run wrote to stderr.
fn stderr_tail(dir: &Path, start: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut f = std::fs::File::open(dir.join("stderr.log"))?;
        let len = f.metadata()?.len();
        f.seek(SeekFrom::Start(start.max(len.saturating_sub(STDERR_TAIL)).min(len)))?;
        let mut bytes = Vec::new();
        f.take(STDERR_TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
