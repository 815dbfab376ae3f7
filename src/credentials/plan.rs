//! The first step: what is to be asked, where, and what becomes of each value. Pure.

mod binding;
mod origins;
pub(super) mod reporting;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::Topology;
use super::environment::{Environment, KeyRef, Layer, Value};
use super::report;
use crate::config::{Assertions, BindingType, Chosen, Config, ConfigError, OriginType, Profile, Text};

/// What a plan is made for.
pub struct Request<'a> {
    pub config: &'a Config,
    pub runtime: Chosen<'a>,
    /// `local` or `kubernetes`.
    pub backend: &'a str,
    /// The control plane's environment.
    pub host: &'a BTreeMap<OsString, OsString>,
    /// What the adapter sets.
    pub adapter: &'a [(OsString, OsString)],
    /// Where files will be, as the agent sees it.
    pub files: &'a Path,
    /// Can the control plane run a program of this name?
    pub runs: &'a dyn Fn(&str) -> bool,
}

/// What is to be done. Holds values of variables, so it has neither `Debug` nor `Serialize`:
/// [`Plan::report`] is what may be shown.
pub struct Plan {
    pub(super) runtime: String,
    pub(super) adapter: String,
    pub(super) backend: String,
    pub(super) topology: Topology,
    pub(super) profile: Option<String>,
    pub(super) origins: Vec<report::Origin>,
    pub(super) resolvers: Vec<report::Resolver>,
    pub(super) binding: Option<report::Binding>,
    /// All layers but the binding.
    pub(super) base: Environment,
    /// What the binding and the origins' own `delivery` set.
    pub(super) bound: Vec<Bound>,
    pub(super) files: Vec<FilePlan>,
    pub(super) helper: Option<Helper>,
    /// What is to be got now.
    pub(super) recipes: Vec<Recipe>,
    /// Origins whose value comes by itself: a key of a Secret.
    pub(super) by_themselves: Vec<String>,
    pub(super) assertions: AssertionNames,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// A variable of the binding's layer.
pub(super) struct Bound {
    pub name: String,
    pub value: Value,
    /// The origin or resolver.
    pub source: Option<String>,
}

/// A file for the agent.
pub(super) struct FilePlan {
    pub name: String,
    pub content: Content,
    pub origin: String,
    /// The variable that holds its path.
    pub env_name: Option<String>,
}

/// What is in a file.
pub(super) enum Content {
    /// The value of this origin, once it is prepared.
    Later(String),
    /// Known: a helper's script.
    Secret(SecretString),
    /// A key of a Secret, to be mounted.
    SecretKey(KeyRef),
}

/// The command that Claude runs for its key.
#[derive(Clone)]
pub struct Helper {
    /// For a shell. Holds no secret.
    pub command: String,
    pub ttl_ms: u64,
}

/// How one value is got now.
pub(super) struct Recipe {
    /// The origin's or resolver's name.
    pub name: String,
    pub required: bool,
    pub timeout: Duration,
    /// Only a file may hold line breaks.
    pub lines: bool,
    pub way: Way,
}

pub(super) enum Way {
    /// Already here.
    Value(SecretString),
    /// A program. `word` is what may be shown of it.
    Command {
        argv: Vec<String>,
        word: String,
        place: Place,
    },
    Http(Box<Http>),
}

/// As what a program is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// As the control plane: its environment, the project's root.
    ControlPlane,
    /// As the agent: its environment, its working folder.
    Agent,
}

pub(super) struct Http {
    pub method: String,
    pub url: SecretString,
    pub headers: Vec<(String, SecretString)>,
    /// The response's header that holds the token.
    pub header: String,
}

#[derive(Default)]
pub(super) struct AssertionNames {
    pub require_env: Vec<String>,
    pub forbid_env: Vec<String>,
    pub require_source: Vec<String>,
    pub warn_if_missing_env: Vec<String>,
}

/// How long a resolver may take where fracta runs it; those have no `timeout_ms`.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(30);

/// Makes the plan. What is wrong does not end it: all problems are in it.
pub fn plan(request: &Request<'_>) -> Plan {
    let mut planner = Planner::new(request);
    planner.layers();
    if let Some(profile) = planner.profile.as_ref().map(|(_, profile)| *profile) {
        planner.assertion_names(&profile.assertions);
        planner.binding();
        planner.deliveries(profile);
        planner.origins(profile);
        planner.resolvers(profile);
    }
    planner.plan
}

impl Plan {
    /// What Claude is to run for its key.
    pub fn helper(&self) -> Option<&Helper> {
        self.helper.as_ref()
    }
}

