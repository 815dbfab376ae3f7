//! `fracta.yaml`: found, read, checked as a whole, and handed on typed.
//!
//! The way of a file: [`load()`] finds and reads it, `yaml` turns it into a tree in which every node knows
//! its line and column, `walk` holds the tree against the JSON Schema made from the types in [`schema`]
//! (so every key is written once, as a field), `check` looks at what a schema cannot say (names that must
//! exist, keys that need each other). Both collect all problems. Only then the typed [`Config`] is built.
//!
//! `${NAME}` in values is expanded where a value is used ([`Text::expand`]), never stored.

mod agents;
mod auth;
mod bedrock;
mod check;
mod choose;
mod diagnostic;
mod expand;
mod kubernetes;
mod load;
pub mod schema;
mod walk;
mod yaml;

#[cfg(test)]
mod tests;

pub use agents::{Agents, ModelTiers, PodEnvVar, RuntimeConfig, RuntimeKubernetes, SecretRef};
pub use auth::{
    Assertions, Auth, Binding, BindingType, Credentials, Delivery, HeaderExtract, Origin, OriginType,
    Profile, Request, Resolver, ResolverType, Scope,
};
pub use choose::{Chosen, NoRuntime};
pub use diagnostic::{Diagnostic, LoadError, Severity};
pub use expand::{ConfigError, Native, Quantity, Text, process_env};
pub use kubernetes::{Git, Kubernetes, PodSecurity, PullPolicy, Resources, Workspace};
pub use load::{FILE_NAME, Loaded, MAX_FILE, load, load_for, root};
pub use schema::{
    Backend, Config, ControlPlane, Gateway, KeyBinding, Level, Logging, McpServer, Notify, NotifyHow,
    Project, Runtime, Ui, WorkspaceKind, json_schema,
};
pub use yaml::to_yaml;
