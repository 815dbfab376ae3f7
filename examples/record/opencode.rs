//! What is recorded of OpenCode for the demo.

use std::path::Path;

use anyhow::Result;
use fracta::demo::homes::OPENCODE_MODEL;
use fracta::demo::script::demo;
use serde_json::json;

use crate::driver::Process;
use crate::scenarios::Stage;

/// All of them `opencode run`: its other mode is a server.
pub const NAMES: &[&str] = &["batch-demo-summary", "batch-demo-anything"];

pub async fn record(name: &str, opencode: &Path, version: &str) -> Result<String> {
    let prompt = match name {
        "batch-demo-summary" => demo::SUMMARY,
        _ => demo::ANYTHING,
    };
    let mut stage = Stage::new(name)?;
    let args = ["run", "--format", "json", "--model", OPENCODE_MODEL].map(str::to_owned);
    let mut env = stage.project.homes.opencode.clone();
    let allow = json!({"permission": {"edit": "allow", "bash": "allow", "task": "deny"}});
    env.push(("OPENCODE_CONFIG_CONTENT".to_owned(), allow.to_string()));
    let mut p = Process::start(opencode, &args, &stage.project.root, &env)?;
    p.feed(prompt).await?;
    // Its first line comes late; after the last one it ends by itself.
    p.until(|v| v["type"] == "step_finish" && v["part"]["reason"] != "tool-calls").await?;
    let exit = p.end().await?;
    let header = json!({
        "cli": "opencode", "version": version, "mode": "batch", "scenario": name, "exit": exit,
        "prompt": prompt, "made_by": "cargo run --example record"
    });
    Ok(p.recording(header, &mut stage.scrub))
}
