//! The second step: getting the values that are to be got now. Each origin has its own patience, and all are
//! asked at once.

mod command;
mod http;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};

use super::environment::Environment;
use super::plan::{Place, Plan, Recipe, Way};

/// Longest value, in bytes. The system takes no variable beyond 128 KiB.
pub const MAX_VALUE: usize = 64 << 10;

/// What programs are run as.
pub struct Context<'a> {
    /// The project's root: where the control plane runs them.
    pub root: &'a Path,
    /// The control plane's environment.
    pub host: &'a BTreeMap<OsString, OsString>,
    /// The agent's working folder.
    pub cwd: &'a Path,
}

/// What came of it, by the names of origins and resolvers. No `Debug`: it holds secrets.
#[derive(Default)]
pub struct Prepared {
    all: BTreeMap<String, Result<SecretString, Failure>>,
}

impl Prepared {
    pub(super) fn value(&self, name: &str) -> Option<&SecretString> {
        self.all.get(name)?.as_ref().ok()
    }

    pub(super) fn failure(&self, name: &str) -> Option<&Failure> {
        self.all.get(name)?.as_ref().err()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.all.iter().filter_map(|(name, v)| Some((name.as_str(), v.as_ref().ok()?)))
    }
}

/// Why an origin gave nothing. Holds no output and no value; of a command its first word alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0} cannot be run: {1}")]
    Start(String, std::io::ErrorKind),
    #[error("{0} ended with exit code {1}")]
    Exit(String, i32),
    #[error("{0} was ended by signal {1}")]
    Signal(String, i32),
    #[error("{0} gave nothing within {1} ms and was ended with all that it had started")]
    Late(String, u128),
    #[error("{0} gave more than {MAX_VALUE} bytes, which is no credential")]
    Long(String),
    #[error("{0} gave nothing")]
    Empty(String),
    #[error("what {0} gave is no text (UTF-8)")]
    NoText(String),
    #[error("what {0} gave holds a line break; only a file can hold one")]
    Lines(String),
    #[error("what {0} gave holds a control character")]
    Control(String),
    #[error("the request to {host} failed: {why}")]
    Http { host: String, why: String },
}

/// Gets all values of the plan.
pub async fn prepare(plan: &Plan, context: &Context<'_>) -> Prepared {
    let agent = plan.planned();
    let asked =
        plan.recipes.iter().map(|recipe| async { (recipe.name.clone(), one(recipe, &agent, context).await) });
    let all = join_all(asked).await.into_iter().collect::<BTreeMap<_, _>>();
    for (name, result) in &all {
        match result {
            Ok(_) => tracing::debug!(origin = name, "credential prepared"),
            Err(failure) => tracing::warn!(origin = name, error = %failure, "credential not prepared"),
        }
    }
    Prepared { all }
}

async fn one(recipe: &Recipe, agent: &Environment, context: &Context<'_>) -> Result<SecretString, Failure> {
    let (word, value) = match &recipe.way {
        Way::Value(value) => ("the variable".to_owned(), value.clone()),
        Way::Command { argv, word, place } => {
            let inherited: Vec<(OsString, OsString)> = match place {
                Place::ControlPlane => context.host.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
                Place::Agent => agent
                    .iter()
                    .filter_map(|(name, v)| Some((name.to_owned(), v.value.text()?.to_owned())))
                    .collect(),
            };
            let cwd = if *place == Place::Agent { context.cwd } else { context.root };
            let run = command::Run { argv, word, env: inherited, cwd, timeout: recipe.timeout };
            (word.clone(), text(word, run.output().await?)?)
        }
        Way::Http(request) => {
            let host = http::host(request);
            let value = http::token(request, recipe.timeout).await;
            let value = value.map_err(|why| Failure::Http { host: host.clone(), why })?;
            (host, value)
        }
    };
    checked(&word, &value, recipe.lines)
}

fn text(word: &str, bytes: Vec<u8>) -> Result<SecretString, Failure> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(e) => {
            use secrecy::zeroize::Zeroize;
            e.into_bytes().zeroize();
            Err(Failure::NoText(word.to_owned()))
        }
    }
}

/// Without the white space around it, and such that a variable, a header or a file can hold it.
fn checked(word: &str, value: &SecretString, lines: bool) -> Result<SecretString, Failure> {
    let value = value.expose_secret().trim();
    if value.is_empty() {
        return Err(Failure::Empty(word.to_owned()));
    }
    if value.len() > MAX_VALUE {
        return Err(Failure::Long(word.to_owned()));
    }
    let breaks = |c: char| matches!(c, '\n' | '\r');
    if value.contains(|c: char| c.is_control() && c != '\t' && !breaks(c)) {
        return Err(Failure::Control(word.to_owned()));
    }
    if !lines && value.contains(breaks) {
        return Err(Failure::Lines(word.to_owned()));
    }
    Ok(value.to_owned().into())
}
