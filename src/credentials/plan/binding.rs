//! What the binding, or an origin's own `delivery`, makes of a value.

use super::super::environment::Value;
use super::super::{Phase, Topology, is_file_name, report};
use super::origins::scope_of;
use super::{Bound, Content, FilePlan, Helper, Place, Planner, RESOLVER_PATIENCE, Recipe, Way, binding_word};
use crate::config::{Binding, BindingType, Delivery, Origin, OriginType, Profile, Resolver};

/// What Claude reads how long it may keep a key from.
const TTL: &str = "CLAUDE_CODE_API_KEY_HELPER_TTL_MS";
/// What Claude sends besides its helper's key, each in one of the two headers that would hold that.
const BEFORE_HELPER: [&str; 2] = ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"];

impl<'a> Planner<'a> {
    pub(super) fn binding(&mut self) {
        let Some((_, profile)) = self.profile.clone() else { return };
        let own = self.request.runtime.config.auth_binding.as_ref();
        let Some(binding) = own.or(profile.default_binding.as_ref()) else { return };
        let of = if own.is_some() { "auth_binding" } else { "default_binding" };
        match binding.kind {
            BindingType::ClaudeApiKeyHelper => self.api_key_helper(binding, profile, of),
            BindingType::BearerEnv => self.bearer_env(binding, profile, of),
            BindingType::TokenFile => self.token_file(binding, profile, of),
        }
    }

    fn reported(&mut self, binding: &Binding, of: &str, source: report::Source, target: String) {
        self.plan.binding = Some(report::Binding { kind: binding.kind, of: of.to_owned(), source, target });
    }

    /// The origin that a binding names.
    fn origin_of(&mut self, binding: &Binding, profile: &'a Profile) -> Option<(String, &'a Origin)> {
        let name = self.expand(binding.auth_origin.as_ref()?)?;
        match profile.auth_origins.get(&name) {
            Some(origin) => Some((name, origin)),
            None => {
                self.problem(format!(
                    "the binding names the origin {name:?}, which the profile does not have"
                ));
                None
            }
        }
    }

    fn resolver_of(&mut self, binding: &Binding, profile: &'a Profile) -> Option<(String, &'a Resolver)> {
        let name = self.expand(binding.runtime_auth_resolver.as_ref()?)?;
        match profile.runtime_auth_resolvers.get(&name) {
            Some(resolver) => Some((name, resolver)),
            None => {
                self.problem(format!(
                    "the binding names the resolver {name:?}, which the profile does not have"
                ));
                None
            }
        }
    }

    fn api_key_helper(&mut self, binding: &Binding, profile: &'a Profile, of: &str) {
        let adapter = self.request.runtime.adapter;
        if adapter != "claude" {
            let text = format!(
                "{} is Claude's alone, and this runtime's adapter is {}: give the runtime an auth_binding of type bearer_env",
                binding_word(binding.kind),
                adapter
            );
            self.problem(text);
        }
        let words = self.request.runtime.config.command.iter().flatten().skip(1);
        if words.map(|t| t.raw()).any(|w| w == "--settings" || w.starts_with("--settings=")) {
            self.problem("the runtime's command has --settings of its own, and Claude takes one settings file: put apiKeyHelper there, or remove it from the command".to_owned());
        }
        let Some((name, resolver)) = self.resolver_of(binding, profile) else { return };
        let source = report::Source::Resolver(name.clone());
        self.reported(binding, of, source, "apiKeyHelper of Claude's settings".to_owned());
        let Some(text) = &resolver.command else { return };
        let Some(mut command) = self.expand(text) else { return };
        if text.has_variables() {
            // What came from a variable may be a secret, and Claude gives its helper to a shell as an argument.
            let file = format!("helper-{name}.sh");
            let path = self.file_path(&file);
            let content = Content::Secret(format!("{command}\n").into());
            self.plan.files.push(FilePlan { name: file, content, origin: name.clone(), env_name: None });
            command = format!("/bin/sh {}", shell_word(&path.to_string_lossy()));
        }
        let ttl_ms = resolver.ttl_ms;
        self.bind(TTL, Value::Plain(ttl_ms.to_string().into()), Some(&name));
        self.plan.helper = Some(Helper { command, ttl_ms });
        for variable in BEFORE_HELPER.into_iter().filter(|v| self.plan.base.has(v)) {
            let from = self.plan.base.get(variable).map_or("", |v| v.from.word());
            let text = format!(
                "{variable} is set ({from}), and Claude sends it in place of its helper's key in one of two headers: set it to \"\" in the profile's env"
            );
            self.plan.warnings.push(text);
        }
    }

