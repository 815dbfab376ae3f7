//! What killed or lost agents left behind, for `fracta doctor`.

use std::path::PathBuf;

use crate::id::AgentName;
use crate::paths::Layout;

use super::WorkspaceError;
use super::error::clean;
use super::git::Git;
use super::worktree::{BRANCHES, checkout};

/// A worktree or branch of no known agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Name of the agent that it was made for. A folder's name: anyone may have made it.
    pub agent: String,
    /// The worktree, if there is one.
    pub dir: Option<PathBuf>,
    /// The branch, if there is one.
    pub branch: Option<String>,
}

impl Orphan {
    /// The commands that remove it. They refuse, or ask, before they lose work.
    pub fn mend(&self) -> Vec<String> {
        let dir = self.dir.as_ref().map(|d| {
            let how = if d.join(".git").exists() { "git worktree remove" } else { "rm -ri" };
            format!("{how} '{}'", clean(d.display()).replace('\'', r"'\''"))
        });
        let branch = self.branch.as_ref().map(|b| format!("git branch -d {}", clean(b)));
        dir.into_iter().chain(branch).collect()
    }
}

/// Worktrees in this project's `.fracta/` and branches `fracta/…` that belong to no agent of `known`.
/// Branches checked out elsewhere (another checkout of the repository with agents of its own) are
/// someone else's.
pub async fn orphans(layout: &Layout, known: &[AgentName]) -> Result<Vec<Orphan>, WorkspaceError> {
    let unknown = |name: &str| !known.iter().any(|k| k.as_str() == name);
    let home = layout.state_dir().join("worktrees");
    let mut found: Vec<Orphan> = Vec::new();
    match std::fs::read_dir(&home) {
        Ok(entries) => {
            for entry in entries.filter_map(Result::ok) {
                let agent = entry.file_name().to_string_lossy().into_owned();
                if unknown(&agent) {
                    found.push(Orphan { agent, dir: Some(entry.path()), branch: None });
                }
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(WorkspaceError::io("look into", &home, e)),
    }
    for (branch, at) in branches(layout).await? {
        let Some(agent) = branch.strip_prefix(BRANCHES).filter(|a| unknown(a)) else { continue };
        let here = home.join(agent);
        if let Some(orphan) = found.iter_mut().find(|o| o.agent == agent) {
            orphan.branch = Some(branch);
        } else if at.is_none() || at.is_some_and(|at| at == here || !at.exists()) {
            found.push(Orphan { agent: agent.to_owned(), dir: None, branch: Some(branch) });
        }
    }
    found.sort_by(|a, b| a.agent.cmp(&b.agent));
    Ok(found)
}

/// The agents' branches, and where each is checked out.
async fn branches(layout: &Layout) -> Result<Vec<(String, Option<PathBuf>)>, WorkspaceError> {
    let git = Git::at(layout.root());
    match checkout(&git).await {
        Ok(_) => {}
        Err(
            WorkspaceError::NotARepository { .. } | WorkspaceError::GitMissing | WorkspaceError::Bare { .. },
        ) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    }
    let args = ["for-each-ref", "--format=%(refname:short)%00%(worktreepath)", "refs/heads/fracta"];
    let text = git.text("list the agents' branches", &args).await?;
    let split = |line: &str| {
        let (branch, at) = line.split_once('\0')?;
        Some((branch.to_owned(), (!at.is_empty()).then(|| PathBuf::from(at))))
    };
    Ok(text.lines().filter_map(split).collect())
}
