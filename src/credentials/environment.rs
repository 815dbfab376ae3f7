//! The environment of an agent as layers, each variable with where it comes from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::Native;

/// Who says what a variable is. Later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The control plane's own environment (local agents only).
    Inherited,
    /// What the CLI needs to be driven.
    Adapter,
    /// The runtime's `env`; of pods its `kubernetes.env`.
    Runtime,
    /// The profile's `env`.
    Profile,
    /// The binding, or an origin's own `delivery`.
    Binding,
}

impl Layer {
    pub fn word(self) -> &'static str {
        match self {
            Layer::Inherited => "inherited",
            Layer::Adapter => "adapter",
            Layer::Runtime => "runtime",
            Layer::Profile => "profile",
            Layer::Binding => "binding",
        }
    }
}

/// A key of a Kubernetes Secret, expanded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    pub name: String,
    pub key: String,
}

/// What a variable is. `Debug` shows no value.
#[derive(Clone)]
pub enum Value {
    /// May be seen by whoever may see the agent (a pod's spec).
    Plain(OsString),
    /// A secret that fracta holds: into the process's environment, or a Secret made for it.
    Secret(SecretString),
    /// A key of a Secret that is there: `secretKeyRef`. Only in a cluster.
    SecretKey(KeyRef),
    /// `valueFrom` in Kubernetes' own shape. Only in a cluster.
    Native(Native),
    /// What this shell command prints, run in the agent's place before the CLI. Only in a cluster.
    Command(String),
    /// The value of this origin or resolver, once it is prepared. Only in a plan.
    Later(String),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Value::Plain(_) => "Plain",
            Value::Secret(_) => "Secret",
            Value::SecretKey(_) => "SecretKey",
            Value::Native(_) => "Native",
            Value::Command(_) => "Command",
            Value::Later(_) => "Later",
        })
    }
}

impl Value {
    /// The text, where fracta has it.
    pub fn text(&self) -> Option<&OsStr> {
        match self {
            Value::Plain(text) => Some(text),
            Value::Secret(text) => Some(text.expose_secret().as_ref()),
            _ => None,
        }
    }

    /// A variable that is set to nothing counts as not set: that is how one takes a variable away.
    pub fn is_there(&self) -> bool {
        self.text().is_none_or(|t| !t.is_empty())
    }
}

/// A variable.
#[derive(Debug, Clone)]
pub struct Variable {
    pub value: Value,
    pub from: Layer,
    /// Which origin or resolver gives the value.
    pub source: Option<String>,
}

/// All variables of an agent, by name.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    all: BTreeMap<OsString, Variable>,
}

impl Environment {
    /// Sets a variable; one of an earlier layer or an earlier call gives way.
    pub fn set(&mut self, name: impl Into<OsString>, value: Value, from: Layer) {
        self.all.insert(name.into(), Variable { value, from, source: None });
    }

    /// Sets a variable that an origin or a resolver gives.
    pub fn bind(&mut self, name: &str, value: Value, source: Option<&str>) {
        let variable = Variable { value, from: Layer::Binding, source: source.map(str::to_owned) };
        self.all.insert(name.into(), variable);
    }

    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.all.get(OsStr::new(name))
    }

    /// The text of a variable, where fracta has it.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.value.text()?.to_str().map(str::to_owned)
    }

    /// Set, and not to nothing.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.value.is_there())
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &Variable)> {
        self.all.iter().map(|(name, v)| (name.as_os_str(), v))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&OsStr, &mut Variable)> {
        self.all.iter_mut().map(|(name, v)| (name.as_os_str(), v))
    }

    pub fn remove(&mut self, name: &OsStr) {
        self.all.remove(name);
    }
}
