//! Workspaces with the real git.

mod create;
mod diff;
mod merge;
mod remove;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fracta::control::wire::Diff;
use fracta::id::AgentName;
use fracta::paths::Layout;
use fracta::workspace::{self, Workspace, WorkspaceError, WorkspaceKind};

const LIMIT: usize = 1 << 20;

/// A repository with one commit on `main`, in a folder of its own with nothing of the user's settings.
struct Repo {
    _home: tempfile::TempDir,
    root: PathBuf,
}

impl Repo {
    fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap().join("project");
        fs::create_dir(&root).unwrap();
        let repo = Self { _home: home, root };
        repo.git(&["init", "-q", "-b", "main"]);
        for (key, value) in
            [("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgSign", "false")]
        {
            repo.git(&["config", key, value]);
        }
        // Also where the user has hooks of their own for all repositories.
        repo.git(&["config", "core.hooksPath", repo.root.join(".git/hooks").to_str().unwrap()]);
        repo
    }

    fn new() -> Self {
        let repo = Self::empty();
        repo.write("a.txt", "one\ntwo\nthree\n");
        repo.write(".gitignore", "target/\n*.log\n");
        repo.commit("first");
        repo
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.root)
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.root, args)
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.root, path, text);
    }

    fn commit(&self, message: &str) -> String {
        commit(&self.root, message)
    }

    fn hook(&self, name: &str, script: &str) {
        let hooks = self.root.join(".git/hooks");
        fs::create_dir_all(&hooks).unwrap();
        fs::write(hooks.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn plan(&self, base: Option<&str>) -> Result<Workspace, WorkspaceError> {
        workspace::plan(&self.layout(), &name("ann"), base, WorkspaceKind::Auto).await
    }

    async fn agent(&self) -> Workspace {
        self.agent_named("ann").await
    }

    async fn agent_named(&self, agent: &str) -> Workspace {
        let ws = workspace::plan(&self.layout(), &name(agent), None, WorkspaceKind::Auto).await.unwrap();
        workspace::create(&ws).await.unwrap();
        ws
    }

    async fn merge(&self, ws: &Workspace) -> Result<fracta::control::wire::Merged, WorkspaceError> {
        workspace::merge(ws, &self.root).await
    }

    /// All that a refused merge must leave as it was: files, index, branches of both sides.
    fn state(&self, ws: &Workspace) -> Vec<String> {
        let mut state = vec![self.git(&["for-each-ref"]), self.git(&["worktree", "list"])];
        for dir in [&self.root, &ws.dir] {
            state.push(git(dir, &["status", "--porcelain=v2", "--branch", "-uall", "--ignored"]));
            state.push(git(dir, &["diff", "HEAD"]));
        }
        state
    }
}

fn name(name: &str) -> AgentName {
    name.parse().unwrap()
}

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git").args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(dir: &Path, path: &str) -> String {
    fs::read_to_string(dir.join(path)).unwrap()
}

fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
    git(dir, &["rev-parse", "HEAD"])
}

fn paths(diff: &Diff) -> Vec<&str> {
    let mut paths: Vec<_> = diff.files.iter().map(|f| f.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

async fn diff_of(ws: &Workspace) -> Diff {
    workspace::diff(ws, LIMIT).await.unwrap()
}
