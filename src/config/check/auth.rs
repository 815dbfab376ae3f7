//! The rules of `auth`: which keys go together, and names that must exist.

use super::super::agents::{RuntimeConfig, SecretRef};
use super::super::auth::{Binding, BindingType, Delivery, Origin, OriginType, Profile, Request, Resolver};
use super::super::diagnostic::{Problem, did_you_mean, join, list, quote};
use super::super::expand::Text;
use super::super::schema::{Backend, Config};
use super::{Check, header_name, variable_name};

const PROFILES: &str = "auth.credentials.profiles";

/// What a binding's names refer to.
const ORIGINS: &str = "auth_origins";
const RESOLVERS: &str = "runtime_auth_resolvers";

impl Check<'_, '_> {
    /// All profiles, and what runtimes make of them. `at`: where the runtimes are written.
    pub(super) fn auth(&mut self, config: &Config, at: &str) {
        for (name, profile) in &config.auth.credentials.profiles {
            self.profile_rules(config.runtime.backend, profile, &join(PROFILES, name));
        }
        for (name, runtime) in &config.agents.agent_runtimes {
            self.runtime_auth(config, name, runtime, &join(at, name));
        }
    }

    fn profile_rules(&mut self, backend: Backend, profile: &Profile, path: &str) {
        for (name, origin) in &profile.auth_origins {
            let path = join(&join(path, ORIGINS), name);
            self.name(name, &path);
            self.origin(backend, origin, &path);
            self.contradiction(name, origin, profile.default_binding.as_ref());
        }
        for (name, resolver) in &profile.runtime_auth_resolvers {
            let path = join(&join(path, RESOLVERS), name);
            self.name(name, &path);
            self.resolver(resolver, &path);
        }
        if let Some(binding) = &profile.default_binding {
            self.binding(binding, &join(path, "default_binding"));
            self.references(binding, profile, path);
        }
        self.assertions(profile, path);
    }

    fn origin(&mut self, backend: Backend, origin: &Origin, path: &str) {
        use OriginType::{CommandOutput, HttpHeaderToken, SecretEnv};
        let keys = [
            ("command", origin.command.is_some(), CommandOutput),
            ("request", origin.request.is_some(), HttpHeaderToken),
            ("extract", origin.extract.is_some(), HttpHeaderToken),
            ("env_name", origin.env_name.is_some(), SecretEnv),
            ("secret_ref", origin.secret_ref.is_some(), SecretEnv),
        ];
        for (key, there, kind) in keys {
            if there && kind != origin.kind {
                let message = format!("goes with type {}, and this is {}", word(kind), word(origin.kind));
                let path = join(path, key);
                self.error(self.place(&path), &path, message, None);
            } else if !there && kind == origin.kind && kind != SecretEnv {
                self.missing(path, key, &format!("type {}", word(kind)));
            }
        }
        if origin.kind == SecretEnv {
            self.secret_env(backend, origin, path);
        }
        self.not_empty(origin.command.as_ref().and_then(|c| c.first()));
        self.variable(origin.env_name.as_ref());
        self.secret_ref(origin.secret_ref.as_ref());
        if let Some(request) = &origin.request {
            self.request(request, &join(path, "request"));
        }
        if let Some(text) = origin.extract.as_ref().map(|e| &e.header).filter(|t| !t.has_variables())
            && !header_name(text.raw())
        {
            self.text_error(text, format!("{} is no name of a header", quote(text.raw())), None);
        }
        self.file_name(origin);
    }

    /// What the default backend does not need is only a warning: the other one will.
    fn secret_env(&mut self, backend: Backend, origin: &Origin, path: &str) {
        let needs = [
            ("env_name", origin.env_name.is_some(), Backend::Local, "the variable to take it from"),
            ("secret_ref", origin.secret_ref.is_some(), Backend::Kubernetes, "the Secret to take it from"),
        ];
        let none = needs.iter().all(|n| !n.1);
        for (key, there, of, what) in needs {
            if there || self.broken.contains(&join(path, key)) {
                continue;
            }
            let message = format!("type secret_env needs `{key}`, {what} on the {} backend", of.word());
            if of == backend || none {
                self.error(self.place(path), path, message, None);
            } else {
                self.found.push(Problem::warning(self.place(path), path, message));
            }
        }
    }

    fn request(&mut self, request: &Request, path: &str) {
        self.http(Some(&request.url));
        let host = request.url.raw().strip_prefix("http://").filter(|_| !request.url.has_variables());
        if host.is_some_and(|h| !["127.", "localhost", "[::1]"].iter().any(|local| h.starts_with(local))) {
            let message = "a token that travels by http:// can be read on the way; use https://";
            self.found.push(Problem::warning(
                self.value_place(request.url.key()),
                request.url.key(),
                message,
            ));
        }
        if let Some(text) = request.method.as_ref().filter(|t| !t.has_variables())
            && (text.raw().is_empty() || !text.raw().bytes().all(|b| b.is_ascii_uppercase()))
        {
            let message = format!("{} is no HTTP method", quote(text.raw()));
            self.text_error(text, message, Some("like GET or POST".to_owned()));
        }
        for name in request.headers.keys().filter(|h| !header_name(h)) {
            let path = join(&join(path, "headers"), name);
            self.error(self.place(&path), &path, format!("{} is no name of a header", quote(name)), None);
        }
    }

