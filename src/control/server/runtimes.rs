//! `fracta runtimes`: what is configured, what is installed, what it can do.

use super::plane::Plane;
use crate::config::{Config, RuntimeConfig};
use crate::control::wire::{self, Problem, Tier};
use crate::runtime;
use crate::session::launch;

impl Plane {
    pub(super) async fn runtimes(&self) -> Result<Vec<wire::Runtime>, Problem> {
        let loaded = self.env.launcher.config()?;
        let default = launch::default_runtime(&loaded.config).map(str::to_owned);
        let mut rows = Vec::new();
        for (name, entry) in &loaded.config.agents.agent_runtimes {
            rows.push(self.runtime(name, entry, default.as_deref() == Some(name)).await);
        }
        for name in not_configured(&loaded.config) {
            rows.push(self.runtime(name, &RuntimeConfig::default(), false).await);
        }
        Ok(rows)
    }

    async fn runtime(&self, name: &str, entry: &RuntimeConfig, default: bool) -> wire::Runtime {
        let adapter_name = entry.adapter.map_or_else(|| name.to_owned(), |a| a.word().to_owned());
        let adapter = runtime::adapter(&adapter_name);
        let mut warnings = Vec::new();
        let command = launch::command(name, entry).unwrap_or_else(|p| {
            warnings.push(p.message);
            Vec::new()
        });
        let mut row = wire::Runtime {
            name: name.to_owned(),
            path: command.first().and_then(|c| launch::which(c)).map(|p| p.display().to_string()),
            install: adapter.map_or_else(|| install_hint(&adapter_name), |a| a.install_hint().to_owned()),
            adapter: adapter_name,
            version: None,
            capabilities: adapter.map(|a| a.capabilities()),
            model: entry.model.as_ref().map(|m| m.raw().to_owned()),
            model_tiers: [Tier::Heavy, Tier::Medium, Tier::Light]
                .into_iter()
                .filter_map(|t| Some((t.word().to_owned(), entry.model_tiers.get(t)?.raw().to_owned())))
                .collect(),
            auth_profile: entry.auth_profile.as_ref().map(|p| p.raw().to_owned()),
            credential: self.credential(name, entry),
            default,
            warnings,
            command,
        };
        match adapter {
            None => {
                row.warnings.push(format!("this version of fracta does not speak {}'s protocol", row.adapter))
            }
            Some(adapter) => match launch::own_env(entry) {
                Ok(env) => match self.env.launcher.find(&row.command, adapter, &env).await {
                    Ok(found) => {
                        row.warnings.extend(adapter.version_note(&found.cli));
                        row.version = found.cli.version;
                    }
                    Err(p) => row.warnings.push(p.message),
                },
                Err(p) => row.warnings.push(p.message),
            },
        }
        row
    }
}

impl Plane {
    /// Which credential a runtime would use on the default backend.
    fn credential(&self, name: &str, config: &RuntimeConfig) -> String {
        let adapter = config.adapter.or_else(|| crate::config::Adapter::from_word(name));
        let backend = self.env.launcher.config().map(|l| l.config.runtime.backend.word());
        let (Some(adapter), Ok(backend)) = (adapter, backend) else { return "not known".to_owned() };
        let chosen = crate::config::Chosen { name, adapter, config };
        match self.credentials(chosen, backend, &super::diagnose::nothing()) {
            Ok(plan) => {
                let report = plan.report();
                let bad =
                    if report.ok { "" } else { "; a spawn would fail: `fracta auth diagnose` says why" };
                format!("{}{bad}", report.summary)
            }
            Err(p) => p.message,
        }
    }
}

/// Adapters that no entry uses, when there is no entry at all for them: shown so that a person sees
/// what could be installed.
fn not_configured(config: &Config) -> Vec<&'static str> {
    let used = |a: &str| {
        config.agents.agent_runtimes.iter().any(|(n, e)| e.adapter.map_or(n.as_str(), |a| a.word()) == a)
    };
    runtime::ADAPTERS.iter().copied().filter(|a| !used(a)).collect()
}

fn install_hint(adapter: &str) -> String {
    let package = match adapter {
        "claude" => "@anthropic-ai/claude-code",
        "codex" => "@openai/codex",
        _ => "opencode-ai",
    };
    format!("npm install -g {package}")
}