    fn bearer_env(&mut self, binding: &Binding, profile: &'a Profile, of: &str) {
        let Some(name) = binding.env_name.as_ref().and_then(|t| self.expand(t)) else { return };
        let target = format!("the variable {name}");
        if let Some(secret) = binding.secret_ref.as_ref().filter(|_| self.plan.topology == Topology::Cluster)
        {
            if let Some(key) = self.key_ref(secret) {
                self.reported(binding, of, report::Source::SecretRef(key.clone()), target);
                self.bind(&name, Value::SecretKey(key), None);
            }
        } else if binding.auth_origin.is_some() {
            let Some((origin_name, origin)) = self.origin_of(binding, profile) else { return };
            self.reported(binding, of, report::Source::Origin(origin_name.clone()), target);
            self.variable(&name, &origin_name, origin);
        } else if binding.runtime_auth_resolver.is_some() {
            let Some((resolver_name, resolver)) = self.resolver_of(binding, profile) else { return };
            self.reported(binding, of, report::Source::Resolver(resolver_name.clone()), target);
            self.resolved_variable(&name, &resolver_name, resolver);
        } else {
            self.reported(binding, of, report::Source::Environment, target);
            if self.plan.base.has(&name) {
                self.plan.known_variable(&name);
            } else {
                let hint = match (self.plan.topology, binding.secret_ref.is_some()) {
                    (Topology::Host, true) => " (its secret_ref counts in a cluster only)",
                    _ => "",
                };
                self.problem(format!(
                    "the binding names neither origin nor resolver, so {name} has to be set already, and it is not{hint}"
                ));
            }
        }
    }

    /// The origin's value as a variable.
    fn variable(&mut self, name: &str, origin_name: &str, origin: &Origin) {
        match (Phase::of(scope_of(origin), self.plan.topology), origin.kind, self.plan.topology) {
            (Phase::Unavailable, ..) => self.unavailable(origin_name, origin, Some(name)),
            (_, OriginType::SecretEnv, Topology::Cluster) => {
                if let Some(key) = self.secret_of(origin_name, origin) {
                    self.bind(name, Value::SecretKey(key), Some(origin_name));
                }
            }
            (Phase::RuntimeOnly, OriginType::CommandOutput, Topology::Cluster) => {
                if let Some(argv) = self.argv(origin) {
                    let words: Vec<String> = argv.iter().map(|w| shell_word(w)).collect();
                    self.plan.by_themselves.push(origin_name.to_owned());
                    self.bind(name, Value::Command(words.join(" ")), Some(origin_name));
                }
            }
            (Phase::RuntimeOnly, OriginType::HttpHeaderToken, _) => {
                self.unavailable(origin_name, origin, Some(name));
            }
            _ => {
                self.recipe(origin_name, origin, false);
                self.bind(name, Value::Later(origin_name.to_owned()), Some(origin_name));
            }
        }
    }

    fn resolved_variable(&mut self, name: &str, resolver_name: &str, resolver: &Resolver) {
        let Some(command) = resolver.command.as_ref().and_then(|t| self.expand(t)) else { return };
        match self.plan.topology {
            Topology::Cluster => self.bind(name, Value::Command(command), Some(resolver_name)),
            Topology::Host => {
                let argv = ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain([command]).collect();
                let word = "its command".to_owned();
                self.plan.recipes.push(Recipe {
                    name: resolver_name.to_owned(),
                    required: true,
                    timeout: RESOLVER_PATIENCE,
                    lines: false,
                    way: Way::Command { argv, word, place: Place::Agent },
                });
                self.bind(name, Value::Later(resolver_name.to_owned()), Some(resolver_name));
            }
        }
    }

