//! Credentials, from fracta.yaml to the model endpoint.

mod diagnose;
mod helpers;
mod real_cli;
mod secrecy_real_cli;
mod tls;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::plane_support::{Plane, Setup, is_turn_end};

/// A project with credential profiles.
pub struct World {
    pub plane: Plane,
    /// For helpers and what they write down.
    pub scripts: tempfile::TempDir,
}

impl World {
    /// `env`: of the control plane. `make` gives what stands under `agent_runtimes` and `profiles`.
    pub fn new(env: &[(&str, &str)], make: impl FnOnce(&Self) -> (Value, Value)) -> Self {
        let env = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
        let plane = Plane::without_cli(Setup { env, ..Setup::default() });
        let world = Self { plane, scripts: tempfile::tempdir().unwrap() };
        world.homes();
        let (runtimes, profiles) = make(&world);
        let config = json!({
            "agents": {"agent_runtimes": runtimes},
            "auth": {"credentials": {"profiles": profiles}},
        });
        world.plane.project.write("fracta.yaml", &format!("{config:#}\n"));
        world
    }

    /// The CLIs take their key from where credentials go, not from the homes.
    fn homes(&self) {
        let dir = &self.plane.homes.dir;
        let codex = dir.join("codex/config.toml");
        let text = std::fs::read_to_string(&codex).unwrap().replace("FRACTA_DEMO_KEY", "OPENAI_API_KEY");
        std::fs::write(codex, text).unwrap();
        let base = self.plane.model.base_url();
        let model =
            json!({"name": "Scripted", "tool_call": true, "limit": {"context": 200_000, "output": 32_000}});
        let opencode = json!({
            "$schema": "https://opencode.ai/config.json", "autoupdate": false, "share": "disabled",
            "provider": {
                "amazon-bedrock": {"options": {"endpoint": base}, "models": {"au.anthropic.claude-sonnet-4-6": model}},
                "openai": {"options": {"baseURL": format!("{base}/v1")}, "models": {"gpt-5.5": model}},
            },
        });
        let path = dir.join("opencode/config/opencode/opencode.json");
        std::fs::write(path, opencode.to_string()).unwrap();
    }

    /// The entry of a runtime: its home, without any key in its environment, and `more`.
    pub fn runtime(&self, adapter: &str, more: Value) -> Value {
        let homes = &self.plane.homes;
        let env = match adapter {
            "claude" => &homes.claude,
            "codex" => &homes.codex,
            _ => &homes.opencode,
        };
        let env: Map<String, Value> =
            env.iter().filter(|(k, _)| !k.ends_with("_KEY")).map(|(k, v)| (k.clone(), json!(v))).collect();
        let mut entry = json!({"adapter": adapter, "permissions": "auto", "env": env});
        match adapter {
            "codex" => {
                entry["model"] = json!("gpt-5.5");
                entry["command"] = json!(["codex", "-c", "sandbox_mode=danger-full-access"]);
            }
            "opencode" => entry["model"] = json!("openai/gpt-5.5"),
            _ => {}
        }
        let Value::Object(more) = more else { panic!("no object") };
        for (key, value) in more {
            match (&mut entry[&key], value) {
                (Value::Object(there), Value::Object(own)) => there.extend(own),
                (there, value) => *there = value,
            }
        }
        entry
    }

    /// A script whose output is `PREFIX-1`, then `PREFIX-2`, …: the words to run it, and how often it ran.
    pub fn counter(&self, prefix: &str) -> Counter {
        let (script, log) =
            (self.scripts.path().join(format!("{prefix}.sh")), self.scripts.path().join(prefix));
        let text = format!(
            "echo x >> '{}'\nprintf '%s-%s\\n' '{prefix}' $(wc -l < '{}')\n",
            log.display(),
            log.display()
        );
        std::fs::write(&script, text).unwrap();
        Counter { script, log }
    }

    /// Starts an agent and waits for its turn's end; which must be good.
    pub async fn first(&self, name: &str, runtime: &str, mode: &str, contract: &str) -> u64 {
        let args = ["spawn", "--task", name, "--runtime", runtime, "--mode", mode, "--contract", contract];
        self.plane.json(&args).await;
        self.end(name, 0).await
    }

    /// Another turn. Gives the number of its last event.
    pub async fn next(&self, name: &str, after: u64, text: &str) -> u64 {
        self.plane.run(&["say", name, text]).await.ok();
        self.end(name, after).await
    }

    pub async fn end(&self, name: &str, after: u64) -> u64 {
        let mut follow = self.plane.follow(name, after);
        // (The process of the turn before may end after its turn.)
        let failed = |e: &Value| e["kind"] == "session.ended" && e["state"] == "failed";
        let end = follow.until(|e| is_turn_end(e) || failed(e)).await;
        assert_eq!(end["outcome"], "completed", "{:#?}", follow.seen);
        end["seq"].as_u64().unwrap()
    }

    /// The credentials that came with the requests to the model, of all since the last question.
    pub fn keys(&self, since: &mut u64) -> Vec<String> {
        let all = self.plane.model.requests();
        let fresh = all.iter().filter(|r| r.number > *since && r.method == "POST");
        let key = |r: &fracta::demo::model::Recorded| {
            let bearer = r.header("authorization").map(|v| v.trim_start_matches("Bearer ").to_owned());
            bearer.or_else(|| r.header("x-api-key").map(str::to_owned)).unwrap_or_default()
        };
        let mut keys: Vec<String> = fresh.map(key).collect();
        keys.dedup();
        *since = all.last().map_or(*since, |r| r.number);
        keys
    }

    /// The folder with the settings and credentials of an agent's process.
    pub fn settings(&self, session: &str) -> PathBuf {
        self.plane.layout().session_dir(session).join("settings")
    }
}

/// A helper that counts how often it is asked.
pub struct Counter {
    script: PathBuf,
    log: PathBuf,
}

impl Counter {
    pub fn argv(&self) -> Value {
        json!(["sh", self.script])
    }

    pub fn shell(&self) -> String {
        format!("sh '{}'", self.script.display())
    }

    pub fn calls(&self) -> usize {
        std::fs::read_to_string(&self.log).unwrap_or_default().lines().count()
    }
}

/// All files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            t if t.is_dir() => all.extend(files(&entry.path())),
            t if t.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}
