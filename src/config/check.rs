//! What a schema cannot say: names that must exist, keys that need each other, forms of values. The contents
//! of `runtime.kubernetes` are checked where they are used.

mod auth;

use std::collections::{BTreeMap, BTreeSet};

use super::agents::RuntimeConfig;
use super::diagnostic::{Place, Problem, did_you_mean, join, list, quote};
use super::expand::Text;
use super::schema::Config;
use super::walk::Walk;
use crate::runtime::Adapters;

pub(super) const RUNTIMES: &str = "agents.agent_runtimes";

/// Moves the map of runtimes that counts to `agents.agent_runtimes`: the first of the three that has entries.
/// Returns the path it was at; the others are warned of.
pub(super) fn choose_runtimes(config: &mut Config, walk: &mut Walk<'_>) -> &'static str {
    let legacy =
        [("runtimes", std::mem::take(&mut config.runtimes)), ("hosts", std::mem::take(&mut config.hosts))];
    let mut at = RUNTIMES;
    for (name, map) in legacy {
        if map.is_empty() {
            continue;
        }
        if config.agents.agent_runtimes.is_empty() {
            config.agents.agent_runtimes = map;
            at = name;
        } else {
            let message = format!("ignored as a whole, since {at} has entries");
            walk.problems.push(Problem::warning(walk.spots.get(name).map(|s| s.key), name, message));
        }
    }
    at
}

/// Checks a configuration whose types are right, as far as they are right.
pub(super) fn check(config: &Config, at: &'static str, adapters: Adapters, walk: &mut Walk<'_>) {
    let broken = walk.problems.iter().filter(|p| p.is_error()).map(|p| p.key.clone()).collect();
    let mut check = Check { walk, adapters, broken, found: Vec::new() };
    check.runtimes(config, at);
    check.default_runtime(config, at);
    check.servers(config);
    check.auth(config, at);
    check.control_plane(config);
    check.environments(config, at);
    let found = check.found;
    walk.problems.extend(found);
}

struct Check<'a, 's> {
    walk: &'a Walk<'s>,
    adapters: Adapters,
    /// Keys that already have an error: no second one that only follows from it.
    broken: BTreeSet<String>,
    found: Vec<Problem>,
}

impl Check<'_, '_> {
    fn place(&self, path: &str) -> Option<Place> {
        self.walk.spots.get(path).map(|s| s.key)
    }

    fn value_place(&self, path: &str) -> Option<Place> {
        self.walk.spots.get(path).map(|s| s.value)
    }

    fn error(&mut self, place: Option<Place>, path: &str, message: impl Into<String>, hint: Option<String>) {
        self.found.push(Problem::error(place, path, message).hint(hint));
    }

    fn text_error(&mut self, text: &Text, message: impl Into<String>, hint: Option<String>) {
        self.error(text.place(), text.key(), message, hint);
    }

    fn runtimes(&mut self, config: &Config, at: &str) {
        for (name, runtime) in &config.agents.agent_runtimes {
            let path = join(at, name);
            self.name(name, &path);
            let adapter = join(&path, "adapter");
            if runtime.adapter.is_none()
                && self.adapters.get(name).is_none()
                && !self.broken.contains(&adapter)
            {
                let words = self.adapters.names();
                let message = format!(
                    "{} is no adapter's name, so `adapter` is needed: one of {}",
                    quote(name),
                    list(words.iter().copied())
                );
                self.error(self.place(&path), &path, message, did_you_mean(name, words));
            }
            self.not_empty(runtime.model.as_ref());
            for tier in runtime.model_tiers.tiers() {
                self.not_empty(runtime.model_tiers.get(tier));
            }
            self.not_empty(runtime.command.as_ref().and_then(|c| c.first()));
            self.profile(config, runtime);
        }
    }

    fn profile(&mut self, config: &Config, runtime: &RuntimeConfig) {
        let Some(text) = runtime.auth_profile.as_ref().filter(|t| !t.has_variables()) else { return };
        let at = "auth.credentials.profiles";
        let profiles = &config.auth.credentials.profiles;
        // A profile that is there but wrong has its own error.
        if profiles.contains_key(text.raw()) || self.walk.spots.contains_key(&join(at, text.raw())) {
            return;
        }
        let names = || profiles.keys().map(String::as_str);
        let known =
            if profiles.is_empty() { "it has none".to_owned() } else { format!("it has {}", list(names())) };
        let message = format!("there is no profile {} under {at}; {known}", quote(text.raw()));
        self.text_error(text, message, did_you_mean(text.raw(), names()));
    }

    fn default_runtime(&mut self, config: &Config, at: &str) {
        let Some(text) = config.agents.default_runtime.as_ref().filter(|t| !t.has_variables()) else {
            return;
        };
        let runtimes = &config.agents.agent_runtimes;
        if runtimes.contains_key(text.raw()) || self.walk.spots.contains_key(&join(at, text.raw())) {
            return;
        }
        let names: Vec<&str> = match runtimes.is_empty() {
            // What is on PATH differs from machine to machine; the file is right where the CLI is there.
            true if self.adapters.get(text.raw()).is_some() => return,
            true => self.adapters.names(),
            false => runtimes.keys().map(String::as_str).collect(),
        };
        let message =
            format!("there is no runtime {}; there are {}", quote(text.raw()), list(names.iter().copied()));
        self.text_error(text, message, did_you_mean(text.raw(), names));
    }

    fn servers(&mut self, config: &Config) {
        for name in config.auth.credentials.profiles.keys() {
            self.name(name, &join("auth.credentials.profiles", name));
        }
        for (name, server) in &config.mcp_servers {
            let path = join("mcp_servers", name);
            self.name(name, &path);
            let broken = |key: &str| self.broken.contains(&join(&path, key));
            let command = server.command.is_some() || broken("command");
            let url = server.url.is_some() || broken("url");
            if command == url {
                let message = "needs either `command` (with `args`, `env`) or `url` (with `headers`)";
                self.error(self.place(&path), &path, message, None);
            } else {
                let misplaced: &[(&str, bool)] = match command {
                    true => &[("headers", !server.headers.is_empty())],
                    false => &[("args", !server.args.is_empty()), ("env", !server.env.is_empty())],
                };
                for (key, _) in misplaced.iter().filter(|(_, there)| *there) {
                    let path = join(&path, key);
                    let other = if command { "url" } else { "command" };
                    self.error(
                        self.place(&path),
                        &path,
                        format!("goes with `{other}`, which is not there"),
                        None,
                    );
                }
            }
            self.not_empty(server.command.as_ref());
            self.http(server.url.as_ref());
        }
        let gateway = &config.gateway;
        self.http(gateway.url.as_ref());
        if let Some(text) = &gateway.token_env {
            if gateway.url.is_none() && !self.broken.contains("gateway.url") {
                self.text_error(text, "needs `gateway.url`", None);
            } else if !text.has_variables() && !variable_name(text.raw()) {
                let message = format!("{} is no name of a variable", quote(text.raw()));
                self.text_error(text, message, Some("the name goes here, never the token".to_owned()));
            }
        }
    }

    fn control_plane(&mut self, config: &Config) {
        let plane = &config.control_plane;
        self.http(plane.url.as_ref());
        self.path(plane.token_file.as_ref());
        self.path(config.logging.file.as_ref());
        self.path(config.runtime.kubernetes.kubeconfig.as_ref());
        let Some(listen) = &plane.listen else { return };
        if plane.token_file.is_none() && !self.broken.contains("control_plane.token_file") {
            let message =
                "needs `control_plane.token_file`: whoever reaches this port could else run commands as you";
            self.text_error(listen, message, None);
        } else if !listen.has_variables() && !address(listen.raw()) {
            let message = format!("{} is no address with a port", quote(listen.raw()));
            self.text_error(listen, message, Some("like \"127.0.0.1:7411\" or \"[::1]:7411\"".to_owned()));
        }
    }

    /// Names of variables, in every map that becomes an environment, and of headers.
    fn environments(&mut self, config: &Config, at: &str) {
        for (name, runtime) in &config.agents.agent_runtimes {
            self.variables(&runtime.env, &join(&join(at, name), "env"));
        }
        for (name, profile) in &config.auth.credentials.profiles {
            self.variables(&profile.env, &join(&join("auth.credentials.profiles", name), "env"));
        }
        for (name, server) in &config.mcp_servers {
            let path = join("mcp_servers", name);
            self.variables(&server.env, &join(&path, "env"));
            for header in server.headers.keys().filter(|h| !header_name(h)) {
                let path = join(&join(&path, "headers"), header);
                self.error(
                    self.place(&path),
                    &path,
                    format!("{} is no name of a header", quote(header)),
                    None,
                );
            }
        }
    }

    fn variables(&mut self, env: &BTreeMap<String, Text>, path: &str) {
        for name in env.keys().filter(|n| n.is_empty() || n.contains(['=', '\0'])) {
            let path = join(path, name);
            let message = format!("{} is no name of a variable", quote(name));
            self.error(self.place(&path), &path, message, None);
        }
    }

    /// Names of things end up in labels, file names and tables.
    fn name(&mut self, name: &str, path: &str) {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let ends = |c: char| c.is_ascii_alphanumeric();
        if name.len() > 63 || !name.bytes().all(inner) || !name.starts_with(ends) || !name.ends_with(ends) {
            let message =
                "a name is up to 63 letters, digits, `.`, `_` and `-`, with a letter or digit at both ends";
            self.error(self.place(path), path, message, None);
        }
    }

    fn not_empty(&mut self, text: Option<&Text>) {
        if let Some(text) = text.filter(|t| t.raw().trim().is_empty()) {
            self.text_error(text, "is empty", Some("remove the key for the default".to_owned()));
        }
    }

    fn path(&mut self, text: Option<&Text>) {
        self.not_empty(text);
        // A folder of the name `~` is nobody's wish.
        if let Some(text) = text.filter(|t| t.raw().starts_with('~')) {
            self.text_error(text, "`~` means nothing here", Some("write ${HOME}/…".to_owned()));
        }
    }

    fn http(&mut self, text: Option<&Text>) {
        let Some(text) = text.filter(|t| !t.has_variables()) else { return };
        let rest = text.raw().strip_prefix("http://").or_else(|| text.raw().strip_prefix("https://"));
        let host = rest.is_some_and(|r| !r.is_empty() && !r.starts_with('/'));
        if !host || text.raw().contains(|c: char| c.is_whitespace() || c.is_control()) {
            // The value is not shown: URLs hold passwords at times.
            let place = self.value_place(text.key());
            self.error(place, text.key(), "expected a URL that starts with http:// or https://", None);
        }
    }
}

/// As POSIX has it.
pub(super) fn variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A token of RFC 9110.
fn header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `IP:port`, or `localhost:port`.
fn address(text: &str) -> bool {
    let local = text.strip_prefix("localhost:").is_some_and(|port| port.parse::<u16>().is_ok());
    local || text.parse::<std::net::SocketAddr>().is_ok()
}
