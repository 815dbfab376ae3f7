//! The Codex adapter.