struct Planner<'a> {
    request: &'a Request<'a>,
    profile: Option<(String, &'a Profile)>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let runtime = &request.runtime;
        let plan = Plan {
            runtime: runtime.name.to_owned(),
            adapter: runtime.adapter.to_owned(),
            backend: request.backend.to_owned(),
            topology: Topology::of(request.backend),
            profile: None,
            origins: Vec::new(),
            resolvers: Vec::new(),
            binding: None,
            base: Environment::default(),
            bound: Vec::new(),
            files: Vec::new(),
            helper: None,
            recipes: Vec::new(),
            by_themselves: Vec::new(),
            assertions: AssertionNames::default(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let mut planner = Self { request, profile: None, plan };
        planner.find_profile();
        planner
    }

    fn find_profile(&mut self) {
        let Some(text) = &self.request.runtime.config.auth_profile else { return };
        let Some(name) = self.expand(text) else { return };
        match self.request.config.auth.credentials.profiles.get(&name) {
            Some(profile) => self.profile = Some((name.clone(), profile)),
            None => self.problem(format!("there is no credential profile {name:?}")),
        }
        self.plan.profile = Some(name);
    }

    fn host(&self, name: &str) -> Option<String> {
        self.request.host.get(std::ffi::OsStr::new(name))?.to_str().map(str::to_owned)
    }

    /// The text with its variables; what is wrong with it becomes a problem.
    fn expand(&mut self, text: &Text) -> Option<String> {
        let expanded: Result<String, ConfigError> = text.expand(&|name| self.host(name));
        expanded.map_err(|e| self.problem(e.to_string())).ok()
    }

    fn problem(&mut self, text: String) {
        if !self.plan.problems.contains(&text) {
            self.plan.problems.push(text);
        }
    }

    /// A failure of what is required, or a warning of what is not.
    fn lacks(&mut self, required: bool, text: String) {
        if required { self.problem(text) } else { self.plan.warnings.push(text) }
    }

    /// Everything before the binding.
    fn layers(&mut self) {
        let request = self.request;
        if self.plan.topology == Topology::Host {
            for (name, value) in request.host {
                self.plan.base.set(name.clone(), Value::Plain(value.clone()), Layer::Inherited);
            }
        }
        for (name, value) in request.adapter {
            self.plan.base.set(name.clone(), Value::Plain(value.clone()), Layer::Adapter);
        }
        match self.plan.topology {
            Topology::Host => self.texts(&request.runtime.config.env, Layer::Runtime),
            Topology::Cluster => self.pod_env(),
        }
        if let Some(profile) = self.profile.as_ref().map(|(_, profile)| *profile) {
            self.texts(&profile.env, Layer::Profile);
        }
    }

    fn texts(&mut self, env: &BTreeMap<String, Text>, layer: Layer) {
        for (name, text) in env {
            let Some(value) = self.expand(text) else { continue };
            let value = self.written(name, text, value);
            self.plan.base.set(name, value, layer);
        }
    }

    /// A value of fracta.yaml: what came from a variable of the host may be a secret.
    fn written(&self, name: &str, text: &Text, value: String) -> Value {
        let secret = match self.plan.topology {
            Topology::Host => text.has_variables() && sounds_secret(name),
            Topology::Cluster => text.has_variables() || sounds_secret(name),
        };
        if secret { Value::Secret(value.into()) } else { Value::Plain(value.into()) }
    }

    fn pod_env(&mut self) {
        let runtime = self.request.runtime.config;
        for variable in &runtime.kubernetes.env {
            let Some(name) = self.expand(&variable.name) else { continue };
            let value = match (&variable.value, &variable.secret_ref, &variable.value_from) {
                (Some(text), ..) => self.expand(text).map(|v| self.written(&name, text, v)),
                (None, Some(secret), _) => self.key_ref(secret).map(Value::SecretKey),
                (None, None, Some(native)) => Some(Value::Native(native.clone())),
                (None, None, None) => Some(Value::Plain(OsString::new())),
            };
            if let Some(value) = value {
                self.plan.base.set(name, value, Layer::Runtime);
            }
        }
    }

    fn key_ref(&mut self, secret: &crate::config::SecretRef) -> Option<KeyRef> {
        let (name, key) = (self.expand(&secret.name), self.expand(&secret.key));
        Some(KeyRef { name: name?, key: key? })
    }

    fn assertion_names(&mut self, assertions: &Assertions) {
        let mut names = |texts: &[Text]| texts.iter().filter_map(|t| self.expand(t)).collect();
        self.plan.assertions = AssertionNames {
            require_env: names(&assertions.require_env),
            forbid_env: names(&assertions.forbid_env),
            require_source: names(&assertions.require_source),
            warn_if_missing_env: names(&assertions.warn_if_missing_env),
        };
    }

    fn resolvers(&mut self, profile: &Profile) {
        let bound = self.plan.binding.as_ref().and_then(|b| match &b.source {
            report::Source::Resolver(name) => Some(name.clone()),
            _ => None,
        });
        let all = profile.runtime_auth_resolvers.iter().map(|(name, r)| report::Resolver {
            name: name.clone(),
            ttl_ms: r.ttl_ms,
            used: bound.as_ref() == Some(name),
        });
        self.plan.resolvers = all.collect();
    }

    fn file_path(&self, name: &str) -> PathBuf {
        self.request.files.join(name)
    }
}

/// Names that secrets usually have.
fn sounds_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH"].iter().any(|w| upper.contains(w))
}

/// The types as they are written in fracta.yaml.
pub(super) fn origin_word(kind: OriginType) -> &'static str {
    match kind {
        OriginType::CommandOutput => "command_output",
        OriginType::SecretEnv => "secret_env",
        OriginType::HttpHeaderToken => "http_header_token",
    }
}

pub(super) fn binding_word(kind: BindingType) -> &'static str {
    match kind {
        BindingType::ClaudeApiKeyHelper => "claude_api_key_helper",
        BindingType::BearerEnv => "bearer_env",
        BindingType::TokenFile => "token_file",
    }
}
