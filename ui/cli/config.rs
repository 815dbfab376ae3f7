//! `config check` and `config schema`.

use std::process::ExitCode;

use fracta::config;

use super::args::{self, ConfigVerb};
use super::context::Context;
use super::out;

pub fn run(context: &Context, args: args::Config) -> anyhow::Result<ExitCode> {
    match args.verb {
        ConfigVerb::Schema => {
            let mut text = serde_json::to_string_pretty(&config::json_schema())?;
            text.push('\n');
            out::text(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        ConfigVerb::Check => check(context),
    }
}

fn check(context: &Context) -> anyhow::Result<ExitCode> {
    let (diagnostics, file) = match config::load(context.config.as_deref(), &context.cwd()?) {
        Ok(loaded) => {
            let mut all = loaded.warnings.clone();
            all.extend(loaded.unset(&config::process_env));
            all.extend(loaded.doubts(&config::process_env));
            (all, loaded.file)
        }
        Err(e) => (e.diagnostics, None),
    };
    let bad = diagnostics.iter().any(config::Diagnostic::is_error);
    if context.json {
        out::json(&diagnostics)?;
    } else {
        for d in &diagnostics {
            out::line(&d.to_string())?;
        }
        if !bad {
            let which = file.map_or_else(
                || "there is no fracta.yaml; the defaults".to_owned(),
                |f| f.display().to_string(),
            );
            out::line(&format!("{which}: ok"))?;
        }
    }
    Ok(ExitCode::from(if bad { 2 } else { 0 }))
}
