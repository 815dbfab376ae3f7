//! The origins of a profile: which are asked, and how.

use std::time::Duration;

use super::super::environment::KeyRef;
use super::super::{Phase, Topology, report};
use super::{Http, Place, Planner, Recipe, Way};
use crate::config::{Origin, OriginType, Profile, Scope};

/// Where an origin may be prepared.
pub(super) fn scope_of(origin: &Origin) -> Scope {
    origin.scope.unwrap_or(match origin.kind {
        OriginType::CommandOutput => Scope::HostEdge,
        OriginType::SecretEnv | OriginType::HttpHeaderToken => Scope::Any,
    })
}

impl Planner<'_> {
    /// All origins for the report, and what an assertion alone wants.
    pub(super) fn origins(&mut self, profile: &Profile) {
        for name in self.plan.assertions.require_source.clone() {
            match profile.auth_origins.get(&name) {
                Some(origin) => self.asserted(&name, origin),
                None => self.problem(format!("require_source: the profile has no origin {name:?}")),
            }
        }
        for (name, origin) in &profile.auth_origins {
            let entry = self.describe(name, origin);
            self.plan.origins.push(entry);
        }
    }

    /// Only asked, delivered nowhere.
    fn asserted(&mut self, name: &str, origin: &Origin) {
        if self.is_used(name) {
            return;
        }
        match (Phase::of(scope_of(origin), self.plan.topology), origin.kind) {
            // The assertion fails and tells why.
            (Phase::Unavailable | Phase::RuntimeOnly, _) => {}
            (Phase::PrepareNow, OriginType::SecretEnv) if self.plan.topology == Topology::Cluster => {
                let _ = self.secret_of(name, origin);
            }
            (Phase::PrepareNow, _) => self.recipe(name, origin, true),
        }
    }

    fn is_used(&self, name: &str) -> bool {
        let plan = &self.plan;
        plan.recipes.iter().any(|r| r.name == name)
            || plan.by_themselves.iter().any(|n| n == name)
            || plan.bound.iter().any(|b| b.source.as_deref() == Some(name))
            || plan.files.iter().any(|f| f.origin == name)
    }

    fn describe(&mut self, name: &str, origin: &Origin) -> report::Origin {
        let (topology, scope) = (self.plan.topology, scope_of(origin));
        let phase = Phase::of(scope, topology);
        let used = self.is_used(name)
            || self.bound_origin().as_deref() == Some(name)
            || self.plan.assertions.require_source.iter().any(|n| n == name);
        let from = match origin.kind {
            OriginType::CommandOutput => format!("the command {}", first_word(origin)),
            OriginType::SecretEnv => match (topology, &origin.env_name, &origin.secret_ref) {
                (Topology::Cluster, _, Some(s)) => {
                    format!("the Secret {}, key {}", s.name.raw(), s.key.raw())
                }
                (Topology::Host, Some(name), _) => format!("the variable {}", name.raw()),
                _ => "nothing on this backend".to_owned(),
            },
            OriginType::HttpHeaderToken => {
                let header = origin.extract.as_ref().map_or("", |e| e.header.raw());
                let host = origin.request.as_ref().map_or("", |r| host_of(r.url.raw()));
                format!("the header {header} of {host}")
            }
        };
        let prefix = format!("origin {name}: ");
        let told = |texts: &[String]| texts.iter().find_map(|t| t.strip_prefix(&prefix).map(str::to_owned));
        report::Origin {
            name: name.to_owned(),
            kind: origin.kind,
            scope,
            phase,
            required: origin.required,
            used,
            from,
            delivery: origin.delivery,
            timeout_ms: (origin.kind != OriginType::SecretEnv).then_some(origin.timeout_ms),
            problem: told(&self.plan.problems).or_else(|| told(&self.plan.warnings)),
        }
    }

    /// An origin that cannot give its value here. Where the variable is set all the same, that is used.
    pub(super) fn unavailable(&mut self, name: &str, origin: &Origin, variable: Option<&str>) {
        let why = match (Phase::of(scope_of(origin), self.plan.topology), origin.kind) {
            (Phase::Unavailable, _) => {
                "its scope is host_edge, and the agent runs in a cluster: use scope any, or another binding for this runtime"
            }
            (_, OriginType::HttpHeaderToken) => {
                "its scope is agent_runtime, and no agent makes such a request by itself: use scope any"
            }
            _ => "its scope is agent_runtime, and the file has to be there before: use scope any",
        };
        let set = variable.is_some_and(|v| self.plan.base.has(v));
        self.lacks(origin.required && !set, format!("origin {name}: {why}"));
    }

    /// The Secret's key of an origin in a cluster.
    pub(super) fn secret_of(&mut self, name: &str, origin: &Origin) -> Option<KeyRef> {
        let Some(secret) = &origin.secret_ref else {
            let text =
                format!("origin {name}: it has no secret_ref, and in a cluster the value comes from there");
            self.lacks(origin.required, text);
            return None;
        };
        let key = self.key_ref(secret)?;
        self.plan.by_themselves.push(name.to_owned());
        Some(key)
    }

    pub(super) fn argv(&mut self, origin: &Origin) -> Option<Vec<String>> {
        let words = origin.command.as_deref().unwrap_or_default();
        let argv: Vec<String> = words.iter().filter_map(|t| self.expand(t)).collect();
        (argv.len() == words.len() && !argv.is_empty()).then_some(argv)
    }

    /// Adds how the origin's value is got now.
    pub(super) fn recipe(&mut self, name: &str, origin: &Origin, lines: bool) {
        if let Some(there) = self.plan.recipes.iter_mut().find(|r| r.name == name) {
            there.lines &= lines;
            return;
        }
        let way = match origin.kind {
            OriginType::CommandOutput => self.command(name, origin),
            OriginType::SecretEnv => self.host_variable(name, origin),
            OriginType::HttpHeaderToken => self.http(origin),
        };
        let Some(way) = way else { return };
        let timeout = Duration::from_millis(origin.timeout_ms);
        self.plan.recipes.push(Recipe {
            name: name.to_owned(),
            required: origin.required,
            timeout,
            lines,
            way,
        });
    }

    fn command(&mut self, name: &str, origin: &Origin) -> Option<Way> {
        let argv = self.argv(origin)?;
        let word = first_word(origin);
        let place = match Phase::of(scope_of(origin), self.plan.topology) {
            Phase::RuntimeOnly => Place::Agent,
            _ => Place::ControlPlane,
        };
        if place == Place::ControlPlane && !argv.first().is_some_and(|program| (self.request.runs)(program)) {
            let text =
                format!("origin {name}: {word} is not a program that can be run here (is it on PATH?)");
            self.lacks(origin.required, text);
        }
        Some(Way::Command { argv, word, place })
    }

    fn host_variable(&mut self, name: &str, origin: &Origin) -> Option<Way> {
        let Some(text) = &origin.env_name else {
            let text =
                format!("origin {name}: it has no env_name, and on this machine the value comes from there");
            self.lacks(origin.required, text);
            return None;
        };
        let variable = self.expand(text)?;
        let here = match Phase::of(scope_of(origin), self.plan.topology) {
            Phase::RuntimeOnly => self.plan.base.text(&variable),
            _ => self.host(&variable),
        };
        match here.filter(|v| !v.trim().is_empty()) {
            Some(value) => Some(Way::Value(value.into())),
            None => {
                let text = format!(
                    "origin {name}: the variable {variable} is not set where fracta serve was started"
                );
                self.lacks(origin.required, text);
                None
            }
        }
    }

    fn http(&mut self, origin: &Origin) -> Option<Way> {
        let (request, extract) = (origin.request.as_ref()?, origin.extract.as_ref()?);
        let url = self.expand(&request.url)?;
        let method = match &request.method {
            Some(text) => self.expand(text)?,
            None => "GET".to_owned(),
        };
        let mut headers = Vec::new();
        for (name, text) in &request.headers {
            headers.push((name.clone(), self.expand(text)?.into()));
        }
        let header = self.expand(&extract.header)?;
        Some(Way::Http(Box::new(Http { method, url: url.into(), headers, header })))
    }
}

/// The program as written, for people: nothing expanded, no arguments.
fn first_word(origin: &Origin) -> String {
    let raw = origin.command.as_ref().and_then(|c| c.first()).map_or("", |t| t.raw());
    crate::text::summary(raw, 60)
}

/// The host of a URL as written, without user, path and query.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, r)| r);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}
