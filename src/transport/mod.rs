//! How bytes reach an adapter and leave it.

use serde::{Deserialize, Serialize};

pub mod http;
pub mod lines;
pub mod sse;
pub mod stdio;

/// Longest line that is parsed, in bytes (8 MiB). A longer one is kept in `raw.jsonl` and becomes a
/// `gap` event that says where.
pub const MAX_LINE: usize = 8 << 20;

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, if it ended by itself.
    pub code: Option<i32>,
    /// Signal number, if a signal ended it.
    pub signal: Option<i32>,
    /// Set where it could not be started at all: the system's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn_error: Option<String>,
}

impl Exit {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// For people: `exit code 2`, `signal 9 (SIGKILL)`, `could not be started: …`.
    pub fn describe(&self) -> String {
        match (self.code, self.signal, &self.spawn_error) {
            (_, _, Some(e)) => format!("could not be started: {e}"),
            (Some(c), _, _) => format!("exit code {c}"),
            (_, Some(s), _) => match nix::sys::signal::Signal::try_from(s) {
                Ok(name) => format!("signal {s} ({})", name.as_str()),
                Err(_) => format!("signal {s}"),
            },
            _ => "ended without an exit code".to_owned(),
        }
    }
}
