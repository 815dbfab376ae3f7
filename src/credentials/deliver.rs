//! The third step: values where they belong, held against the assertions. Pure.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::Topology;
use super::environment::{Environment, KeyRef, Value};
use super::mask::SHORTEST;
use super::plan::reporting::{doubts, evaluate, failures, refusal};
use super::plan::{Content, Helper, Plan};
use super::prepare::Prepared;

/// What one process of an agent gets. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Delivery {
    pub topology: Topology,
    /// The final environment. On a host it is complete; in a cluster it is what the image does not set, and a
    /// backend makes of each [`Value`] what it says: only [`Value::Plain`] may stand in a pod's spec.
    pub env: Environment,
    /// Files of mode 0600, under the folder that the plan was made for.
    pub files: Vec<SecretFile>,
    /// For Claude's settings.
    pub helper: Option<Helper>,
    /// Every secret value that fracta holds of this process, with a name for it.
    pub known: Vec<(String, SecretString)>,
    /// For people.
    pub warnings: Vec<String>,
}

/// A file that only the agent reads.
#[derive(Clone)]
pub struct SecretFile {
    pub name: String,
    /// As the agent sees it.
    pub path: PathBuf,
    pub content: FileContent,
}

/// What is in it.
#[derive(Clone)]
pub enum FileContent {
    Secret(SecretString),
    /// Mounted from a Secret that is there.
    SecretKey(KeyRef),
}

/// Why an agent does not start. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Puts the prepared values into the plan. `files`: the folder of [`super::plan::Request::files`].
///
/// # Errors
/// A problem of the plan, a required origin that failed, an assertion that does not hold: all of them at once.
pub fn deliver(plan: &Plan, prepared: &Prepared, files: &std::path::Path) -> Result<Delivery, Refusal> {
    let env = plan.environment(|bound| match &bound.value {
        Value::Later(name) => prepared.value(name).cloned().map(Value::Secret),
        Value::Plain(_) if !file_is_there(plan, prepared, &bound.name) => None,
        value => Some(value.clone()),
    });
    let given = |name: &str| match prepared.failure(name) {
        Some(failure) => Err(failure.to_string()),
        None if prepared.value(name).is_some() || plan.by_themselves.iter().any(|n| n == name) => Ok(()),
        None => Err("it gave no value".to_owned()),
    };
    let assertions = evaluate(&plan.assertions, &env, &given);
    let mut problems = plan.problems.clone();
    let mut warnings = plan.warnings.clone();
    for recipe in &plan.recipes {
        if let Some(failure) = prepared.failure(&recipe.name) {
            let to = if recipe.required { &mut problems } else { &mut warnings };
            to.push(format!("{}: {failure}", recipe.name));
        }
    }
    problems.extend(failures(&assertions));
    warnings.extend(doubts(&assertions));
    if !problems.is_empty() {
        return Err(Refusal(refusal(&plan.runtime, plan.profile.as_deref(), &problems)));
    }
    let files = plan.files.iter().filter_map(|f| {
        let content = match &f.content {
            Content::Later(origin) => FileContent::Secret(prepared.value(origin)?.clone()),
            Content::Secret(text) => FileContent::Secret(text.clone()),
            Content::SecretKey(key) => FileContent::SecretKey(key.clone()),
        };
        Some(SecretFile { name: f.name.clone(), path: files.join(&f.name), content })
    });
    Ok(Delivery {
        topology: plan.topology,
        files: files.collect(),
        helper: plan.helper.clone(),
        known: known(&env, prepared),
        warnings,
        env,
    })
}

/// A variable that tells a file's path is only set where there is the file.
fn file_is_there(plan: &Plan, prepared: &Prepared, variable: &str) -> bool {
    let file = plan.files.iter().find(|f| f.env_name.as_deref() == Some(variable));
    file.is_none_or(|f| match &f.content {
        Content::Later(origin) => prepared.value(origin).is_some(),
        Content::Secret(_) | Content::SecretKey(_) => true,
    })
}

/// By the names of origins first, then by those of variables. What only sounds like a secret and is too short for
/// one (`off`, nothing at all) is left out.
fn known(env: &Environment, prepared: &Prepared) -> Vec<(String, SecretString)> {
    let mut all: Vec<(String, SecretString)> =
        prepared.values().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    for (name, variable) in env.iter() {
        if let Value::Secret(value) = &variable.value
            && value.expose_secret().len() >= SHORTEST
            && !all.iter().any(|(_, v)| v.expose_secret() == value.expose_secret())
        {
            all.push((name.to_string_lossy().into_owned(), value.clone()));
        }
    }
    all
}