    fn file_name(&mut self, origin: &Origin) {
        let Some(text) = &origin.path else { return };
        if origin.delivery == Some(Delivery::Env) {
            self.text_error(text, "goes with delivery file_mount, and this is env", None);
        } else if !text.has_variables() && !crate::credentials::is_file_name(text.raw()) {
            let message = format!("{} is no plain name of a file", quote(text.raw()));
            let hint = "letters, digits, `.`, `_` and `-`; fracta chooses the folder";
            self.text_error(text, message, Some(hint.to_owned()));
        }
    }

    /// An origin that says how it is delivered, and a binding that says otherwise.
    fn contradiction(&mut self, name: &str, origin: &Origin, binding: Option<&Binding>) {
        let Some(binding) = binding else { return };
        let bound = binding.auth_origin.as_ref().is_some_and(|t| t.raw() == name);
        let says = match (origin.delivery, binding.kind) {
            (Some(Delivery::Env), BindingType::TokenFile) => "env",
            (Some(Delivery::FileMount), BindingType::BearerEnv) => "file_mount",
            _ => return,
        };
        if let Some(text) = binding.auth_origin.as_ref().filter(|_| bound) {
            let message = format!(
                "the origin says delivery {says}, and a binding of type {} delivers it otherwise",
                binding_word(binding.kind)
            );
            self.text_error(text, message, Some("remove `delivery` from the origin".to_owned()));
        }
    }

    fn resolver(&mut self, resolver: &Resolver, path: &str) {
        match &resolver.command {
            None => self.missing(path, "command", "a resolver"),
            Some(text) if text.raw().trim().is_empty() => self.text_error(text, "is empty", None),
            Some(_) => {}
        }
    }

    fn binding(&mut self, binding: &Binding, path: &str) {
        use BindingType::{BearerEnv, ClaudeApiKeyHelper, TokenFile};
        let (origin, resolver) = (binding.auth_origin.is_some(), binding.runtime_auth_resolver.is_some());
        let keys = [
            ("auth_origin", origin, &[BearerEnv, TokenFile][..]),
            ("runtime_auth_resolver", resolver, &[ClaudeApiKeyHelper, BearerEnv]),
            ("env_name", binding.env_name.is_some(), &[BearerEnv, TokenFile]),
            ("secret_ref", binding.secret_ref.is_some(), &[BearerEnv]),
        ];
        for (key, there, kinds) in keys {
            if there && !kinds.contains(&binding.kind) {
                let kinds: Vec<&str> = kinds.iter().map(|k| binding_word(*k)).collect();
                let message = format!(
                    "goes with type {}, and this is {}",
                    kinds.join(" or "),
                    binding_word(binding.kind)
                );
                let path = join(path, key);
                self.error(self.place(&path), &path, message, None);
            }
        }
        if origin && resolver && binding.kind == BearerEnv {
            let path = join(path, "runtime_auth_resolver");
            let message =
                "a binding takes its value from `auth_origin` or `runtime_auth_resolver`, not from both";
            self.error(self.place(&path), &path, message, None);
        }
        let needed: &[(&str, bool)] = match binding.kind {
            ClaudeApiKeyHelper => &[("runtime_auth_resolver", resolver)],
            BearerEnv => &[("env_name", binding.env_name.is_some())],
            TokenFile => &[("auth_origin", origin)],
        };
        for (key, _) in needed.iter().filter(|(_, there)| !there) {
            self.missing(path, key, &format!("type {}", binding_word(binding.kind)));
        }
        self.variable(binding.env_name.as_ref());
        self.secret_ref(binding.secret_ref.as_ref());
    }

    /// The names in a binding are those of its profile, which is at `path`.
    fn references(&mut self, binding: &Binding, profile: &Profile, path: &str) {
        let origins = || profile.auth_origins.keys().map(String::as_str);
        let resolvers = || profile.runtime_auth_resolvers.keys().map(String::as_str);
        self.reference(binding.auth_origin.as_ref(), &join(path, ORIGINS), "origin", &origins);
        self.reference(
            binding.runtime_auth_resolver.as_ref(),
            &join(path, RESOLVERS),
            "resolver",
            &resolvers,
        );
    }

    fn reference<'n, N: Iterator<Item = &'n str>>(
        &mut self,
        text: Option<&Text>,
        map: &str,
        what: &str,
        names: &dyn Fn() -> N,
    ) {
        let Some(text) = text.filter(|t| !t.has_variables()) else { return };
        // One that is there but wrong has its own error.
        if names().any(|n| n == text.raw()) || self.walk.spots.contains_key(&join(map, text.raw())) {
            return;
        }
        let known = match names().next() {
            None => "it has none".to_owned(),
            Some(_) => format!("it has {}", list(names())),
        };
        let message = format!("there is no {what} {} under {map}; {known}", quote(text.raw()));
        self.text_error(text, message, did_you_mean(text.raw(), names()));
    }

