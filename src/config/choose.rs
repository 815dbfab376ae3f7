//! Which runtime a spawn means.

use super::agents::RuntimeConfig;
use super::diagnostic::{did_you_mean, list};
use super::expand::{ConfigError, Text};
use super::schema::Config;

/// A runtime, chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen<'a> {
    pub name: &'a str,
    /// Name of the adapter.
    pub adapter: &'a str,
    pub config: &'a RuntimeConfig,
}

/// Why no runtime was chosen. The message says which there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRuntime {
    #[error("there is no runtime {name:?}{}; there are {known}", .hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Unknown { name: String, hint: Option<String>, known: String },
    #[error("which runtime? There are {known}; name one with --runtime, or set agents.default_runtime")]
    Ambiguous { known: String },
    #[error(
        "no runtime: none of the CLIs claude, codex and opencode is on PATH, and fracta.yaml has no agents.agent_runtimes; `fracta doctor` says how to install them"
    )]
    None,
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Config {
    /// All runtimes, by name.
    pub fn runtimes(&self) -> impl Iterator<Item = Chosen<'_>> {
        self.agents.agent_runtimes.iter().map(|(name, config)| {
            // Without an adapter the name is one's; see `check`.
            Chosen { name, adapter: config.adapter.as_deref().unwrap_or(name), config }
        })
    }

    /// The runtime of that name; without a name `agents.default_runtime`, else the only one, else `claude`.
    ///
    /// # Errors
    /// No such runtime, with the nearest name; none to choose; a variable in `default_runtime` is not set.
    pub fn runtime(
        &self,
        name: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Chosen<'_>, NoRuntime> {
        let mut all = self.runtimes();
        let known = || list(self.runtimes().map(|r| r.name));
        let name = match (name, &self.agents.default_runtime) {
            (Some(name), _) => Some(name.to_owned()),
            (None, Some(text)) => Some(text.expand(env)?),
            (None, None) => None,
        };
        if self.agents.agent_runtimes.is_empty() {
            return Err(NoRuntime::None);
        }
        if let Some(name) = name {
            return all.find(|r| r.name == name).ok_or_else(|| {
                let hint = did_you_mean(&name, self.runtimes().map(|r| r.name));
                NoRuntime::Unknown { name, hint, known: known() }
            });
        }
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            _ => {
                let claude = self.runtimes().find(|r| r.name == "claude");
                claude.ok_or_else(|| NoRuntime::Ambiguous { known: known() })
            }
        }
    }

    /// A value that may be left out, expanded.
    ///
    /// # Errors
    /// A variable in it is not set.
    pub fn expanded(
        text: Option<&Text>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, ConfigError> {
        text.map(|t| t.expand(env)).transpose()
    }
}
