//! The screen: a list of agents, the session of one, and a line to talk to it.
//!
//! Keys and data come in as messages ([`msg::Msg`]), [`update`] changes the [`model::Model`] and says
//! what is to be done ([`msg::Effect`]), [`effects`] does it, [`view`] draws. [`run`] owns it all.

mod cards;
mod effects;
mod frame;
mod inbox;
mod keymap;
mod list;
mod model;
mod msg;
mod overlay;
mod prompt;
mod run;
mod screen;
mod terminal;
#[cfg(test)]
mod testing;
mod theme;
mod update;
mod view;

pub use effects::Home;
pub use model::Options;
pub use run::run;
