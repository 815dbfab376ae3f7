//! A scripted model endpoint: `POST /v1/responses` (OpenAI Responses, called by Codex) and
//! `POST /v1/messages` (Anthropic Messages, called by Claude Code and OpenCode), both as server-sent
//! events; and both of Bedrock's streams. What it answers is decided by a [`Script`] that sees every request as a [`Turn`].

mod bedrock;
mod dialect;
mod gate;
mod messages;
mod play;
mod responses;
mod server;
mod step;
mod turn;

pub use gate::Gate;
pub use server::{ModelServer, Recorded};
pub use step::{PlanMark, Step};
pub use turn::{Api, Entry, ToolDef, ToolResult, Turn};

/// Decides what the model says. Called once for each request of a CLI; it must be quick (waiting is
/// done by steps such as [`Step::Gate`], not here).
pub trait Script: Send + Sync {
    fn reply(&self, turn: &Turn) -> Vec<Step>;
}
