//! Ids of models on Amazon Bedrock that a CLI would change, or cannot mean.
//!
//! OpenCode puts the prefix of a geography before an id that has none (`us.`, `eu.`, `jp.`, `apac.`, `au.`). In
//! Australia it knows only some models to be `au.` and makes `apac.` of the others, which Bedrock does not have
//! there; so ids for those regions are to be written whole. (As of 1.18.33.)

use super::agents::RuntimeConfig;
use super::choose::Chosen;
use super::diagnostic::{Problem, quote};
use super::expand::Text;
use super::schema::Config;

const PROVIDER: &str = "amazon-bedrock/";
const REGION: &str = "AWS_REGION";
/// Prefixes of geographies, which OpenCode leaves as they are.
const PREFIXES: [&str; 6] = ["global", "us", "eu", "jp", "apac", "au"];

/// What is doubtful about the models of all runtimes, as far as `env` and the file tell the region.
pub(super) fn doubts(config: &Config, env: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
    config.runtimes().flat_map(|r| of_runtime(config, r, env)).collect()
}

fn of_runtime(config: &Config, chosen: Chosen<'_>, env: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
    let runtime = chosen.config;
    let tiers = runtime.model_tiers.tiers();
    let models = runtime.model.iter().chain(tiers.iter().filter_map(|t| runtime.model_tiers.get(*t)));
    let region = region(config, runtime, env);
    models
        .filter_map(|text| {
            let model = text.expand(env).ok()?;
            let (message, hint) = doubt(chosen.adapter, &model, region.as_deref())?;
            Some(Problem::warning(text.place(), text.key(), message).hint(hint))
        })
        .collect()
}

/// The region of local agents: of the profile's `env`, else the runtime's, else inherited.
fn region(config: &Config, runtime: &RuntimeConfig, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let name = Config::expanded(runtime.auth_profile.as_ref(), env).ok().flatten();
    let profile = name.and_then(|n| config.auth.credentials.profiles.get(&n)).and_then(|p| p.env.get(REGION));
    let text: Option<&Text> = profile.or_else(|| runtime.env.get(REGION));
    match text {
        Some(text) => text.expand(env).ok(),
        None => env(REGION),
    }
    .filter(|r| !r.is_empty())
}

fn doubt(adapter: &str, model: &str, region: Option<&str>) -> Option<(String, Option<String>)> {
    match (adapter, model.strip_prefix(PROVIDER)) {
        ("opencode", Some(id)) => opencode(id, region?),
        ("opencode", None) if !model.contains('/') => {
            let message = format!(
                "OpenCode names a model by its provider, PROVIDER/MODEL, and {} has none",
                quote(model)
            );
            let on_bedrock = model.contains("anthropic.") || model.contains("amazon.");
            Some((message, on_bedrock.then(|| format!("did you mean \"{PROVIDER}{model}\"?"))))
        }
        ("claude", Some(id)) => {
            let message =
                format!("{PROVIDER} is OpenCode's word; Claude Code sends the id to Bedrock as it stands");
            Some((message, Some(format!("write {id:?}"))))
        }
        _ => None,
    }
}

fn opencode(id: &str, region: &str) -> Option<(String, Option<String>)> {
    let geography = geography(region)?;
    let prefix = id.split_once('.').map(|(p, _)| p).filter(|p| PREFIXES.contains(p));
    let whole = |id: &str| Some(format!("write \"{PROVIDER}{geography}.{id}\""));
    match prefix {
        Some("global") => None,
        Some(p) if p == geography || (p == "apac" && geography == "jp") => None,
        Some(p) => {
            let message =
                format!("the region is {region}, and ids that start with {p:?} are those of another");
            Some((message, whole(&id[p.len() + 1..])))
        }
        None if geography == "au" => {
            let made = rewritten(id)?;
            let message = format!("in {region} OpenCode would make {made:?} of this id");
            Some((message, whole(id)))
        }
        None => None,
    }
}

/// The prefix of ids in a region; none where there is no such.
fn geography(region: &str) -> Option<&'static str> {
    match region {
        "ap-southeast-2" | "ap-southeast-4" => Some("au"),
        "ap-northeast-1" => Some("jp"),
        r if r.starts_with("us-gov") => None,
        r if r.starts_with("us-") => Some("us"),
        r if r.starts_with("eu-") => Some("eu"),
        r if r.starts_with("ap-") => Some("apac"),
        _ => None,
    }
}

/// What OpenCode makes of an id without prefix in Australia.
fn rewritten(id: &str) -> Option<String> {
    let has = |parts: &[&str]| parts.iter().any(|p| id.contains(p));
    if id.starts_with("arn:") {
        None
    } else if has(&["anthropic.claude-sonnet-4-5", "anthropic.claude-haiku"]) {
        Some(format!("au.{id}"))
    } else if has(&["claude", "nova-lite", "nova-micro", "nova-pro"]) {
        Some(format!("apac.{id}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(adapter: &str, model: &str, region: &str) -> Option<String> {
        let (message, hint) = doubt(adapter, model, Some(region))?;
        Some(format!("{message} ({})", hint.unwrap_or_default()))
    }

    #[test]
    fn ids_that_opencode_would_change_are_told_with_the_right_one() {
        let sydney = |model: &str| said("opencode", model, "ap-southeast-2");
        assert_eq!(
            sydney("amazon-bedrock/anthropic.claude-opus-4-6-v1").unwrap(),
            "in ap-southeast-2 OpenCode would make \"apac.anthropic.claude-opus-4-6-v1\" of this id (write \"amazon-bedrock/au.anthropic.claude-opus-4-6-v1\")"
        );
        assert!(sydney("amazon-bedrock/anthropic.claude-haiku-4-5").unwrap().contains("\"au.anthropic"));
        let other = sydney("amazon-bedrock/us.anthropic.claude-opus-4-6-v1").unwrap();
        assert!(other.ends_with("(write \"amazon-bedrock/au.anthropic.claude-opus-4-6-v1\")"), "{other}");
        for fine in [
            "amazon-bedrock/au.anthropic.claude-opus-4-6-v1",
            "amazon-bedrock/global.anthropic.claude-opus-4-6-v1",
            "amazon-bedrock/arn:aws:bedrock:ap-southeast-2:1:inference-profile/claude",
            "amazon-bedrock/meta.llama3-8b",
            "anthropic/claude-sonnet-4-6",
        ] {
            assert_eq!(sydney(fine), None, "{fine}");
        }
        assert_eq!(said("opencode", "amazon-bedrock/anthropic.claude-x", "us-east-1"), None);
        assert!(said("opencode", "amazon-bedrock/au.anthropic.claude-x", "eu-west-1").is_some());
        assert_eq!(doubt("opencode", "amazon-bedrock/anthropic.claude-x", None), None);
    }

    #[test]
    fn ids_in_another_clis_words_are_told() {
        let bare = said("opencode", "au.anthropic.claude-x", "ap-southeast-2").unwrap();
        assert!(bare.ends_with("(did you mean \"amazon-bedrock/au.anthropic.claude-x\"?)"), "{bare}");
        assert!(said("claude", "amazon-bedrock/au.x", "ap-southeast-2").unwrap().contains("\"au.x\""));
        assert_eq!(said("claude", "au.x", "ap-southeast-2"), None);
        assert_eq!(said("codex", "gpt-5.5", "ap-southeast-2"), None);
    }
}
