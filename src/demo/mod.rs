//! Everything above the model, without a model: a scripted endpoint on loopback that the real CLIs
//! call, a throw-away project to run them in, and recordings of them for machines without any.
//!
//! The tests and `fracta demo` share this module, so what the demo shows is what is tested.

pub mod homes;
pub mod model;
pub mod project;
pub mod recording;
pub mod replay;
pub mod script;
