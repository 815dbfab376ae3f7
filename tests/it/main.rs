//! All integration tests, in one binary so that they link once: against the real CLIs, real
//! processes, a real pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bench;
mod claude_protocol;
mod codex_protocol;
mod demo;
mod recordings;
mod shim;
mod support;
mod workspace;