    fn token_file(&mut self, binding: &Binding, profile: &'a Profile, of: &str) {
        let Some((name, origin)) = self.origin_of(binding, profile) else { return };
        let env_name = match &binding.env_name {
            Some(text) => self.expand(text),
            None => None,
        };
        let Some(file) = self.file(&name, origin, env_name.as_deref()) else { return };
        let target = match &env_name {
            Some(variable) => format!("the file {file}, its path in {variable}"),
            None => format!("the file {file}"),
        };
        self.reported(binding, of, report::Source::Origin(name), target);
    }

    /// The origin's value as a file; its name.
    fn file(&mut self, origin_name: &str, origin: &Origin, env_name: Option<&str>) -> Option<String> {
        let name = match &origin.path {
            Some(text) => self.expand(text)?,
            None => origin_name.to_owned(),
        };
        if !is_file_name(&name) {
            self.problem(format!("origin {origin_name}: its path {name:?} is no plain name of a file"));
            return None;
        }
        if self.plan.files.iter().any(|f| f.name == name) {
            self.problem(format!("origin {origin_name}: another file is called {name:?} too"));
            return None;
        }
        let phase = Phase::of(scope_of(origin), self.plan.topology);
        let content = match (phase, origin.kind, self.plan.topology) {
            (Phase::Unavailable, ..)
            | (Phase::RuntimeOnly, OriginType::HttpHeaderToken, _)
            | (Phase::RuntimeOnly, OriginType::CommandOutput, Topology::Cluster) => {
                self.unavailable(origin_name, origin, env_name);
                return Some(name);
            }
            (_, OriginType::SecretEnv, Topology::Cluster) => {
                Content::SecretKey(self.secret_of(origin_name, origin)?)
            }
            _ => {
                self.recipe(origin_name, origin, true);
                Content::Later(origin_name.to_owned())
            }
        };
        if let Some(variable) = env_name {
            let path = self.file_path(&name);
            self.bind(variable, Value::Plain(path.into()), Some(origin_name));
        }
        let env_name = env_name.map(str::to_owned);
        self.plan.files.push(FilePlan {
            name: name.clone(),
            content,
            origin: origin_name.to_owned(),
            env_name,
        });
        Some(name)
    }

    /// Origins that say themselves how they are delivered.
    pub(super) fn deliveries(&mut self, profile: &'a Profile) {
        let bound = self.bound_origin();
        for (name, origin) in &profile.auth_origins {
            if bound.as_deref() == Some(name) {
                continue;
            }
            match (origin.delivery, &origin.env_name) {
                (Some(Delivery::Env), Some(variable)) => {
                    let Some(variable) = self.expand(variable) else { continue };
                    self.variable(&variable, name, origin);
                }
                (Some(Delivery::FileMount), _) => drop(self.file(name, origin, None)),
                _ => {}
            }
        }
    }

    pub(super) fn bound_origin(&self) -> Option<String> {
        match &self.plan.binding.as_ref()?.source {
            report::Source::Origin(name) => Some(name.clone()),
            _ => None,
        }
    }

    pub(super) fn bind(&mut self, name: &str, value: Value, source: Option<&str>) {
        let source = source.map(str::to_owned);
        self.plan.bound.push(Bound { name: name.to_owned(), value, source });
    }
}

impl super::Plan {
    /// A variable that a binding calls the credential is a secret, whoever set it.
    fn known_variable(&mut self, name: &str) {
        let Some(text) = self.base.text(name) else { return };
        let from = self.base.get(name).map(|v| v.from);
        if let Some(from) = from {
            self.base.set(name, Value::Secret(text.into()), from);
        }
    }
}

/// One word for a shell.
pub(super) fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
