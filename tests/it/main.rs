//! All integration tests, in one binary so that they link once: against the real CLIs, real
//! processes, a real pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod adapter;
mod agents;
mod bench;
mod claude_protocol;
mod codex_protocol;
mod credentials;
mod demo;
mod mcp_real_cli;
mod opencode_protocol;
mod plane;
mod plane_support;
mod recordings;
mod runtimes;
mod screen;
mod settings_real_cli;
mod shim;
mod support;
mod versions_real_cli;
mod workspace;
