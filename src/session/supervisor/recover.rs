//! Taking up again what an earlier control plane left: finding the process, feeding the adapter what
//! was said, going on with the journal where it stops, settling what was on its way.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::run::{Ending, Run};
use super::{Message, Supervisor};
use crate::backend::local::RAW_FILE;
use crate::backend::{Control, Found};
use crate::event::Body;
use crate::event::journal::ResumePoint;
use crate::runtime::{Command, Output};
use crate::session::state::{SessionState, State};
use crate::store::MessageStatus;
use crate::transport::lines::{Lines, RawReader};

/// What saves the next control plane from folding the whole journal: the state at some event, and
/// how many processes had ended by then. Only a short cut: without it the journal is folded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Saved {
    pub runs: u32,
    pub state: SessionState,
}

impl Saved {
    const FILE: &str = "state.json";

    /// Reads what was saved; nothing if it is not there or cannot be read.
    pub fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(Self::FILE)).ok()?).ok()
    }

    fn store(&self, dir: &Path) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer(io::BufWriter::new(&mut file), self)?;
        file.persist(dir.join(Self::FILE))?;
        Ok(())
    }
}

/// Writes down that what the raw line at `offset` asked for is about to be sent.
pub(super) fn write_cursor(dir: &Path, offset: u64) -> io::Result<()> {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    let file =
        fs::OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(dir.join(CURSOR))?;
    file.write_all_at(&offset.to_le_bytes(), 0)
}

const CURSOR: &str = "sent.cursor";

