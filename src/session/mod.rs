//! Sessions: their state (a pure fold over events), and the task that drives one.

pub mod entry;
pub mod hub;
pub mod launch;
pub(crate) mod settings;
pub mod state;
pub mod supervisor;
