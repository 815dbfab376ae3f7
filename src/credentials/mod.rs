//! Credentials: from a profile of fracta.yaml to what one process of an agent gets.
//!
//! Three steps, each with a type of its own:
//!
//! 1. [`plan::plan`] decides: which origins are asked, where, what becomes of each value, what the environment
//!    will be. Pure; it asks nobody and runs nothing. Its [`report::Report`] is data without any value, which
//!    `fracta auth diagnose` prints.
//! 2. [`prepare::prepare`] gets the values that are to be got now. The only step with effects.
//! 3. [`deliver::deliver`] puts them where they belong and holds the result against the assertions. Pure.
//!
//! The result ([`deliver::Delivery`]) says of every variable and file whether its value may be seen, is a
//! secret, or is none of fracta's (a key of a Kubernetes Secret), so that a backend cannot mistake one for
//! another. Values are in [`secrecy`] types: no `Debug` and no `Serialize` shows them, and their memory is
//! overwritten when they are dropped. Copies that the system and the libraries for processes and HTTP make
//! are beyond that reach.
//!
//! [`mask`] knows the values of a session again in what its agent says, also after a restart.

pub mod deliver;
pub mod environment;
pub mod mask;
pub mod plan;
pub mod prepare;
pub mod report;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::config::Scope;

/// Where the agent's process runs, as seen from the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// On this machine.
    Host,
    /// In a cluster: nothing of this machine is there.
    Cluster,
}

impl Topology {
    /// Of a backend's name.
    pub fn of(backend: &str) -> Self {
        match backend {
            "local" => Topology::Host,
            _ => Topology::Cluster,
        }
    }
}

/// Where a pod has its files with credentials.
pub const CLUSTER_FILES: &str = "/var/run/fracta/credentials";

/// When a credential is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// By the control plane, before each start of a process.
    PrepareNow,
    /// Only where the agent runs: fracta never has the value.
    RuntimeOnly,
    /// Not at all.
    Unavailable,
}

impl Phase {
    /// The table of the phases.
    pub fn of(scope: Scope, topology: Topology) -> Self {
        match (scope, topology) {
            (Scope::HostEdge, Topology::Host) | (Scope::Any, _) => Phase::PrepareNow,
            (Scope::HostEdge, Topology::Cluster) => Phase::Unavailable,
            (Scope::AgentRuntime, _) => Phase::RuntimeOnly,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Phase::PrepareNow => "prepare now",
            Phase::RuntimeOnly => "runtime only",
            Phase::Unavailable => "unavailable",
        }
    }
}

/// A plain name of a file: no folders, nothing hidden, nothing odd.
pub fn is_file_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=128).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with(['.', '-'])
}

/// Keeps this process, and what it starts unless that asks otherwise (`ulimit -c`), from leaving its memory,
/// secrets and all, in a file when it crashes. The hard limit stays: a person may want a core of their own program.
pub fn no_core_dumps() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        // Lowering one's own soft limit is always allowed.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}
