//! The demo's throw-away project: a small repository, isolated homes, and a `fracta.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::homes::{self, CODEX_MODEL, Homes, OPENCODE_MODEL};
use super::script::demo;
use crate::runtime::{Mode, Permissions};

/// An agent of the demo, to be spawned by whoever shows it.
#[derive(Debug, Clone)]
pub struct DemoAgent {
    pub name: &'static str,
    /// Name of the runtime entry in the demo's `fracta.yaml`.
    pub runtime: &'static str,
    pub mode: Mode,
    pub permissions: Permissions,
    pub contract: &'static str,
}

/// What to run in place of a CLI that is not installed (the replayer), by the CLI's name.
pub type Replayed = BTreeMap<&'static str, Vec<String>>;

/// The project. Everything is removed when it is dropped, so stop its control plane before.
#[derive(Debug)]
pub struct DemoProject {
    dir: TempDir,
    /// The repository, which is the project's root.
    pub root: PathBuf,
    /// Its `fracta.yaml`.
    pub config: PathBuf,
    pub homes: Homes,
    pub agents: Vec<DemoAgent>,
}

impl DemoProject {
    /// Makes the project in a new temporary folder. `base_url` is the scripted model's.
    ///
    /// Needs `git`; blocks for some tens of milliseconds.
    pub fn make(base_url: &str, replayed: &Replayed) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("fracta-demo-").tempdir()?;
        // The CLIs tell resolved paths; on macOS the temporary folder is behind a link.
        let base = fs::canonicalize(dir.path())?;
        let root = base.join("stations");
        let mut homes = homes::make(&base.join("homes"), base_url)?;
        // Codex leaves files in the temporary folder; this one goes with the demo.
        let tmp = base.join("tmp");
        fs::create_dir(&tmp)?;
        homes.codex.push(("TMPDIR".to_owned(), tmp.display().to_string()));
        for (path, text) in FILES {
            let full = root.join(path);
            if let Some(parent) = full.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(full, text)?;
        }
        let config = root.join("fracta.yaml");
        fs::write(&config, fracta_yaml(&homes, replayed))?;
        commit(&root)?;
        Ok(Self { dir, root, config, homes, agents: agents(replayed) })
    }

    /// The temporary folder that holds project and homes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Some agents of each runtime, and of each kind of state. OpenCode's stream mode is not replayed.
fn agents(replayed: &Replayed) -> Vec<DemoAgent> {
    use {
        Mode::{Batch, Stream},
        Permissions::{Ask, Auto},
    };
    let agent =
        |name, runtime, mode, permissions, contract| DemoAgent { name, runtime, mode, permissions, contract };
    let opencode = if replayed.contains_key("opencode") { Batch } else { Stream };
    vec![
        agent("explain", "codex", Stream, Auto, demo::EXPLAIN),
        agent("release", "codex-ask", Stream, Ask, demo::RELEASE),
        agent("nightly", "codex", Batch, Auto, demo::NIGHTLY),
        agent("survey", "claude", Batch, Auto, demo::SURVEY),
        agent("summary", "opencode", opencode, Auto, demo::SUMMARY),
    ]
}

/// Written as YAML's JSON subset inside of YAML keys, so that no path can break it.
fn fracta_yaml(homes: &Homes, replayed: &Replayed) -> String {
    let mut out = String::from(
        "# Made by `fracta demo`: agents talk to a scripted model on this machine, with no account and no key.\n\
         agents:\n  default_runtime: codex\n  default_mode: stream\n  agent_runtimes:\n",
    );
    let dollar = |text: &str| text.replace("${", "$${");
    for (name, adapter, model, permissions, env) in [
        ("codex", "codex", Some(CODEX_MODEL), "auto", &homes.codex),
        ("codex-ask", "codex", Some(CODEX_MODEL), "ask", &homes.codex),
        ("claude", "claude", None, "auto", &homes.claude),
        ("opencode", "opencode", Some(OPENCODE_MODEL), "auto", &homes.opencode),
    ] {
        out.push_str(&format!("    {name}:\n      adapter: {adapter}\n      permissions: {permissions}\n"));
        if let Some(command) = replayed.get(adapter) {
            let words: Vec<String> = command.iter().map(|w| dollar(w)).collect();
            out.push_str(&format!("      command: {}\n", json!(words)));
        }
        if let Some(model) = model {
            out.push_str(&format!("      model: {model}\n"));
        }
        let env: BTreeMap<&str, String> = env.iter().map(|(k, v)| (k.as_str(), dollar(v))).collect();
        out.push_str(&format!("      env: {}\n", json!(env)));
    }
    out
}

