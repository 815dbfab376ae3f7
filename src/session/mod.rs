//! Sessions: their state (a pure fold over events), and the task that drives one.

pub mod state;