    fn assertions(&mut self, profile: &Profile, path: &str) {
        let a = &profile.assertions;
        for text in a.require_env.iter().chain(&a.forbid_env).chain(&a.warn_if_missing_env) {
            self.variable(Some(text));
        }
        let origins = || profile.auth_origins.keys().map(String::as_str);
        for text in &a.require_source {
            self.reference(Some(text), &join(path, ORIGINS), "origin", &origins);
        }
        for text in &a.forbid_env {
            if !text.has_variables() && a.require_env.iter().any(|r| r.raw() == text.raw()) {
                self.text_error(text, "is required by require_env: no agent could ever start", None);
            }
        }
    }

    fn runtime_auth(&mut self, config: &Config, name: &str, runtime: &RuntimeConfig, path: &str) {
        let at = join(path, "auth_binding");
        let chosen = runtime.auth_profile.as_ref();
        let profile = chosen
            .filter(|t| !t.has_variables())
            .and_then(|t| Some((t, config.auth.credentials.profiles.get(t.raw())?)));
        if let Some(binding) = &runtime.auth_binding {
            self.binding(binding, &at);
            match (chosen, profile) {
                (Some(_), Some((text, profile))) => {
                    self.references(binding, profile, &join(PROFILES, text.raw()));
                    for (name, origin) in &profile.auth_origins {
                        self.contradiction(name, origin, Some(binding));
                    }
                }
                (None, _) if !self.broken.contains(&join(path, "auth_profile")) => {
                    let message = "needs `auth_profile`: it stands in place of a profile's default_binding";
                    self.error(self.place(&at), &at, message, None);
                }
                _ => {}
            }
        }
        let own = runtime.auth_binding.as_ref();
        let of_profile = profile.and_then(|(_, p)| p.default_binding.as_ref());
        // One that is there but wrong has its own error, and stands in place of the profile's.
        let own_broken = own.is_none() && self.walk.spots.contains_key(&at);
        let Some(binding) = own.or(of_profile).filter(|_| !own_broken) else { return };
        let adapter = runtime.adapter.as_deref().unwrap_or(name);
        let helper = binding.kind == BindingType::ClaudeApiKeyHelper;
        if helper && adapter != "claude" {
            // One that is no adapter has its own error.
            if self.adapters.get(adapter).is_some() {
                self.not_claude(adapter, own.is_some(), chosen, &at);
            }
        } else if helper && names_settings(runtime) {
            let message = "the command has --settings of its own, and Claude takes one settings file: put apiKeyHelper there, or remove it from the command";
            let place = self.place(&join(path, "command"));
            self.error(place, &join(path, "command"), message, None);
        }
    }

    fn not_claude(&mut self, adapter: &str, own: bool, profile: Option<&Text>, at: &str) {
        let only =
            format!("claude_api_key_helper is Claude's alone, and this runtime's adapter is {}", adapter);
        let hint = "give the runtime an auth_binding of type bearer_env".to_owned();
        match profile.filter(|_| !own) {
            Some(text) => {
                let message = format!("the profile's default_binding does not fit: {only}");
                self.text_error(text, message, Some(hint));
            }
            None => {
                let path = join(at, "type");
                self.error(self.value_place(&path), &path, only, Some("use bearer_env".to_owned()));
            }
        }
    }

    fn missing(&mut self, path: &str, key: &str, what: &str) {
        if !self.broken.contains(&join(path, key)) {
            self.error(self.place(path), path, format!("{what} needs `{key}`"), None);
        }
    }

    fn variable(&mut self, text: Option<&Text>) {
        if let Some(text) = text.filter(|t| !t.has_variables() && !variable_name(t.raw())) {
            let message = format!("{} is no name of a variable", quote(text.raw()));
            self.text_error(text, message, Some("the name goes here, never the value".to_owned()));
        }
    }

    fn secret_ref(&mut self, secret: Option<&SecretRef>) {
        for text in secret.into_iter().flat_map(|s| [&s.name, &s.key]) {
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            let ok = (1..=253).contains(&text.raw().len()) && text.raw().bytes().all(fits);
            if !text.has_variables() && !ok {
                let message = format!("{} is no name in Kubernetes", quote(text.raw()));
                self.text_error(text, message, Some("letters, digits, `.`, `_` and `-`".to_owned()));
            }
        }
    }
}

/// The type as it is written.
fn word(kind: OriginType) -> &'static str {
    match kind {
        OriginType::CommandOutput => "command_output",
        OriginType::SecretEnv => "secret_env",
        OriginType::HttpHeaderToken => "http_header_token",
    }
}

fn binding_word(kind: BindingType) -> &'static str {
    match kind {
        BindingType::ClaudeApiKeyHelper => "claude_api_key_helper",
        BindingType::BearerEnv => "bearer_env",
        BindingType::TokenFile => "token_file",
    }
}

/// The runtime's own command names a settings file of Claude.
fn names_settings(runtime: &RuntimeConfig) -> bool {
    let words = runtime.command.iter().flatten().map(Text::raw);
    words.skip(1).any(|w| w == "--settings" || w.starts_with("--settings="))
}
