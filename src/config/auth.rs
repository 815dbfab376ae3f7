//! `auth`: credential profiles, where a credential comes from and how it reaches the CLI.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::SecretRef;
use super::expand::Text;

/// Credentials.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Credentials.
    pub credentials: Credentials,
}

/// Credential profiles.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// The profiles, by name; a runtime takes one with `auth_profile`.
    pub profiles: BTreeMap<String, Profile>,
}

/// A credential profile.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Where credentials come from, by name.
    pub auth_origins: BTreeMap<String, Origin>,
    /// Helper commands that the agent itself runs later, by name.
    pub runtime_auth_resolvers: BTreeMap<String, Resolver>,
    /// How the credential reaches the CLI.
    pub default_binding: Option<Binding>,
    /// Plain variables of the agent's environment.
    pub env: BTreeMap<String, Text>,
    /// What must hold of the agent's final environment.
    pub assertions: Assertions,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The way it is got.
    #[serde(rename = "type")]
    pub kind: OriginType,
    /// Where it may be prepared. Default: `host_edge` for `command_output`, else `any`.
    pub scope: Option<Scope>,
    /// False: an agent may start without it.
    #[serde(default = "yes")]
    pub required: bool,
    /// Name of the file, where it is delivered as one.
    pub path: Option<Text>,
    /// How it is delivered.
    pub delivery: Option<Delivery>,
    /// `command_output`: the command, as a list; its trimmed output is the value.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<Text>>,
    /// `command_output`, `http_header_token`: patience.
    #[serde(default = "thirty_seconds")]
    #[schemars(range(min = 1, max = 600_000))]
    pub timeout_ms: u64,
    /// `secret_env`: on the local backend, the variable of the control plane's environment.
    pub env_name: Option<Text>,
    /// `secret_env`: in Kubernetes, the key of a Secret.
    pub secret_ref: Option<SecretRef>,
    /// `http_header_token`: the request to make.
    pub request: Option<Request>,
    /// `http_header_token`: where in the response the token is.
    pub extract: Option<HeaderExtract>,
}

fn yes() -> bool {
    true
}

fn thirty_seconds() -> u64 {
    30_000
}

/// The way a credential is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginType {
    /// What a command prints.
    CommandOutput,
    /// A Kubernetes Secret, or a variable of the control plane's environment.
    SecretEnv,
    /// A header of an HTTP response.
    HttpHeaderToken,
}

/// Where a credential may be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Before the spawn, on the user's host.
    HostEdge,
    /// Only inside the agent.
    AgentRuntime,
    /// Anywhere.
    Any,
}

/// How a credential is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// As a variable.
    Env,
    /// As a file that only the agent reads.
    FileMount,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// HTTP method. Default: GET.
    pub method: Option<Text>,
    /// Where to.
    pub url: Text,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
}

/// Where in a response the token is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderExtract {
    /// Name of the response header.
    pub header: Text,
}

/// A helper command that the agent itself runs later.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// The way it works.
    #[serde(rename = "type")]
    pub kind: ResolverType,
    /// The command, one string, run by the agent's shell.
    pub command: Option<Text>,
    /// How long the agent may keep what it printed.
    #[serde(default = "one_minute")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub ttl_ms: u64,
    /// Deprecated: it has no effect; remove it.
    #[schemars(extend("deprecated" = true))]
    pub order: Option<i64>,
}

fn one_minute() -> u64 {
    60_000
}

/// The way a resolver works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResolverType {
    /// A command.
    Command,
}

/// How a credential reaches the CLI.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The way it reaches the CLI.
    #[serde(rename = "type")]
    pub kind: BindingType,
    /// Name of an origin of the profile.
    pub auth_origin: Option<Text>,
    /// Name of a resolver of the profile.
    pub runtime_auth_resolver: Option<Text>,
    /// The variable.
    pub env_name: Option<Text>,
    /// `bearer_env` in Kubernetes: a key of a Secret; the value never passes through fracta.
    pub secret_ref: Option<SecretRef>,
}

/// The way a credential reaches the CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BindingType {
    /// Claude's `apiKeyHelper` runs the resolver.
    ClaudeApiKeyHelper,
    /// A variable.
    BearerEnv,
    /// A file that only the agent reads.
    TokenFile,
}

/// What must hold of the agent's final environment.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Assertions {
    /// Variables that must be there.
    pub require_env: Vec<Text>,
    /// Variables that must not be there.
    pub forbid_env: Vec<Text>,
    /// Origins of the profile that must have given their value.
    pub require_source: Vec<Text>,
    /// Variables whose absence is worth a warning.
    pub warn_if_missing_env: Vec<Text>,
}