/// `git init` and the first commit, by an identity of the demo's own and without the user's hooks
/// and settings.
fn commit(root: &Path) -> io::Result<()> {
    let steps: [&[&str]; 5] = [
        &["init", "-q", "-b", "main"],
        &["config", "user.name", "Fracta Demo"],
        &["config", "user.email", "demo@example.invalid"],
        &["add", "-A"],
        &["commit", "-q", "-m", "Read stations and their readings"],
    ];
    for args in steps {
        let out = Command::new("git")
            .args(args)
            .current_dir(root)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            // The same commit id everywhere, so that recordings do not differ by it.
            .env("GIT_AUTHOR_DATE", "2026-01-05T09:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-05T09:00:00Z")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| {
                io::Error::new(e.kind(), format!("git could not be started: {e}; the demo needs git"))
            })?;
        if !out.status.success() {
            let words = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            return Err(io::Error::other(format!("git {} failed: {words}", args.join(" "))));
        }
    }
    Ok(())
}

const FILES: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = \"stations\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n",
    ),
    (".gitignore", "/target\n"),
    (
        "README.md",
        "# stations\n\nReads temperature readings (`station;tenths of a degree`, one a line) and tells what they hold.\n\n\
         ```\nstations data/readings.txt\n```\n",
    ),
    ("data/readings.txt", "oslo;-42\nlima;187\noslo;-38\ncairo;301\nlima;192\nperth;244\noslo;-51\n"),
    (
        "src/lib.rs",
        "//! Readings of weather stations.\n\nmod parse;\n\npub use parse::{ParseError, parse};\n\n\
         /// One reading.\n#[derive(Debug, Clone, PartialEq, Eq)]\npub struct Reading {\n    pub station: String,\n    \
         /// Tenths of a degree Celsius.\n    pub tenths: i32,\n}\n",
    ),
    (
        "src/parse.rs",
        "//! `station;tenths`, one reading a line.\n\nuse crate::Reading;\n\n\
         /// A line that is no reading; lines count from 1.\n#[derive(Debug, PartialEq, Eq)]\npub struct ParseError(pub usize);\n\n\
         /// Reads all lines, or says which is wrong.\npub fn parse(text: &str) -> Result<Vec<Reading>, ParseError> {\n    \
         text.lines().enumerate().map(|(i, l)| reading(l).ok_or(ParseError(i + 1))).collect()\n}\n\n\
         fn reading(line: &str) -> Option<Reading> {\n    let (station, value) = line.split_once(';')?;\n    \
         Some(Reading { station: station.to_owned(), tenths: value.parse().ok()? })\n}\n\n\
         #[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn a_wrong_line_is_named() {\n        \
         assert_eq!(parse(\"oslo;1\\nlima\"), Err(ParseError(2)));\n    }\n}\n",
    ),
    (
        "src/main.rs",
        "use std::process::ExitCode;\n\nfn main() -> ExitCode {\n    \
         let Some(path) = std::env::args().nth(1) else {\n        eprintln!(\"usage: stations FILE\");\n        return ExitCode::from(2);\n    };\n    \
         let text = match std::fs::read_to_string(&path) {\n        Ok(t) => t,\n        Err(e) => {\n            eprintln!(\"{path}: {e}\");\n            return ExitCode::FAILURE;\n        }\n    };\n    \
         match stations::parse(&text) {\n        Ok(r) => println!(\"{} readings\", r.len()),\n        Err(e) => eprintln!(\"line {} is no reading\", e.0),\n    }\n    ExitCode::SUCCESS\n}\n",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_committed_configured_and_gone_at_the_end() {
        let replayed = [("codex", vec!["replay".to_owned(), "a ${X} b".to_owned()])].into();
        let p = DemoProject::make("http://127.0.0.1:1", &replayed).unwrap();
        let status =
            Command::new("git").args(["status", "--porcelain"]).current_dir(&p.root).output().unwrap();
        assert!(status.status.success() && status.stdout.is_empty(), "all is committed");
        let yaml: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(&p.config).unwrap()).unwrap();
        let runtimes = &yaml["agents"]["agent_runtimes"];
        assert_eq!(runtimes["codex"]["command"], json!(["replay", "a $${X} b"]));
        assert_eq!(runtimes["codex-ask"]["permissions"], "ask");
        assert_eq!(runtimes["claude"]["command"], json!(null), "the installed one");
        for a in &p.agents {
            assert!(runtimes[a.runtime].is_object(), "{} has no runtime {}", a.name, a.runtime);
        }
        let home = runtimes["codex"]["env"]["CODEX_HOME"].as_str().unwrap();
        assert!(
            fs::read_to_string(Path::new(home).join("config.toml"))
                .unwrap()
                .contains("http://127.0.0.1:1/v1")
        );
        let dir = p.dir().to_owned();
        drop(p);
        assert!(!dir.exists());
    }
}
