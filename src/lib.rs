//! The engine of fracta: agents, their sessions and events, and the control plane that owns them.
//!
//! The engine knows no terminal. Everything a person sees is drawn by the `fracta` binary (`ui/`),
//! which talks to a control plane through [`control::client`].
#![forbid(unsafe_code)]

pub mod backend;
pub mod config;
pub mod control;
pub mod credentials;
pub mod demo;
pub mod event;
pub mod id;
pub mod paths;
pub mod runtime;
pub mod session;
pub mod store;
pub mod text;
pub mod transport;
pub mod workspace;
