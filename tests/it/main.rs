//! All integration tests, in one binary so that they link once: against the real CLIs, real
//! processes, a real pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agents;
mod codex_protocol;
mod demo;
mod mcp_real_cli;
mod plane;
mod plane_support;
mod recordings;
mod screen;
mod shim;
mod support;
mod workspace;