fn read_cursor(dir: &Path) -> Option<u64> {
    let bytes: [u8; 8] = fs::read(dir.join(CURSOR)).ok()?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// What is still to do when the adapter has been fed all that an earlier control plane had seen.
pub(super) struct CatchUp {
    /// Bytes of `raw.jsonl` that were there when this control plane came.
    until: u64,
    resume: Option<ResumePoint>,
}

impl Supervisor {
    /// Takes up what there was before.
    pub(super) async fn recover(&mut self, resume: Option<ResumePoint>, runs: u32) {
        self.runs = runs;
        match self.env.store.messages(self.session()).await {
            Ok(messages) => {
                for record in messages {
                    let queued = record.status == MessageStatus::Queued;
                    let message = Message { record, reply: None };
                    if !queued {
                        self.in_flight.push(message);
                    } else if self.entry.live().state.last_seq == 0 {
                        self.take_in(message); // Killed before it could be told here.
                    } else {
                        self.queue.push_back(message);
                    }
                }
            }
            Err(e) => {
                tracing::error!(agent = %self.entry.record.name, error = %e, "cannot read unsettled messages")
            }
        }
        self.catch_up = Some(CatchUp { until: 0, resume });
        self.find_run().await;
    }

    /// Looks for the process: at the start of the control plane, or when its link was lost.
    pub(super) async fn find_run(&mut self) {
        let found = match self.env.launcher.backend(&self.entry.record.backend) {
            Ok(backend) => backend.find(&self.entry.dir).await.map_err(|e| e.0),
            Err(p) => Err(p.message),
        };
        match found {
            Ok(Found::Live { link, raw_len }) => {
                let (number, start, stderr) = (link.run(), link.raw_start(), link.stderr_start());
                if self.adopt(number, start, stderr, raw_len).await
                    && let Some(run) = self.run.as_mut()
                {
                    run.link = Some(link);
                    if self.entry.record.mode == crate::runtime::Mode::Batch
                        && let Some(link) = run.link.as_mut()
                    {
                        // A control plane that was killed while it handed the prompt over never closed it.
                        let _ = link.control(Control::CloseInput).await;
                    }
                }
                // Only now: what is still to be sent needs the link.
                self.caught_up().await;
            }
            Ok(Found::Exited { run, raw_start, stderr_start, exit, raw_len }) => {
                self.adopt_end(run, raw_start, stderr_start, raw_len, Ending::Exit(exit)).await;
            }
            Ok(Found::Lost { run, raw_start, stderr_start, raw_len, why }) => {
                self.adopt_end(run, raw_start, stderr_start, raw_len, Ending::Lost(why)).await;
            }
            Ok(Found::Never) => self.nothing_to_adopt().await,
            Err(why) => {
                tracing::error!(agent = %self.entry.record.name, error = why, "cannot look for the process");
                self.entry.live().state.reason = Some(why);
                self.catch_up = None;
            }
        }
    }

    async fn adopt_end(&mut self, number: u32, start: u64, stderr: u64, raw_len: u64, ending: Ending) {
        // Killed right after it told the end, a control plane may not have counted it.
        if self.run.is_none() && (number <= self.runs || self.entry.live().state.ended) {
            self.runs = self.runs.max(number);
            return self.nothing_to_adopt().await; // The journal tells how it ended.
        }
        if self.adopt(number, start, stderr, raw_len).await
            && let Some(run) = self.run.as_mut()
        {
            run.link = None;
            run.exit = Some(ending);
        }
        self.caught_up().await;
    }

    /// No process is left that anything is to be learned of.
    async fn nothing_to_adopt(&mut self) {
        self.catch_up = None;
        // Killed while it prepared a process, a control plane leaves that one's files.
        crate::session::settings::remove(&self.entry.dir);
        let handed_over = !self.in_flight.is_empty();
        self.unconfirm("the control plane was restarted before the runtime confirmed the message").await;
        if self.entry.live().state.state != State::Unknown || !self.queue.is_empty() {
            return;
        }
        if self.entry.record.contract.is_none() {
            self.open_wanted = true;
            return;
        }
        let why = if handed_over {
            "the control plane was killed while it started the process"
        } else {
            "its spawn was cut off, or its journal was lost; say what it is to do"
        };
        self.state_fact(Body::SessionEnded { state: State::Failed, reason: Some(why.to_owned()) });
    }

    /// Builds the conversation anew for a process that an earlier control plane started.
    async fn adopt(&mut self, number: u32, start: u64, stderr_start: u64, raw_len: u64) -> bool {
        if let Some(run) = self.run.as_mut() {
            run.grown = run.grown.max(raw_len); // Only its link was lost.
            return true;
        }
        self.runs = number;
        let prompt = self.in_flight.iter().map(|m| &m.record).find(|m| !m.steer).map(|m| m.id.clone());
        let prompt = prompt.filter(|_| self.entry.record.mode == crate::runtime::Mode::Batch);
        let parts = self.env.launcher.conversation(&self.entry, number, prompt.as_deref()).await;
        let reader = RawReader::open(&self.entry.dir.join(RAW_FILE), start);
        let ((runtime, mut protocol), reader) = match (parts, reader) {
            (Ok(p), Ok(r)) => (p, r),
            (Err(p), _) => return self.cannot_adopt(&p.message),
            (_, Err(e)) => return self.cannot_adopt(&format!("cannot read raw.jsonl: {e}")),
        };
        self.mask = crate::session::settings::mask(&self.entry.dir);
        // What it sends first was sent when the process was started.
        protocol.open(&mut Output::default());
        let resume = self.catch_up.as_ref().and_then(|c| c.resume).filter(|r| r.raw_offset >= start);
        self.catch_up = Some(CatchUp { until: raw_len, resume });
        tracing::info!(agent = %self.entry.record.name, session = self.session(), run = number, "process found again");
        self.run = Some(Run {
            link: None,
            protocol,
            runtime,
            lines: Lines::new(start),
            reader: Some(reader),
            grown: raw_len,
            stderr_start,
            exit: None,
            outcome: None,
            told: resume.is_some(),
            sent_before: read_cursor(&self.entry.dir),
            journalled: resume.map(|r| (r.raw_offset, r.events_from_it)),
            ended_by: None,
        });
        self.hold_place();
        true
    }

    fn cannot_adopt(&mut self, why: &str) -> bool {
        tracing::error!(agent = %self.entry.record.name, error = why, "cannot take the process up again");
        let mut live = self.entry.live();
        live.state.state = State::Unknown;
        live.state.reason = Some(why.to_owned());
        false
    }

    /// A turn that ran on holds its place, even where that makes one too many.
    fn hold_place(&mut self) {
        let busy = self.entry.live().state.turn.is_some() || !self.in_flight.is_empty();
        if busy && !matches!(self.place, super::Place::Held(_)) {
            self.place = super::Place::taken(&self.env.slots);
        }
    }

    /// The adapter is being fed what an earlier control plane had seen.
    pub(super) fn is_catching_up(&self) -> bool {
        self.catch_up.is_some() && self.run.is_some()
    }

    /// The adapter knows again all that was known: settle what was on its way.
    pub(super) async fn caught_up(&mut self) {
        let Some(run) = self.run.as_mut() else { return };
        if self.catch_up.as_ref().is_none_or(|c| run.read() < c.until) {
            return;
        }
        self.catch_up = None;
        let mut out = Output::default();
        run.protocol.resumed(&mut out);
        self.take(out, None).await;
        self.answer_again().await;
        self.tell_unconfirmed("the control plane was restarted before the runtime confirmed the message")
            .await;
    }

    /// Answers that were written down, but that the runtime may never have got: whether it still waits is
    /// for the adapter to say, which refuses what nobody waits for.
    async fn answer_again(&mut self) {
        let answers = match self.env.store.answers(self.session()).await {
            Ok(a) => a,
            Err(e) => return tracing::error!(error = %e, "cannot read the answers given"),
        };
        for (id, answer) in answers {
            let command =
                Command::Answer { approval: id.clone(), decision: answer.decision, answers: answer.answers };
            if self.command(&command).await.is_ok() {
                self.resolved(&id, answer.decision);
            }
        }
    }

    /// What was handed over and has no answer yet, and whose way was cut: whether it arrived is not
    /// known, and it is not sent again. An answer that still comes, or the end, settles it.
    pub(super) async fn tell_unconfirmed(&mut self, why: &str) {
        if self.run.as_ref().is_none_or(|r| r.exit.is_some()) {
            return; // The end of the process will settle them.
        }
        for i in 0..self.in_flight.len() {
            if self.in_flight[i].record.status == MessageStatus::Doubtful {
                continue;
            }
            let reason = Some(why.to_owned());
            let body =
                super::feed::user_message(&self.in_flight[i], crate::event::Delivery::Unconfirmed, reason);
            self.put(None, crate::event::Fact::from(body));
            let record = &mut self.in_flight[i].record;
            record.status = MessageStatus::Doubtful;
            if let Err(e) = self.env.store.set_message(&record.id, MessageStatus::Doubtful).await {
                tracing::error!(error = %e, "cannot write down that a message is unconfirmed");
            }
        }
        self.commit();
    }

    /// Saves the folded state, so that the next control plane need not fold the whole journal.
    pub(super) fn save_state(&mut self) {
        let ended = self.run.is_none();
        let saved = Saved {
            runs: if ended { self.runs } else { self.runs.saturating_sub(1) },
            state: self.entry.live().state.clone(),
        };
        if self.stalled.is_none()
            && let Err(e) = saved.store(&self.entry.dir)
        {
            tracing::warn!(agent = %self.entry.record.name, error = %e, "cannot save the state; the journal will be folded instead");
        }
    }
}
