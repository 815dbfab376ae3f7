//! Merges the agent's work into the branch checked out at the project's root.
//!
//! Everything that may stand in the way is looked for first, conflicts too, by merging in a place of
//! its own (`git merge-tree --write-tree`). What only shows when it is done (hooks, signing, filters,
//! a full disk) is undone.

use std::collections::HashSet;
use std::path::Path;

use crate::control::wire::Merged;

use super::error::clean;
use super::git::{Git, Output, Version, split0};
use super::snapshot::{Snapshot, copy_index, index_of, stage};
use super::worktree::{checkout, commit_of, full, open, ours, status};
use super::{CHANGES, Workspace, WorkspaceError};

/// Operations that leave a file or folder in the git folder while they are in progress.
const IN_PROGRESS: [(&str, &str); 5] = [
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
];
/// Who commits where the user has set no name: git itself would refuse.
const NOBODY: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "fracta"),
    ("GIT_AUTHOR_EMAIL", "fracta@localhost"),
    ("GIT_COMMITTER_NAME", "fracta"),
    ("GIT_COMMITTER_EMAIL", "fracta@localhost"),
];

pub(super) async fn merge(ws: &Workspace, root: &Path) -> Result<Merged, WorkspaceError> {
    let version = Git::at(root).version().await?;
    merge_with(ws, root, version).await
}

/// As [`merge`], with a git of this version.
async fn merge_with(ws: &Workspace, root: &Path, version: Version) -> Result<Merged, WorkspaceError> {
    let (branch, _) = ws.own()?;
    let _one = CHANGES.lock().await;
    let (top, _) = checkout(&Git::at(root)).await?;
    let theirs = with_identity(open(ws).await?).await?;
    let ours = with_identity(Git::at(top)).await?;
    let from = agent_head(&theirs, branch).await?;
    let (into, head) = root_head(&ours).await?;

    let shot = Snapshot::take(&theirs, version).await?;
    if !shot.nested.is_empty() {
        return Err(WorkspaceError::Nested { dir: clean(ws.dir.display()), paths: shot.nested });
    }
    let committed =
        theirs.text("read the agent's last commit", &["rev-parse", &format!("{from}^{{tree}}")]).await?;
    let dirty = committed != shot.tree;
    let merged = ours.run(&["merge-base", "--is-ancestor", &from, &head]).await?.status.success();
    if !dirty && merged {
        return Ok(Merged { into, commit: None });
    }
    let side = if dirty { commit_tree(&shot, &from).await? } else { from.clone() };
    let changes = preview(&shot.git, &ours, &head, &side, version).await?;
    let conflicts = |files| WorkspaceError::Conflicts {
        branch: branch.to_owned(),
        into: into.clone(),
        dir: clean(ws.dir.display()),
        files,
    };
    let changes = match changes {
        Preview::Clean(changes) => changes,
        Preview::Conflicts(files) => return Err(conflicts(files)),
    };
    nothing_overwritten(&ours, &changes).await?;
    drop(shot);

    let undo = if dirty { Some(commit_work(ws, &theirs, &from, version).await?) } else { None };
    let done = Work { git: &ours, head: &head, changes: &changes }.merge(branch, agent(branch)).await;
    if let (Err(_) | Ok(Done::Conflicts(_)), Some(undo)) = (&done, undo) {
        undo.undo(&theirs).await?;
    }
    match done? {
        Done::Commit(commit) => Ok(Merged { into, commit: Some(commit) }),
        Done::Conflicts(files) => Err(conflicts(files)),
    }
}

fn agent(branch: &str) -> &str {
    branch.rsplit('/').next().unwrap_or(branch)
}

/// Git that can commit: with the user's name, or with a stand-in where none is set.
async fn with_identity(git: Git) -> Result<Git, WorkspaceError> {
    for who in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
        if !git.run(&["var", who]).await?.status.success() {
            return Ok(NOBODY.iter().fold(git, |git, (key, value)| git.env(key, value)));
        }
    }
    Ok(git)
}

