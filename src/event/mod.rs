//! Events: the one language in which every runtime's facts are written down, kept and shown.
//!
//! [`Event`] is the envelope (number, time, agent, session, turn), [`Body`] the fact. On disk and on
//! the wire an event is one JSON object on one line. Order and numbers are the journal's
//! ([`journal`]); adapters only produce bodies.

#[cfg(test)]
pub(crate) mod arbitrary;
mod body;
pub mod encode;
pub mod journal;

pub use body::{Body, Change, Decision, Delivery, Outcome, Plan, PlanStatus, PlanStep, Role, Usage};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One normalised fact of a session, numbered without gaps from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the session's journal; the first event is 1.
    pub seq: u64,
    /// When the control plane wrote the event (not when the runtime says it happened).
    pub ts: Timestamp,
    /// Name of the agent.
    pub agent: String,
    /// Session id (fracta's, not the runtime's).
    pub session: String,
    /// The turn this belongs to: the runtime's turn id where it has one, else fracta's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// Byte offset in the session's `raw.jsonl` of the line that this event was read from. Absent
    /// for what the control plane itself states (user messages, process facts). Several events may
    /// come from one line; recovery counts them (see [`journal`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<u64>,
    /// The fact.
    #[serde(flatten)]
    pub body: Body,
}

/// What an adapter produces: a fact and the turn it belongs to. The journal adds the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// See [`Event::turn`].
    pub turn: Option<String>,
    /// The fact.
    pub body: Body,
}

impl Fact {
    /// A fact of a turn.
    pub fn of(turn: impl Into<String>, body: Body) -> Self {
        Self { turn: Some(turn.into()), body }
    }
}

impl From<Body> for Fact {
    fn from(body: Body) -> Self {
        Self { turn: None, body }
    }
}
