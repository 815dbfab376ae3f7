//! A card: one item of a session as a person reads it. All its text is clean.

use fracta::event::{Change, Decision, Delivery, Outcome, Plan, Usage};
use jiff::Timestamp;

use super::body::Body;
use super::render::Wrapped;

/// What events of one item share. Ids of different kinds of items may be the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub class: Class,
    pub id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Message,
    User,
    Reasoning,
    Command,
    Tool,
    File,
    Plan,
    Approval,
    Turn,
    TurnEnd,
    Step,
    /// Cards that no later event belongs to; their id is the event's number.
    Notice,
}

/// What a card shows besides its body.
#[derive(Debug, Clone)]
pub enum Kind {
    Message { system: bool },
    User { delivery: Option<Delivery>, steer: bool, reason: Option<String> },
    Reasoning,
    Command { command: String, cwd: Option<String>, exit: Option<i64> },
    Tool { name: String, input: String, error: Option<String> },
    File { path: String, change: Change, counts: (usize, usize) },
    Plan { plan: Plan, newest: bool },
    Approval(Box<Approval>),
    Turn { step: Option<(u32, u32)> },
    TurnEnd { outcome: Outcome, error: Option<String>, usage: Option<Usage> },
    Step { n: u32, limit: u32 },
    Notice { what: Notice, retryable: Option<bool> },
}

#[derive(Debug, Clone, Default)]
pub struct Approval {
    /// As the runtime calls it; never shown.
    pub id: String,
    pub what: String,
    pub command: Option<String>,
    pub cwd: Option<String>,
    pub questions: Option<String>,
    /// What was decided, and by whom.
    pub resolved: Option<(Decision, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    Warning,
    Error,
    Gap,
    Raw,
    Session,
}

/// Whether more may come to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Running,
    Done,
    /// Its turn or session ended and nothing said that it did.
    CutOff,
}

/// What the person wants to see of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fold {
    /// As its kind has it.
    #[default]
    Auto,
    Open,
    Closed,
}

pub struct Card {
    pub key: Key,
    pub kind: Kind,
    pub body: Body,
    pub progress: Progress,
    pub fold: Fold,
    /// It came after what a person has seen of the session.
    pub fresh: bool,
    /// Number of the event that made it.
    pub seq: u64,
    pub turn: Option<String>,
    /// The event that says when it began was seen.
    pub began: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// Rows, with the blank one behind it. An estimate until `wrapped` is there.
    pub height: usize,
    /// What stands in `wrapped` is no longer true.
    pub dirty: bool,
    pub wrapped: Option<Wrapped>,
}

impl Card {
    /// Bytes of text held, about.
    pub fn bytes(&self) -> usize {
        let len = |s: &Option<String>| s.as_ref().map_or(0, String::len);
        let kind = match &self.kind {
            Kind::User { reason, .. } => len(reason),
            Kind::Command { command, cwd, .. } => command.len() + len(cwd),
            Kind::Tool { name, input, error } => name.len() + input.len() + len(error),
            Kind::File { path, .. } => path.len(),
            Kind::Plan { plan, .. } => plan.steps.iter().map(|s| s.text.len() + 8).sum(),
            Kind::Approval(a) => a.what.len() + len(&a.command) + len(&a.cwd) + len(&a.questions),
            Kind::TurnEnd { error, .. } => len(error),
            _ => 0,
        };
        64 + self.key.id.len() + self.body.text.len() + kind
    }

    /// A person must answer it.
    pub fn is_pending(&self) -> bool {
        matches!(&self.kind, Kind::Approval(a) if a.resolved.is_none())
    }

    /// The text a person copies: whole, without gutter and folds.
    pub fn copied(&self) -> String {
        let body = self.body.text.trim_end();
        let join = |head: String| if body.is_empty() { head } else { format!("{head}\n{body}") };
        match &self.kind {
            Kind::Command { command, .. } => join(format!("$ {command}")),
            Kind::Tool { name, input, error } => {
                let text = join(format!("{name} {input}"));
                error.as_ref().map_or(text.clone(), |e| format!("{text}\n{e}"))
            }
            Kind::File { path, .. } => join(path.clone()),
            Kind::Approval(a) => {
                let parts = [Some(&a.what), a.command.as_ref(), a.cwd.as_ref(), a.questions.as_ref()];
                join(parts.into_iter().flatten().cloned().collect::<Vec<_>>().join("\n"))
            }
            Kind::Plan { plan, .. } => plan
                .steps
                .iter()
                .map(|s| format!("{} {}", super::words::tick(s.status), s.text))
                .collect::<Vec<_>>()
                .join("\n"),
            Kind::TurnEnd { error: Some(e), .. } => e.clone(),
            Kind::Turn { .. } | Kind::TurnEnd { .. } | Kind::Step { .. } => String::new(),
            _ => body.to_owned(),
        }
    }
}