async fn not_in_progress(git: &Git) -> Result<(), WorkspaceError> {
    let own = git.text("find the git folder", &["rev-parse", "--absolute-git-dir"]).await?;
    match IN_PROGRESS.iter().find(|(name, _)| Path::new(&own).join(name).exists()) {
        Some((_, what)) => Err(WorkspaceError::InProgress { what, dir: clean(git.dir().display()) }),
        None => Ok(()),
    }
}

/// The agent's last commit, if its worktree is on its branch and at rest.
async fn agent_head(git: &Git, branch: &str) -> Result<String, WorkspaceError> {
    not_in_progress(git).await?;
    let on = git.maybe(&["symbolic-ref", "--quiet", "HEAD"]).await?;
    if on.as_deref() != Some(&full(branch)) {
        let found =
            on.as_deref().map_or("no branch (detached HEAD)", |on| on.trim_start_matches("refs/heads/"));
        return Err(WorkspaceError::Elsewhere {
            dir: clean(git.dir().display()),
            found: clean(found),
            branch: branch.to_owned(),
        });
    }
    git.text("read the agent's last commit", &["rev-parse", "--verify", "HEAD^{commit}"]).await
}

/// Branch and commit at the root, if it can be merged into.
async fn root_head(git: &Git) -> Result<(String, String), WorkspaceError> {
    let dir = clean(git.dir().display());
    not_in_progress(git).await?;
    let Some(into) = git.maybe(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await? else {
        return Err(WorkspaceError::Detached { dir });
    };
    let Some(head) = commit_of(git, "HEAD").await? else {
        return Err(WorkspaceError::NoCommits { root: dir });
    };
    let staged: Vec<_> = status(git, "no").await?.into_iter().filter(|c| c.staged).map(|c| c.path).collect();
    if !staged.is_empty() {
        return Err(WorkspaceError::Staged { dir, files: staged });
    }
    Ok((into, head))
}

/// The uncommitted work as a commit that no branch knows.
async fn commit_tree(shot: &Snapshot, parent: &str) -> Result<String, WorkspaceError> {
    shot.git
        .text("try the merge", &["commit-tree", "--no-gpg-sign", "-p", parent, "-m", "trial", &shot.tree])
        .await
}

enum Preview {
    Clean(Vec<Change>),
    Conflicts(Vec<String>),
}

/// A file that the merge changes at the root.
struct Change {
    path: Vec<u8>,
    added: bool,
}

/// What merging `side` into `head` would do, found out without touching a file or index.
async fn preview(
    scratch: &Git,
    root: &Git,
    head: &str,
    side: &str,
    version: Version,
) -> Result<Preview, WorkspaceError> {
    if version < Version::MERGE_TREE {
        // This git cannot tell: the merge itself is tried, and undone where it fails. Any file of the
        // agent's side may change.
        let from = scratch.maybe(&["merge-base", head, side]).await?.unwrap_or_else(|| head.to_owned());
        let new: HashSet<Vec<u8>> =
            changes(scratch, head, side).await?.into_iter().filter(|c| c.added).map(|c| c.path).collect();
        let mut all = changes(scratch, &from, side).await?;
        all.iter_mut().for_each(|c| c.added = new.contains(&c.path));
        return Ok(Preview::Clean(all));
    }
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", head, side];
    let out = scratch.run(&args).await?;
    let mut records = split0(&out.stdout).map(|r| String::from_utf8_lossy(r).into_owned());
    match (out.status.code(), records.next()) {
        (Some(0), Some(tree)) => Ok(Preview::Clean(changes(scratch, head, tree.trim()).await?)),
        (Some(1), Some(_)) => Ok(Preview::Conflicts(records.collect())),
        _ => Err(root.error("try the merge", out.words())),
    }
}

async fn changes(git: &Git, from: &str, to: &str) -> Result<Vec<Change>, WorkspaceError> {
    let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-status", from, to];
    let out = git.ok("list what the merge changes", &args).await?;
    let mut records = split0(&out);
    let mut changes = Vec::new();
    while let (Some(kind), Some(path)) = (records.next(), records.next()) {
        changes.push(Change { path: path.to_owned(), added: kind == b"A" });
    }
    Ok(changes)
}

/// Refuses where a file that the merge writes is changed at the root, or is there without being known
/// to git (git itself would overwrite ignored ones).
async fn nothing_overwritten(root: &Git, changes: &[Change]) -> Result<(), WorkspaceError> {
    let changed: HashSet<String> = status(root, "no").await?.into_iter().map(|c| c.path).collect();
    let there = |c: &Change| c.added && path_of(root, &c.path).symlink_metadata().is_ok();
    let files: Vec<String> = changes
        .iter()
        .map(|c| (c, String::from_utf8_lossy(&c.path).into_owned()))
        .filter(|(c, name)| !ours(name) && (changed.contains(name) || there(c)))
        .map(|(_, name)| name)
        .collect();
    if files.is_empty() {
        return Ok(());
    }
    Err(WorkspaceError::WouldOverwrite { dir: clean(root.dir().display()), files })
}

fn path_of(git: &Git, path: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    git.dir().join(std::ffi::OsStr::from_bytes(path))
}

/// How to take back the commit of the agent's work.
struct Undo {
    branch: String,
    before: String,
    after: String,
    index: std::path::PathBuf,
    saved: tempfile::TempDir,
}

impl Undo {
    async fn undo(&self, git: &Git) -> Result<(), WorkspaceError> {
        let args = ["update-ref", "-m", "fracta: merge refused", &self.branch, &self.before, &self.after];
        let out = git.locked(&args).await?;
        git.expect("put the agent's branch back", out)?;
        copy_index(&self.saved.path().join("index"), &self.index).map(drop)
    }
}

/// Commits all of the agent's work on its branch. On an error its index is as it was.
async fn commit_work(
    ws: &Workspace,
    git: &Git,
    before: &str,
    version: Version,
) -> Result<Undo, WorkspaceError> {
    let (branch, _) = ws.own()?;
    let index = index_of(git).await?;
    let saved =
        tempfile::tempdir().map_err(|e| WorkspaceError::io("make a folder in", &std::env::temp_dir(), e))?;
    let copy = saved.path().join("index");
    copy_index(&index, &copy)?;
    let message = format!("fracta: work of {}", agent(branch));
    let commit = async {
        stage(git, version).await?;
        // Of the whole index: `.fracta` is not in it unless the agent committed it.
        let out = git.locked(&["commit", "--quiet", "--no-edit", "--allow-empty", "-m", &message]).await?;
        git.expect("commit the agent's work", out)?;
        git.text("read the agent's new commit", &["rev-parse", "--verify", "HEAD^{commit}"]).await
    };
    match commit.await {
        Ok(after) => Ok(Undo { branch: full(branch), before: before.to_owned(), after, index, saved }),
        Err(e) => {
            copy_index(&copy, &index)?;
            Err(e)
        }
    }
}

enum Done {
    Commit(String),
    Conflicts(Vec<String>),
}

/// The merge at the root.
struct Work<'a> {
    git: &'a Git,
    head: &'a str,
    changes: &'a [Change],
}

