//! Integration tests, one binary: against the real CLIs, real processes, a real pseudo-terminal.

mod codex_protocol;
mod demo;
mod shim;
mod support;
//! All integration tests, in one binary so that they link once.

mod workspace;
