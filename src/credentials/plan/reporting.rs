//! What a plan comes to, as far as can be told before anybody is asked.

use super::super::environment::{Environment, Layer, Value};
use super::super::report::{Assertion, AssertionKind, Binding, File, Name, Outcome, Report, Source};
use super::{AssertionNames, Bound, Plan, binding_word, origin_word};
use crate::config::BindingType;

/// Variables that a CLI takes a credential from, most telling first.
const OWN: [(&str, &[&str]); 3] = [
    (
        "claude",
        &["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"],
    ),
    ("codex", &["CODEX_API_KEY", "OPENAI_API_KEY"]),
    (
        "opencode",
        &[
            "OPENCODE_API_KEY",
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "AWS_BEARER_TOKEN_BEDROCK",
            "GEMINI_API_KEY",
        ],
    ),
];

impl Plan {
    /// The final environment; `given` says what a bound variable's value is. A binding without value leaves
    /// the variable as the layers before it say.
    pub(in super::super) fn environment(&self, given: impl Fn(&Bound) -> Option<Value>) -> Environment {
        let mut env = self.base.clone();
        for bound in &self.bound {
            if let Some(value) = given(bound) {
                env.bind(&bound.name, value, bound.source.as_deref());
            }
        }
        env
    }

    /// The environment as planned: values that are to be prepared are [`Value::Later`].
    pub fn planned(&self) -> Environment {
        self.environment(|bound| match &bound.value {
            Value::Later(name) if !self.recipes.iter().any(|r| r.name == *name) => None,
            value => Some(value.clone()),
        })
    }

    /// Everything, without values.
    pub fn report(&self) -> Report {
        let env = self.planned();
        let assertions = evaluate(&self.assertions, &env, &|name| self.would_give(name));
        let mut problems = self.problems.clone();
        problems.extend(failures(&assertions));
        let mut warnings = self.warnings.clone();
        warnings.extend(doubts(&assertions));
        let files = self.files.iter().map(|f| File {
            name: f.name.clone(),
            origin: f.origin.clone(),
            env_name: f.env_name.clone(),
        });
        let names = env.iter().map(|(name, v)| Name {
            name: name.to_string_lossy().into_owned(),
            from: v.from,
            source: v.source.clone(),
        });
        Report {
            runtime: self.runtime.clone(),
            adapter: self.adapter.clone(),
            backend: self.backend.clone(),
            topology: self.topology,
            profile: self.profile.clone(),
            origins: self.origins.clone(),
            resolvers: self.resolvers.clone(),
            binding: self.binding.clone(),
            files: files.collect(),
            assertions,
            environment: names.collect(),
            summary: self.summary(&env),
            ok: problems.is_empty(),
            problems,
            warnings,
        }
    }

    /// Why a spawn would fail, in one text.
    pub fn refusal(&self) -> Option<String> {
        let report = self.report();
        (!report.ok).then(|| refusal(&self.runtime, self.profile.as_deref(), &report.problems))
    }

    /// Would this origin give its value, as far as is known?
    fn would_give(&self, name: &str) -> Result<(), String> {
        if self.recipes.iter().any(|r| r.name == name) || self.by_themselves.iter().any(|n| n == name) {
            return Ok(());
        }
        let origin = self.origins.iter().find(|o| o.name == name);
        Err(origin.map_or_else(
            || "there is no such origin".to_owned(),
            |o| o.problem.clone().unwrap_or_else(|| format!("here it is {}", o.phase.words())),
        ))
    }

    fn summary(&self, env: &Environment) -> String {
        let Some(profile) = &self.profile else { return self.own(env) };
        match &self.binding {
            Some(binding) => format!("profile {profile}: {}", self.bound_words(binding)),
            None => format!("profile {profile}, which has no binding: {}", self.own(env)),
        }
    }

    fn bound_words(&self, binding: &Binding) -> String {
        let origin = |name: &str| {
            let kind = self.origins.iter().find(|o| o.name == name).map_or("", |o| origin_word(o.kind));
            format!("origin {name} ({kind})")
        };
        let source = match &binding.source {
            Source::Origin(name) => origin(name),
            Source::Resolver(name) => format!("resolver {name}"),
            Source::SecretRef(key) => format!("key {} of the Secret {}", key.key, key.name),
            Source::Environment => "what the environment holds".to_owned(),
        };
        match binding.kind {
            BindingType::ClaudeApiKeyHelper => format!("{source} as Claude's apiKeyHelper"),
            kind => format!("{source} as {} ({})", binding.target, binding_word(kind)),
        }
    }

    /// What the CLI finds by itself.
    fn own(&self, env: &Environment) -> String {
        let names = OWN.iter().find(|(a, _)| *a == self.adapter).map_or(&[][..], |(_, names)| names);
        let found = names.iter().find_map(|n| Some((n, env.get(n).filter(|v| v.value.is_there())?)));
        match found {
            Some((name, v)) => format!("the variable {name} ({}), or the CLI's own login", v.from.word()),
            None => "the CLI's own login".to_owned(),
        }
    }
}

/// Why an agent cannot start, for a person.
pub(in super::super) fn refusal(runtime: &str, profile: Option<&str>, problems: &[String]) -> String {
    let of = profile.map(|p| format!(", profile {p}")).unwrap_or_default();
    format!(
        "the credentials of runtime {runtime}{of} do not come together: {}; `fracta auth diagnose --runtime {runtime}` shows the whole plan",
        problems.join("; ")
    )
}

/// Holds an environment against the assertions. `given`: did (or would) this origin give its value?
pub(in super::super) fn evaluate(
    names: &AssertionNames,
    env: &Environment,
    given: &dyn Fn(&str) -> Result<(), String>,
) -> Vec<Assertion> {
    let mut all = Vec::new();
    let mut add = |kind, name: &str, bad: Option<String>, outcome| {
        let outcome = if bad.is_some() { outcome } else { Outcome::Pass };
        all.push(Assertion { kind, name: name.to_owned(), outcome, why: bad });
    };
    let missing = |name: &str| (!env.has(name)).then(|| "it is not set".to_owned());
    for name in &names.require_env {
        add(AssertionKind::RequireEnv, name, missing(name), Outcome::Fail);
    }
    for name in &names.forbid_env {
        let from: Option<Layer> = env.get(name).filter(|v| v.value.is_there()).map(|v| v.from);
        let why =
            from.map(|from| format!("it is set ({}); \"\" in the profile's env takes it away", from.word()));
        add(AssertionKind::ForbidEnv, name, why, Outcome::Fail);
    }
    for name in &names.require_source {
        add(AssertionKind::RequireSource, name, given(name).err(), Outcome::Fail);
    }
    for name in &names.warn_if_missing_env {
        add(AssertionKind::WarnIfMissingEnv, name, missing(name), Outcome::Warn);
    }
    all
}

/// The assertions that do not hold, as texts.
pub(in super::super) fn failures(all: &[Assertion]) -> Vec<String> {
    texts(all, Outcome::Fail)
}

pub(in super::super) fn doubts(all: &[Assertion]) -> Vec<String> {
    texts(all, Outcome::Warn)
}

fn texts(all: &[Assertion], outcome: Outcome) -> Vec<String> {
    let bad = all.iter().filter(|a| a.outcome == outcome);
    bad.map(|a| format!("{} {}: {}", a.kind.word(), a.name, a.why.as_deref().unwrap_or_default())).collect()
}
