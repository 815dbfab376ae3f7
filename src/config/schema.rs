//! The top level of `fracta.yaml`, and its JSON Schema. Fields are the keys, doc comments what editors show.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::agents::{Agents, RuntimeConfig};
use super::auth::Auth;
use super::expand::Text;
use super::kubernetes::Kubernetes;
use crate::runtime::Adapters;

/// fracta.yaml: agents, where they run, and what they may use. Keys that start with `x-` are free.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The runtimes and how they are run.
    pub agents: Agents,
    /// Deprecated: move these entries to `agents.agent_runtimes`.
    #[schemars(extend("deprecated" = true))]
    pub(super) runtimes: BTreeMap<String, RuntimeConfig>,
    /// Deprecated: move these entries to `agents.agent_runtimes`.
    #[schemars(extend("deprecated" = true))]
    pub(super) hosts: BTreeMap<String, RuntimeConfig>,
    /// Credentials.
    pub auth: Auth,
    /// Where agents run.
    pub runtime: Runtime,
    /// An MCP gateway for agents.
    pub gateway: Gateway,
    /// Further MCP servers for agents, by name.
    pub mcp_servers: BTreeMap<String, McpServer>,
    /// The project that agents work on.
    pub project: Project,
    /// The process that owns the agents.
    pub control_plane: ControlPlane,
    /// fracta's own log.
    pub logging: Logging,
    /// Looks and keys of the terminal interface.
    pub ui: Ui,
}

/// Where agents run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// Where agents run unless `--backend` says otherwise.
    pub backend: Backend,
    /// How agents run as pods.
    pub kubernetes: Kubernetes,
}

/// Where agents run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// As processes on this machine.
    #[default]
    Local,
    /// As pods.
    Kubernetes,
}

impl Backend {
    pub fn word(self) -> &'static str {
        match self {
            Backend::Local => "local",
            Backend::Kubernetes => "kubernetes",
        }
    }
}

/// An MCP gateway: agents get `<url>/agents/<agent>/mcp`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Where it is: http:// or https://.
    pub url: Option<Text>,
    /// Name of the variable that holds its token.
    pub token_env: Option<Text>,
}

/// An MCP server: `command` with `args` and `env`, or `url` with `headers`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpServer {
    /// The executable of a server that speaks on stdio.
    pub command: Option<Text>,
    /// Its arguments.
    pub args: Vec<Text>,
    /// Its environment.
    pub env: BTreeMap<String, Text>,
    /// Where a server that speaks HTTP is.
    pub url: Option<Text>,
    /// Headers of requests to it.
    pub headers: BTreeMap<String, Text>,
}

/// The project that agents work on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// Branch that worktrees start from. Default: the current one.
    pub default_base_branch: Option<Text>,
    /// What an agent works in. Default: `worktree` in a git repository, else `directory`.
    pub workspace: Option<WorkspaceKind>,
    /// Tools that need no approval, in Claude's notation; translated for other runtimes.
    pub allowed_tools: Vec<Text>,
}

/// What an agent works in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkspaceKind {
    /// A git worktree and branch of its own.
    Worktree,
    /// The project's folder, shared with you and other agents.
    Directory,
}

/// The process that owns the agents.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlPlane {
    /// Address and port to serve on, beside the socket; needs `token_file`.
    pub listen: Option<Text>,
    /// File that holds the token clients on TCP must show.
    pub token_file: Option<Text>,
    /// Another control plane to be a client of.
    pub url: Option<Text>,
}

/// fracta's own log: JSON lines, rotated.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// The file, from the project's root. Default: `.fracta/fracta.log`.
    pub file: Option<Text>,
    /// How much; the variable `FRACTA_LOG` overrides it.
    pub level: Level,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// Looks and keys of the terminal interface.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ui {
    /// Name of a theme.
    pub theme: Option<Text>,
    /// Keys by action: one, or a list.
    pub keys: BTreeMap<String, KeyBinding>,
    /// Whether the mouse is captured; selecting text by the terminal then needs Shift.
    pub mouse: bool,
    /// How an agent that needs you calls: `off`, `bell`, `osc9` (a desktop notification where the terminal
    /// can); true is `bell`, false is `off`. Default: `bell`.
    pub notify: Notify,
}

