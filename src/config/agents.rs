//! `agents`: the runtimes and how they are run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::auth::Binding;
use super::expand::{ConfigError, Native, Text};
use crate::control::wire::Tier;
use crate::runtime::{Adapters, Mode, Permissions};

/// The runtimes and how they are run.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Agents {
    /// Runtime of a spawn that names none. Default: the only runtime, else `claude`.
    pub default_runtime: Option<Text>,
    /// Mode of a spawn that names none.
    pub default_mode: Mode,
    /// Agents whose turn may run at the same time; more are queued, first come first served. 0 = unlimited.
    #[schemars(range(max = 10_000))]
    pub max_running: u32,
    /// The runtimes, by name. Default: claude, codex and opencode, as far as their CLIs are on PATH.
    pub agent_runtimes: BTreeMap<String, RuntimeConfig>,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            default_runtime: None,
            default_mode: Mode::default(),
            max_running: 8,
            agent_runtimes: BTreeMap::new(),
        }
    }
}

/// What `adapter` may be, for the schema: the names of fracta's own; [`super::schema::json_schema_for`]
/// puts others in their place.
pub(super) enum Adapter {}

impl JsonSchema for Adapter {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Adapter".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The code that speaks one CLI's protocol.",
            "type": "string",
            "enum": Adapters::default().names(),
        })
    }
}

/// A runtime: a configured agent CLI.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// The code that speaks the CLI's protocol. Default: the entry's name.
    #[schemars(with = "Option<Adapter>")]
    pub adapter: Option<String>,
    /// The executable, found on PATH, with leading arguments. Default: the CLI's name.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<Text>>,
    /// Model of a spawn that names none. Default: the CLI's own.
    pub model: Option<Text>,
    /// What `--tier` means for this runtime.
    pub model_tiers: ModelTiers,
    /// Environment of local processes.
    pub env: BTreeMap<String, Text>,
    /// A profile under `auth.credentials.profiles`. Default: what the CLI finds by itself.
    pub auth_profile: Option<Text>,
    /// In place of the profile's `default_binding`.
    pub auth_binding: Option<Binding>,
    /// OpenCode's guard: steps in one turn. 0 = off.
    #[schemars(range(max = 100_000))]
    pub step_limit: u32,
    /// Who answers the runtime's approval requests. Default: `ask` in stream mode, `auto` in batch mode.
    pub permissions: Option<Permissions>,
    /// Only for pods.
    pub kubernetes: RuntimeKubernetes,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            adapter: None,
            command: None,
            model: None,
            model_tiers: ModelTiers::default(),
            env: BTreeMap::new(),
            auth_profile: None,
            auth_binding: None,
            step_limit: 20,
            permissions: None,
            kubernetes: RuntimeKubernetes::default(),
        }
    }
}

/// Models by tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelTiers {
    /// Model of `--tier heavy`.
    pub heavy: Option<Text>,
    /// Model of `--tier medium`.
    pub medium: Option<Text>,
    /// Model of `--tier light`.
    pub light: Option<Text>,
}

impl ModelTiers {
    pub fn get(&self, tier: Tier) -> Option<&Text> {
        match tier {
            Tier::Heavy => self.heavy.as_ref(),
            Tier::Medium => self.medium.as_ref(),
            Tier::Light => self.light.as_ref(),
        }
    }

    /// The tiers that are there, heaviest first.
    pub fn tiers(&self) -> Vec<Tier> {
        let all = [Tier::Heavy, Tier::Medium, Tier::Light];
        all.into_iter().filter(|t| self.get(*t).is_some()).collect()
    }
}

/// A runtime's pods.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeKubernetes {
    /// Image of this runtime's pods. Default: `runtime.kubernetes.image`.
    pub image: Option<Text>,
    /// Environment of this runtime's pods.
    pub env: Vec<PodEnvVar>,
}

/// A variable of a pod: `value`, `secret_ref` or `valueFrom`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PodEnvVar {
    /// Name of the variable.
    pub name: Text,
    /// Its value. Not for secrets: whoever may read pods reads it.
    pub value: Option<Text>,
    /// A key of a Kubernetes Secret.
    pub secret_ref: Option<SecretRef>,
    /// In Kubernetes' own shape: `fieldRef`, `configMapKeyRef`, `secretKeyRef`, `resourceFieldRef`.
    #[serde(rename = "valueFrom")]
    pub value_from: Option<Native>,
}

/// A key of a Kubernetes Secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: Text,
    /// Key in it.
    pub key: Text,
}

impl RuntimeConfig {
    /// The model to ask for: `--model`, else `--tier`'s, else `model`; none: the CLI's own default.
    ///
    /// # Errors
    /// The tier is not configured (the message lists those that are), or a variable is not set.
    pub fn model_for(
        &self,
        cli_model: Option<&str>,
        tier: Option<Tier>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, ConfigError> {
        if let Some(model) = cli_model {
            return Ok(Some(model.to_owned()));
        }
        let text = match tier {
            Some(tier) => Some(self.model_tiers.get(tier).ok_or_else(|| self.no_tier(tier))?),
            None => self.model.as_ref(),
        };
        text.map(|t| t.expand(env)).transpose()
    }

    fn no_tier(&self, tier: Tier) -> ConfigError {
        let tiers: Vec<&str> = self.model_tiers.tiers().into_iter().map(Tier::word).collect();
        let known = match tiers.as_slice() {
            [] => "it has no model_tiers at all".to_owned(),
            _ => format!("there are {}", tiers.join(", ")),
        };
        let message =
            format!("this runtime has no tier {}; {known}: name the model with --model", tier.word());
        ConfigError { key: "model_tiers".to_owned(), line: None, column: None, message }
    }

    /// Who answers approval requests in this mode.
    pub fn permissions_for(&self, mode: Mode) -> Permissions {
        self.permissions.unwrap_or(match mode {
            Mode::Stream => Permissions::Ask,
            Mode::Batch => Permissions::Auto,
        })
    }

    /// Executable and leading arguments; `default` where the entry has no `command`.
    ///
    /// # Errors
    /// A variable is not set, or the executable's name is empty once expanded.
    pub fn command_for(
        &self,
        default: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, ConfigError> {
        let Some(texts) = self.command.as_deref().filter(|c| !c.is_empty()) else {
            return Ok(vec![default.to_owned()]);
        };
        let words = texts.iter().map(|t| t.expand(env)).collect::<Result<Vec<_>, _>>()?;
        match (words.first(), texts.first()) {
            (Some(word), Some(text)) if word.is_empty() => {
                Err(text.error("the executable's name is empty".to_owned()))
            }
            _ => Ok(words),
        }
    }
}
