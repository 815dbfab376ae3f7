//! Integration tests: one binary, a module for each part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod shim;