/// A key, or a list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeyBinding {
    Many(Vec<Text>),
    One(Text),
}

impl KeyBinding {
    pub fn keys(&self) -> &[Text] {
        match self {
            KeyBinding::One(key) => std::slice::from_ref(key),
            KeyBinding::Many(keys) => keys,
        }
    }
}

/// How an agent that needs you calls: a word, or true for `bell` and false for `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Notify {
    Switch(bool),
    How(NotifyHow),
}

impl Default for Notify {
    fn default() -> Self {
        Notify::How(NotifyHow::Bell)
    }
}

impl Notify {
    pub fn how(self) -> NotifyHow {
        match self {
            Notify::How(how) => how,
            Notify::Switch(true) => NotifyHow::Bell,
            Notify::Switch(false) => NotifyHow::Off,
        }
    }
}

/// How an agent that needs you calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyHow {
    /// Not at all.
    Off,
    /// The terminal's bell.
    Bell,
    /// A desktop notification, where the terminal can.
    Osc9,
}

/// The JSON Schema of `fracta.yaml` (draft 2020-12), made from the types. `assets/fracta.schema.json` is the
/// same, for editors.
pub fn json_schema() -> Value {
    json_schema_for(Adapters::default())
}

/// As [`json_schema`], for a program with these adapters.
pub(super) fn json_schema_for(adapters: Adapters) -> Value {
    let root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    let mut schema = root.to_value();
    if let Value::Object(top) = &mut schema {
        top.insert("title".to_owned(), json!("fracta.yaml"));
    }
    if let Some(names) = schema.pointer_mut("/$defs/Adapter/enum") {
        *names = json!(adapters.names());
    }
    loosen(&mut schema);
    schema
}

/// Adds what holds for every object: `x-` keys are free where the other keys are fixed or name things, and a
/// key without a value is as if it were not there (an entry without a value is one of defaults).
fn loosen(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(loosen),
        Value::Object(object) => {
            let free = match object.get("additionalProperties") {
                Some(Value::Bool(false)) => true,
                Some(value) => is_struct(value),
                None => false,
            };
            if free {
                object.insert("patternProperties".to_owned(), json!({"^x-": true}));
            }
            if let Some(value) = object.get_mut("additionalProperties").filter(|v| is_struct(v)) {
                or_null(value);
            }
            let required: Vec<Value> =
                object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                for (name, value) in properties {
                    if !required.iter().any(|r| r == name) {
                        or_null(value);
                    }
                }
            }
            object.values_mut().for_each(loosen);
        }
        _ => {}
    }
}

/// Whether entries of a map are things of their own, not plain values.
fn is_struct(schema: &Value) -> bool {
    const PLAIN: [&str; 3] = ["#/$defs/Text", "#/$defs/Quantity", "#/$defs/KeyBinding"];
    schema.get("$ref").and_then(Value::as_str).is_some_and(|r| !PLAIN.contains(&r))
}

/// Lets a schema take null too.
fn or_null(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if let Some(reference) = object.remove("$ref") {
        object.insert("anyOf".to_owned(), json!([{"$ref": reference}, {"type": "null"}]));
        return;
    }
    match object.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&json!("null")) => types.push(json!("null")),
        Some(kind @ Value::String(_)) => *kind = json!([kind.take(), "null"]),
        _ => {}
    }
}

/// What a `$ref` stands for.
pub(super) fn definition<'a>(root: &'a Value, reference: &str) -> Option<&'a Map<String, Value>> {
    root.pointer(reference.strip_prefix('#')?)?.as_object()
}