impl Work<'_> {
    async fn merge(&self, branch: &str, agent: &str) -> Result<Done, WorkspaceError> {
        let message = format!("Merge the work of agent {agent} ({branch})");
        let git = self.git.clone().config("merge.autoStash=false");
        let out = git
            .locked(&["merge", "--ff", "--commit", "--no-squash", "--no-edit", "-m", &message, branch])
            .await?;
        if out.status.success() {
            let now = git.text("read the merge", &["rev-parse", "--verify", "HEAD^{commit}"]).await?;
            return Ok(Done::Commit(now));
        }
        let conflicts =
            git.names("list conflicts", &["diff", "--name-only", "--diff-filter=U", "-z"]).await?;
        self.put_back(&out).await?;
        if conflicts.is_empty() {
            return Err(self.failed(&out, "Everything is as it was"));
        }
        Ok(Done::Conflicts(conflicts))
    }

    fn failed(&self, out: &Output, state: &str) -> WorkspaceError {
        let todo =
            format!(". {state}; mend the cause (a hook, signing, a filter, the disk), then merge again");
        let dir = clean(self.git.dir().display());
        WorkspaceError::Git { tried: "merge", dir, words: out.words(), todo }
    }

    /// Brings the root back to where it was. All files of `changes` were as committed, or absent.
    async fn put_back(&self, out: &Output) -> Result<(), WorkspaceError> {
        let git = self.git;
        if commit_of(git, "MERGE_HEAD").await?.is_some() {
            git.locked(&["merge", "--abort"]).await?;
        }
        let changed: HashSet<String> = status(git, "no").await?.into_iter().map(|c| c.path).collect();
        let mut restore = Vec::new();
        // Where git refused for a file that came up since we looked, it touched nothing, nor do we.
        let touched = !out.words().contains("would be overwritten");
        for c in self.changes.iter().filter(|_| touched) {
            if c.added {
                let _ = std::fs::remove_file(path_of(git, &c.path));
            } else if changed.contains(&*String::from_utf8_lossy(&c.path)) {
                restore.extend_from_slice(&c.path);
                restore.push(0);
            }
        }
        let mut whole = commit_of(git, "HEAD").await?.as_deref() == Some(self.head);
        whole &= commit_of(git, "MERGE_HEAD").await?.is_none();
        if !restore.is_empty() {
            let args = ["checkout-index", "--force", "--index", "-z", "--stdin"];
            whole &= git.fed("restore files", &args, &restore).await.is_ok();
        }
        if whole {
            return Ok(());
        }
        Err(self.failed(out, "It could not be undone: look at `git status` there"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Layout;
    use crate::workspace::{WorkspaceKind, create, plan};

    fn git(dir: &Path, args: &[&str]) -> String {
        let out = std::process::Command::new("git").args(args).current_dir(dir).output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    fn state(root: &Path, ws: &Workspace) -> Vec<String> {
        let status = ["status", "--porcelain=v2", "-uall"];
        vec![git(root, &["for-each-ref"]), git(root, &status), git(&ws.dir, &status), git(root, &["diff"])]
    }

    /// Without `merge-tree --write-tree` the merge is tried, and undone where it conflicts.
    #[tokio::test]
    async fn an_older_git_merges_too_and_undoes_a_conflict() {
        const OLD: Version = Version(2, 25);
        let t = tempfile::tempdir().unwrap();
        let root = t.path().canonicalize().unwrap();
        git(&root, &["init", "-q", "-b", "main"]);
        for (key, value) in
            [("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgSign", "false")]
        {
            git(&root, &["config", key, value]);
        }
        std::fs::write(root.join("a"), "one\n").unwrap();
        git(&root, &["add", "a"]);
        git(&root, &["commit", "-q", "-m", "first"]);
        let ws = plan(&Layout::new(&root), &"ann".parse().unwrap(), None, WorkspaceKind::Auto).await.unwrap();
        create(&ws).await.unwrap();
        std::fs::write(ws.dir.join("a"), "agent\n").unwrap();
        std::fs::write(ws.dir.join("new"), "n\n").unwrap();
        std::fs::write(ws.dir.join("both"), "same\n").unwrap();
        std::fs::write(root.join("a"), "user\n").unwrap();
        std::fs::write(root.join("both"), "same\n").unwrap();
        git(&root, &["add", "."]);
        git(&root, &["commit", "-q", "-m", "the user's"]);
        let before = state(&root, &ws);
        match merge_with(&ws, &root, OLD).await {
            Err(WorkspaceError::Conflicts { files, .. }) => assert_eq!(files, ["a"]),
            other => panic!("{other:?}"),
        }
        assert_eq!(state(&root, &ws), before);
        std::fs::write(ws.dir.join("a"), "one\n").unwrap();
        merge_with(&ws, &root, OLD).await.unwrap();
        assert_eq!(std::fs::read_to_string(root.join("new")).unwrap(), "n\n");
        assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "user\n");
    }
}
