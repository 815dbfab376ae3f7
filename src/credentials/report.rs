//! A plan as data without values: what `fracta auth diagnose` prints, and what travels for it.

use serde::{Deserialize, Serialize};

use super::environment::{KeyRef, Layer};
use super::{Phase, Topology};
use crate::config::{BindingType, Delivery, OriginType, Scope};

/// The credential plan of a runtime on a backend. Field names are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub runtime: String,
    pub adapter: String,
    pub backend: String,
    pub topology: Topology,
    /// None: the CLI's own login and the variables it finds.
    pub profile: Option<String>,
    pub origins: Vec<Origin>,
    pub resolvers: Vec<Resolver>,
    pub binding: Option<Binding>,
    /// Files that the agent gets, by name.
    pub files: Vec<File>,
    pub assertions: Vec<Assertion>,
    /// The names of the final environment and where each comes from. On a pod without what the image sets.
    pub environment: Vec<Name>,
    /// Why the spawn would fail; all of them.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
    /// In one line: which credential the CLI would use.
    pub summary: String,
    /// No problem is known. Whether an origin gives its value is seen when it is asked.
    pub ok: bool,
}

/// An origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: OriginType,
    pub scope: Scope,
    pub phase: Phase,
    pub required: bool,
    /// The binding, an assertion or its own `delivery` wants it. Others are not asked.
    pub used: bool,
    /// Where it comes from, without value: the command's first word, the variable, the host.
    pub from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Why it cannot give its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A resolver: run by the agent itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolver {
    pub name: String,
    pub ttl_ms: u64,
    pub used: bool,
}

/// How the credential reaches the CLI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    #[serde(rename = "type")]
    pub kind: BindingType,
    /// `auth_binding` of the runtime, or `default_binding` of the profile.
    pub of: String,
    /// Where the value comes from.
    pub source: Source,
    /// Where it goes: a variable, a file, a setting of the CLI.
    pub target: String,
}

/// Where a binding's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An origin of this name.
    Origin(String),
    /// A resolver of this name.
    Resolver(String),
    /// A key of a Kubernetes Secret.
    SecretRef(KeyRef),
    /// The variable is in the merged environment already.
    Environment,
}

/// A file of the agent's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    pub name: String,
    /// The origin that gives its content.
    pub origin: String,
    /// The variable that holds its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_name: Option<String>,
}

/// What must hold, and whether it would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// `require_env`, `forbid_env`, `require_source` or `warn_if_missing_env`.
    pub kind: AssertionKind,
    pub name: String,
    pub outcome: Outcome,
    /// Why it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionKind {
    RequireEnv,
    ForbidEnv,
    RequireSource,
    WarnIfMissingEnv,
}

impl AssertionKind {
    pub fn word(self) -> &'static str {
        match self {
            AssertionKind::RequireEnv => "require_env",
            AssertionKind::ForbidEnv => "forbid_env",
            AssertionKind::RequireSource => "require_source",
            AssertionKind::WarnIfMissingEnv => "warn_if_missing_env",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass,
    Fail,
    Warn,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Warn => "warn",
        }
    }
}

/// A variable's name and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    pub name: String,
    pub from: Layer,
    /// The origin or resolver that gives the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}
