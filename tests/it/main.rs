//! All integration tests: one binary, one module a part.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests, too

mod codex_protocol;
mod demo;
mod support;
