//! `fracta runtimes`: what is configured, what is installed, what it can do.

use super::plane::Plane;
use crate::config::{Config, RuntimeConfig};
use crate::control::wire::{self, Problem, Tier};
use crate::runtime::{Adapters, Mode};
use crate::session::launch;

impl Plane {
    pub(super) async fn runtimes(&self) -> Result<Vec<wire::Runtime>, Problem> {
        let loaded = self.env.launcher.config()?;
        let default = launch::default_runtime(&loaded.config).map(str::to_owned);
        let mut rows = Vec::new();
        for (name, entry) in &loaded.config.agents.agent_runtimes {
            rows.push(self.runtime(name, entry, default.as_deref() == Some(name)).await);
        }
        for name in not_configured(&loaded.config, self.env.launcher.adapters()) {
            rows.push(self.runtime(name, &RuntimeConfig::default(), false).await);
        }
        Ok(rows)
    }

    async fn runtime(&self, name: &str, entry: &RuntimeConfig, default: bool) -> wire::Runtime {
        let adapter_name = entry.adapter.as_deref().unwrap_or(name);
        let adapter = self.env.launcher.adapters().get(adapter_name);
        let mut warnings = Vec::new();
        let usual = adapter.map_or(adapter_name, |a| a.default_command());
        let command = launch::command(entry, usual).unwrap_or_else(|p| {
            warnings.push(p.message);
            Vec::new()
        });
        let mut row = wire::Runtime {
            name: name.to_owned(),
            path: command.first().and_then(|c| launch::which(c)).map(|p| p.display().to_string()),
            install: adapter.map_or_else(String::new, |a| a.install_hint().to_owned()),
            adapter: adapter_name.to_owned(),
            version: None,
            capabilities: adapter.map(|a| a.capabilities()),
            model: entry.model.as_ref().map(|m| m.raw().to_owned()),
            model_tiers: [Tier::Heavy, Tier::Medium, Tier::Light]
                .into_iter()
                .filter_map(|t| Some((t.word().to_owned(), entry.model_tiers.get(t)?.raw().to_owned())))
                .collect(),
            auth_profile: entry.auth_profile.as_ref().map(|p| p.raw().to_owned()),
            credential: self.credential(name, entry),
            permissions: [Mode::Batch, Mode::Stream]
                .map(|m| (m.word().to_owned(), entry.permissions_for(m)))
                .into(),
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
        let backend = self.env.launcher.config().map(|l| l.config.runtime.backend.word());
        let adapter = config.adapter.as_deref().unwrap_or(name);
        let chosen = crate::config::Chosen { name, adapter, config };
        let plan = backend.and_then(|b| self.credentials(chosen, b, &super::diagnose::nothing()));
        match plan {
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
fn not_configured(config: &Config, adapters: Adapters) -> Vec<&'static str> {
    adapters.names().into_iter().filter(|name| !config.runtimes().any(|r| r.adapter == *name)).collect()
}
