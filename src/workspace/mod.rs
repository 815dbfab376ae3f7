//! Where an agent works.
//!
//! - `worktree` (the default in a git repository): a git worktree of its own under
//!   `.fracta/worktrees/AGENT`, on a new branch `fracta/AGENT`. Agents do not see each other's work, and
//!   it can be compared with its base and merged.
//! - `directory` (the default elsewhere): the project's root itself, shared by all agents. An empty
//!   folder of its own would be of no use for work on the project. There is no base, so there is
//!   nothing to compare or merge, and killing the agent removes nothing.
//!
//! Everything goes through the user's git (see [`git`]); repositories are changed only by [`create`],
//! [`merge`] and [`remove`]. Run these three to their end (in a task of their own): dropping their
//! future kills git in the middle.

mod diff;
mod directory;
mod error;
pub mod git;
mod merge;
mod orphans;
mod snapshot;
mod worktree;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::wire;
use crate::id::AgentName;
use crate::paths::Layout;

pub use error::WorkspaceError;
pub use orphans::{Orphan, orphans};

/// One repository change at a time in this process; git's own locks guard against other processes.
static CHANGES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What kind of workspace is wanted (`project.workspace`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// A worktree in a git repository, else the folder.
    #[default]
    Auto,
    Worktree,
    Directory,
}

/// What kind of workspace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Worktree,
    Directory,
}

/// One agent's workspace: a plan until [`create`] made it. Kept as JSON in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Top folder of the worktree, or the project's root.
    pub dir: PathBuf,
    /// The agent's own branch; none in a directory.
    pub branch: Option<String>,
    /// Name of what it started from, for people.
    pub base: Option<String>,
    /// The commit it started from.
    pub base_commit: Option<String>,
    kind: Kind,
    /// The project's checkout, whose repository holds the worktree.
    repo: PathBuf,
    /// Where the project lies in the repository, when not at its top.
    #[serde(default)]
    prefix: PathBuf,
    /// What the person should know (submodules are empty, …).
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Workspace {
    /// The folder in which the agent's process starts: in a repository of several projects, this one's.
    pub fn cwd(&self) -> PathBuf {
        let inner = self.dir.join(&self.prefix);
        if inner.is_dir() { inner } else { self.dir.clone() }
    }

    /// Whether it is a worktree of its own, not the shared folder.
    pub fn is_worktree(&self) -> bool {
        self.kind == Kind::Worktree
    }

    /// Branch and base commit, which every worktree has.
    fn own(&self) -> Result<(&str, &str), WorkspaceError> {
        match (self.kind, &self.branch, &self.base_commit) {
            (Kind::Worktree, Some(branch), Some(commit)) => Ok((branch, commit)),
            _ => Err(WorkspaceError::NoBase { dir: error::clean(self.dir.display()) }),
        }
    }
}

/// What removing a workspace would lose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Files that are in no commit (ignored files do not count), at most 1000.
    pub files: Vec<String>,
    /// How many there are.
    pub file_count: u64,
    /// Commits that no other branch, tag or remote branch holds.
    pub commits: u64,
    /// Submodules with commits that are on none of their remotes.
    pub submodules: Vec<String>,
}

impl Losses {
    pub fn is_empty(&self) -> bool {
        self.file_count == 0 && self.commits == 0 && self.submodules.is_empty()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let mut parts = Vec::new();
        if self.file_count > 0 {
            let listed = error::list(&self.files);
            parts.push(format!("{} ({listed})", some(self.file_count, "uncommitted file")));
        }
        if self.commits > 0 {
            parts.push(format!("{} that no other branch has", some(self.commits, "commit")));
        }
        if !self.submodules.is_empty() {
            parts.push(format!("unpushed commits in submodules ({})", error::list(&self.submodules)));
        }
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(" and "))
    }
}

/// Resolves where `agent` will work, and from which commit. Touches nothing.
///
/// `base` is a branch, tag or commit; none: the branch checked out at the project's root.
pub async fn plan(
    layout: &Layout,
    agent: &AgentName,
    base: Option<&str>,
    kind: WorkspaceKind,
) -> Result<Workspace, WorkspaceError> {
    if layout.root().to_str().is_none() {
        return Err(WorkspaceError::NotUtf8 { path: layout.root().to_owned() });
    }
    let in_git = layout.root().ancestors().any(|d| d.join(".git").exists());
    match kind {
        WorkspaceKind::Directory => Ok(directory::plan(layout, base)),
        WorkspaceKind::Worktree => worktree::plan(layout, agent, base).await,
        WorkspaceKind::Auto => match worktree::plan(layout, agent, base).await {
            Err(WorkspaceError::NotARepository { .. }) => Ok(directory::plan(layout, base)),
            Err(WorkspaceError::GitMissing) if !in_git => Ok(directory::plan(layout, base)),
            other => other,
        },
    }
}

/// Makes the planned workspace. On an error nothing of it is left.
pub async fn create(workspace: &Workspace) -> Result<(), WorkspaceError> {
    match workspace.kind {
        Kind::Directory => directory::check(&workspace.dir),
        Kind::Worktree => worktree::create(workspace).await,
    }
}

/// The agent's work against its base: commits, uncommitted changes and new files (ignored ones not).
/// Changes neither the agent's index nor the repository. `limit` bounds the diff's text, in bytes.
///
/// Where the agent took newer commits of the base branch into its own, those are not shown.
pub async fn diff(workspace: &Workspace, limit: usize) -> Result<wire::Diff, WorkspaceError> {
    diff::diff(workspace, limit).await
}

/// Merges the agent's branch into the branch checked out at `root`, fast-forward where possible.
///
/// Uncommitted work of the agent is committed on its branch first ("fracta: work of NAME"), since
/// [`diff`] shows it as the agent's work. Refuses without a change where anything stands in the way
/// (conflicts, staged changes, files that would be overwritten). The user's hooks run; where one
/// refuses, both sides are put back as they were.
pub async fn merge(workspace: &Workspace, root: &Path) -> Result<wire::Merged, WorkspaceError> {
    merge::merge(workspace, root).await
}

/// What [`remove`] would lose.
pub async fn losses(workspace: &Workspace) -> Result<Losses, WorkspaceError> {
    match workspace.kind {
        Kind::Directory => Ok(Losses::default()),
        Kind::Worktree => worktree::losses(workspace).await,
    }
}

/// Removes the worktree and its branch; a directory is left alone. Without `force` it refuses to lose
/// work. What is gone already is no error.
pub async fn remove(workspace: &Workspace, force: bool) -> Result<(), WorkspaceError> {
    match workspace.kind {
        Kind::Directory => Ok(()),
        Kind::Worktree => worktree::remove(workspace, force).await,
    }
}
