//! What can go wrong with a workspace, in words that say what to do.

use std::fmt;
use std::path::PathBuf;

use crate::control::wire::Code;
use crate::text;

/// Most names that a sentence lists.
const LISTED: usize = 8;

/// Why a workspace could not be planned, made, compared, merged or removed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error(
        "git was not found on PATH: install git {} or newer, or set `project.workspace: directory`",
        super::git::Version::MIN
    )]
    GitMissing,
    #[error(
        "git {found} is too old: fracta needs {} or newer; upgrade git, or set `project.workspace: directory`",
        super::git::Version::MIN
    )]
    GitTooOld { found: super::git::Version },
    #[error(
        "{root} is in no git repository: run `git init` and make a first commit there, or set `project.workspace: directory`"
    )]
    NotARepository { root: String },
    #[error(
        "{root} is a bare repository, which has no files to work on: clone it, or run `git worktree add`, and start fracta there"
    )]
    Bare { root: String },
    #[error(
        "the repository at {root} has no commit yet, so there is nothing to branch from: run `git commit --allow-empty -m 'First commit'` there, or set `project.workspace: directory`"
    )]
    NoCommits { root: String },
    #[error("there is no branch, tag or commit {base:?} to start from{hint}")]
    NoSuchBase { base: String, hint: String },
    #[error(
        "the branch {branch} exists already (at {at}), from an earlier agent of this name or from you: choose another agent name, or look at it with `git log {branch}` and delete it with `git branch -D {branch}`"
    )]
    BranchExists { branch: String, at: String },
    #[error(
        "a branch named `fracta` is in the way of {branch}: git cannot hold both; rename yours with `git branch -m fracta NEW-NAME`"
    )]
    BranchInTheWay { branch: String },
    #[error(
        "{path} exists already, left by an earlier agent of this name: choose another agent name, or look into it and remove it (`git worktree remove {path}`)"
    )]
    PathExists { path: String },
    #[error("{path:?} is not valid UTF-8: fracta cannot keep such a path; move the project")]
    NotUtf8 { path: PathBuf },
    #[error(
        "this agent works in the project's own folder, {dir}, so there is no base to compare with and no branch to merge: use `git diff` there, or set `project.workspace: worktree` for new agents"
    )]
    NoBase { dir: String },
    #[error(
        "the workspace {dir} is no longer a worktree of {repo}: {why}. Its files, if any, are untouched; `git worktree repair {dir}` may mend it, `fracta kill --force` removes it"
    )]
    Broken { dir: String, repo: String, why: String },
    #[error(
        "{dir} is on {found}, not on the agent's branch {branch}: run `git switch {branch}` there (or merge {found} yourself), then merge again"
    )]
    Elsewhere { dir: String, found: String, branch: String },
    #[error(
        "a {what} is in progress in {dir}: finish or abort it there, then merge again. Nothing was changed"
    )]
    InProgress { what: &'static str, dir: String },
    #[error(
        "{dir} is on no branch (detached HEAD), so there is nothing to merge into: `git switch` to a branch there"
    )]
    Detached { dir: String },
    #[error(
        "there are staged changes in {dir} ({}): commit or unstage them, then merge again. Nothing was changed",
        list(.files)
    )]
    Staged { dir: String, files: Vec<String> },
    #[error(
        "the merge would overwrite files that are not committed in {dir} ({}): commit, stash or move them, then merge again. Nothing was changed",
        list(.files)
    )]
    WouldOverwrite { dir: String, files: Vec<String> },
    #[error(
        "{branch} conflicts with {into} in {}: ask the agent to merge {into} into its branch and solve it, or do so in {dir}. Nothing was changed",
        list(.files)
    )]
    Conflicts { branch: String, into: String, dir: String, files: Vec<String> },
    #[error(
        "in {dir} are git repositories of their own ({}), which a merge cannot take: remove their .git, make them submodules, or add them to .gitignore. Nothing was changed",
        list(.paths)
    )]
    Nested { dir: String, paths: Vec<String> },
    #[error(
        "this would lose {losses}: merge it first (`fracta merge`), keep it (`--keep-files`), or lose it (`--force`)"
    )]
    WouldLose { losses: super::Losses },
    /// Git said no. `words` are its own last words, cleaned.
    #[error("could not {tried} in {dir}: {words}{todo}")]
    Git { tried: &'static str, dir: String, words: String, todo: String },
    #[error("could not {what} {path}: {source}")]
    Io { what: &'static str, path: String, source: std::io::Error },
}

impl WorkspaceError {
    /// The kind of error, as the control plane tells it to clients.
    pub fn code(&self) -> Code {
        use WorkspaceError as E;
        match self {
            E::NoSuchBase { .. } | E::NotARepository { .. } | E::Bare { .. } | E::NoCommits { .. } => {
                Code::BadRequest
            }
            E::NoBase { .. } | E::GitMissing | E::GitTooOld { .. } | E::NotUtf8 { .. } => Code::Unsupported,
            E::Git { .. } | E::Io { .. } => Code::Internal,
            _ => Code::Conflict,
        }
    }

    pub(super) fn io(what: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { what, path: clean(path.display()), source }
    }
}

/// Names for a sentence: at most [`LISTED`] of them, made harmless.
pub(super) fn list(names: &[String]) -> String {
    let mut out: Vec<String> = names.iter().take(LISTED).map(clean).collect();
    if names.len() > LISTED {
        out.push(format!("{} more", names.len() - LISTED));
    }
    out.join(", ")
}

/// Text of git, of a path or of a branch, made harmless for one line.
pub(super) fn clean(text: impl fmt::Display) -> String {
    text::line(&text.to_string()).into_owned()
}
