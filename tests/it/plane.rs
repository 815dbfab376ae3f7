//! The control plane and the verbs, end to end: the real `fracta` binary, a control plane in a process of
//! its own, and an agent CLI that is a small script (`plane/fake-codex.sh`), so that floods and
//! half lines come when a test wants them.

mod bench;
mod bounds;
mod cli;
mod config;
mod events;
mod hostile;
mod life;
mod tcp;
