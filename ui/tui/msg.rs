//! What reaches the model, and what it wants done: both plain data.

use fracta::control::wire;
use fracta::event::{Decision, Event};
use ratatui::crossterm::event::{KeyEvent, MouseEvent};

/// A failed request in words, with the server's code where it gave one.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub code: Option<wire::Code>,
    pub text: String,
}

/// Everything that changes the model.
#[derive(Debug, Clone)]
pub enum Msg {
    Key(KeyEvent),
    Paste(String),
    Mouse(MouseEvent),
    Resize(u16, u16),
    /// The terminal's window got or lost the keyboard.
    Focus(bool),
    Watch(wire::Watch),
    /// The watch ended; a new one is tried.
    LinkLost(String),
    /// Events of an open session, in order.
    Events {
        session: String,
        events: Vec<Event>,
    },
    /// The stored part has been read; what comes now is live.
    Live {
        session: String,
    },
    /// The stream broke (`None`: it ended); a new one is tried unless `gone`.
    StreamLost {
        session: String,
        why: Option<String>,
        gone: bool,
    },
    /// An earlier page.
    Earlier {
        session: String,
        events: Result<Vec<Event>, Failure>,
    },
    Said {
        name: String,
        session: String,
        text: String,
        steer: bool,
        result: Result<wire::Said, Failure>,
    },
    Answered {
        name: String,
        decision: Decision,
        result: Result<wire::Answered, Failure>,
    },
    Aborted {
        name: String,
        result: Result<(), Failure>,
    },
    Killed {
        name: String,
        result: Result<(), Failure>,
    },
    Merged {
        name: String,
        result: Result<wire::Merged, Failure>,
    },
    Diff {
        name: String,
        result: Result<wire::Diff, Failure>,
    },
    Spawned {
        name: String,
        result: Result<Box<wire::Agent>, Failure>,
    },
    Runtimes(Result<Vec<wire::Runtime>, Failure>),
}

/// What the model wants done; carried out by [`super::effects`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Quit,
    Suspend,
    /// Forget what the terminal shows and draw all of it.
    Redraw,
    /// Stream this session's events instead of the present one's. `after`: go on after this number;
    /// none: begin with the last page.
    Open {
        session: String,
        after: Option<u64>,
    },
    /// The session is not there any more.
    Close,
    Earlier {
        session: String,
        before: u64,
    },
    Seen {
        session: String,
        seq: u64,
    },
    Say {
        name: String,
        session: String,
        text: String,
        steer: bool,
    },
    Answer {
        name: String,
        answer: wire::Answer,
    },
    Abort {
        name: String,
    },
    Kill {
        name: String,
        force: bool,
    },
    Merge {
        name: String,
    },
    Diff {
        name: String,
    },
    Spawn(Box<wire::Spawn>),
    Runtimes,
    /// Into the terminal's clipboard (OSC 52).
    Copy(String),
    /// Bell and OSC 9.
    Notify(String),
}
