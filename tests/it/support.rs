//! What integration tests share: the real CLIs, throw-away projects, isolated homes.
#![allow(dead_code)] // each test module uses its own part of it

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fracta::demo::homes::{self, Homes};
use fracta::demo::model::ModelServer;
use tempfile::TempDir;

/// PATH with the folder of `FRACTA_TEST_CLIS` first.
pub fn clis_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::var_os("FRACTA_TEST_CLIS").map(PathBuf::from);
    let folders = first.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("no folder of PATH holds a colon")
}

/// Where a CLI is, or None when it is not installed: the test then says loudly that it is skipped.
/// With `FRACTA_TEST_REQUIRE_CLIS` set, a missing CLI fails the test instead.
pub fn require_cli(name: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&clis_path()).map(|d| d.join(name)).find(|p| p.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("FRACTA_TEST_REQUIRE_CLIS").is_none(),
            "{name} is not installed, and FRACTA_TEST_REQUIRE_CLIS is set: put its folder into FRACTA_TEST_CLIS"
        );
        note(&format!("SKIPPED: {name} is neither in FRACTA_TEST_CLIS nor on PATH"));
    }
    found
}

/// Where a version of a CLI is that is installed beside the usual one: `CLI-VERSION/bin/CLI` in the folder
/// of `FRACTA_TEST_OLD`. None as with [`require_cli`].
pub fn require_version(cli: &str, version: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FRACTA_TEST_OLD").map(PathBuf::from);
    let found = folder.map(|f| f.join(format!("{cli}-{version}/bin/{cli}"))).filter(|p| p.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("FRACTA_TEST_REQUIRE_CLIS").is_none(),
            "{cli} {version} is not installed, and FRACTA_TEST_REQUIRE_CLIS is set: \
             `scripts/test` installs it, or put {cli}-{version}/bin into the folder of FRACTA_TEST_OLD"
        );
        note(&format!("SKIPPED: there is no {cli}-{version}/bin/{cli} in the folder of FRACTA_TEST_OLD"));
    }
    found
}

/// The oldest version of a CLI that fracta was tried with, as [`require_version`].
pub fn require_oldest(cli: &str) -> Option<PathBuf> {
    let oldest = fracta::runtime::versions::all().find(|t| t.cli == cli).unwrap();
    require_version(cli, oldest.version)
}

/// Says something on the test's stderr.
pub fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Installs the TLS provider that building a reqwest client needs; harmless when done twice.
pub fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A throw-away folder with a git repository in `repo` and isolated homes beside it.
pub struct TestProject {
    dir: TempDir,
}

impl TestProject {
    /// A repository with one commit that holds `README.md`.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("fracta-test-").tempdir().unwrap();
        let repo = dir.path().join("repo");
        std::fs::create_dir(&repo).unwrap();
        let p = Self { dir };
        p.write("README.md", "# Test project\n");
        p.git(&["init", "-q", "-b", "main"]);
        p.git(&["config", "user.name", "Test"]);
        p.git(&["config", "user.email", "test@example.invalid"]);
        p.git(&["add", "-A"]);
        p.git(&["commit", "-q", "-m", "first"]);
        p
    }

    /// The folder that holds everything; gone when this is dropped.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// Writes a file of the repository (not committed).
    pub fn write(&self, path: &str, text: &str) {
        let full = self.repo().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, text).unwrap();
    }

    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.repo().join(path)).ok()
    }

    /// Runs git in the repository; its output without the last line end.
    pub fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git")
            .args(args)
            .current_dir(self.repo())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    /// Isolated homes of all CLIs, pointing at `model`.
    pub fn homes(&self, model: &ModelServer) -> Homes {
        homes::make(&self.dir.path().join("homes"), &model.base_url()).unwrap()
    }

    /// The environment that makes claude speak to `model`.
    pub fn claude_env(&self, model: &ModelServer) -> Vec<(String, String)> {
        self.homes(model).claude
    }

    /// A `CODEX_HOME` for `model`, with the variables that codex needs (CODEX_HOME, the key, HOME).
    pub fn codex_env(&self, model: &ModelServer) -> Vec<(String, String)> {
        self.homes(model).codex
    }
}
