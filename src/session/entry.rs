//! One agent as the whole control plane sees it: its record, its live state, and the way to its
//! supervisor. Only the supervisor writes; everybody reads.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::state::{SessionState, State};
use super::supervisor::Ask;
use crate::control::wire;
use crate::store::AgentRecord;

/// An agent.
pub struct Entry {
    pub record: AgentRecord,
    /// The session's folder.
    pub dir: PathBuf,
    live: Mutex<Live>,
    /// Number of the last event in the journal.
    head: watch::Sender<u64>,
    asks: mpsc::Sender<Ask>,
}

/// What changes.
#[derive(Debug, Clone)]
pub struct Live {
    pub state: SessionState,
    /// What no event tells yet.
    pub phase: Phase,
    /// Messages that wait.
    pub queued: u64,
    pub seen: u64,
    pub updated_at: Timestamp,
    pub killed: bool,
    /// What keeps the journal from being written: no event can tell it.
    pub trouble: Option<String>,
}

/// Where an agent stands before its process has said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Events tell all there is to know.
    Told,
    /// Waits for a free place.
    Queued,
    /// Its process is being started.
    Starting,
    /// A turn was asked for and has not begun, or has ended and its batch process has not.
    Turning,
}

impl Entry {
    pub fn new(record: AgentRecord, dir: PathBuf, state: SessionState, asks: mpsc::Sender<Ask>) -> Self {
        let live = Live {
            phase: Phase::Told,
            queued: 0,
            seen: record.seen,
            updated_at: record.created_at,
            killed: record.killed_at.is_some(),
            trouble: None,
            state,
        };
        let head = watch::Sender::new(live.state.last_seq);
        Self { record, dir, live: Mutex::new(live), head, asks }
    }

    /// Looks at the live part, or changes it.
    pub fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the last event, as it grows.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Tells readers that the journal holds events up to `seq`.
    pub fn advance(&self, seq: u64) {
        self.head.send_replace(seq);
    }

    /// Hands something to the supervisor; false if it is gone (the agent was killed).
    pub async fn ask(&self, ask: Ask) -> bool {
        self.asks.send(ask).await.is_ok()
    }

    /// The agent's state as people see it.
    pub fn state(&self) -> State {
        self.live().shown()
    }

    /// The row of `fracta list`.
    pub fn row(&self) -> wire::Agent {
        let live = self.live();
        let (r, s) = (&self.record, &live.state);
        wire::Agent {
            name: r.name.clone(),
            state: live.shown(),
            reason: live.trouble.as_ref().or(s.reason.as_ref()).cloned(),
            runtime: r.runtime.clone(),
            adapter: r.adapter.clone(),
            mode: r.mode,
            backend: r.backend.clone(),
            model: s.model.clone().or_else(|| r.model.clone()),
            session: r.session.clone(),
            resume_token: s.resume_token.clone(),
            turn: s.turn.clone(),
            turn_started_at: s.turn_started_at,
            created_at: r.created_at,
            updated_at: live.updated_at,
            usage: s.usage.clone(),
            pending_approvals: s.pending.clone(),
            workspace: r.workspace.dir.display().to_string(),
            branch: r.workspace.branch.clone(),
            base: r.workspace.base.clone(),
            contract: r.contract.clone(),
            activity: s.activity.clone(),
            last_seq: s.last_seq,
            unread: s.last_seq.saturating_sub(live.seen),
            queued_messages: live.queued,
            step: s.step,
            killed: live.killed,
        }
    }
}

impl Live {
    /// What the events say, unless the agent stands where no event tells.
    pub fn shown(&self) -> State {
        match self.phase {
            // What an event says of a running turn is newer than any phase.
            _ if self.state.state.in_turn() => self.state.state,
            Phase::Told => self.state.state,
            Phase::Queued => State::Queued,
            Phase::Starting => State::Starting,
            Phase::Turning => State::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(state: State, phase: Phase) -> Live {
        Live {
            state: SessionState { state, ..SessionState::default() },
            phase,
            queued: 0,
            seen: 0,
            updated_at: Timestamp::UNIX_EPOCH,
            killed: false,
            trouble: None,
        }
    }

    #[test]
    fn a_batch_agent_is_not_idle_before_its_turn_or_before_its_process_has_ended() {
        assert_eq!(live(State::Idle, Phase::Starting).shown(), State::Starting);
        assert_eq!(live(State::Idle, Phase::Turning).shown(), State::Running);
        assert_eq!(live(State::Idle, Phase::Told).shown(), State::Idle);
        assert_eq!(live(State::Failed, Phase::Queued).shown(), State::Queued);
    }

    #[test]
    fn an_approval_is_seen_whatever_the_phase() {
        for phase in [Phase::Told, Phase::Queued, Phase::Starting, Phase::Turning] {
            assert_eq!(live(State::Waiting, phase).shown(), State::Waiting);
        }
    }
}
