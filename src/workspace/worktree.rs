//! A git worktree of the agent's own: planned, made, weighed and removed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::id::AgentName;
use crate::paths::Layout;

use super::error::clean;
use super::git::Git;
use super::{CHANGES, Kind, Losses, Workspace, WorkspaceError};

/// Prefix of the agents' branches.
pub(super) const BRANCHES: &str = "fracta/";
/// Git is no older than it must be; asked once.
static NEW_ENOUGH: AtomicBool = AtomicBool::new(false);
/// Most files that [`Losses`] names.
const MAX_FILES: usize = 1000;

pub(super) async fn plan(
    layout: &Layout,
    agent: &AgentName,
    base: Option<&str>,
) -> Result<Workspace, WorkspaceError> {
    let git = Git::at(layout.root());
    if !NEW_ENOUGH.load(Ordering::Relaxed) {
        git.version().await?;
        NEW_ENOUGH.store(true, Ordering::Relaxed);
    }
    let (repo, prefix) = checkout(&git).await?;
    let branch = format!("{BRANCHES}{agent}");
    let dir = layout.worktree(agent);
    // Each start of git is milliseconds for which a spawn waits: all that is asked, in one.
    let commit = format!("{}^{{commit}}", base.unwrap_or("HEAD"));
    let (modules, own) = (format!("{commit}:.gitmodules"), full(&branch));
    let above = format!("{}^{{commit}}", full(BRANCHES.trim_end_matches('/')));
    let found = git.objects("look at the repository", &[&commit, &modules, &own, &above]).await?;
    let [commit, modules, own, above] = &found[..] else {
        return Err(git.error("look at the repository", "it answered too little".to_owned()));
    };
    let (base, base_commit) = resolve_base(&git, base, commit.clone()).await?;
    if own.is_some() || above.is_some() || dir.symlink_metadata().is_ok() {
        free(&git, &branch, &dir).await?;
    }
    let mut notes = Vec::new();
    if modules.is_some() {
        notes.push("the repository has submodules, which are empty in a new worktree: the agent needs `git submodule update --init`".to_owned());
    }
    Ok(Workspace {
        dir,
        branch: Some(branch),
        base: Some(base),
        base_commit: Some(base_commit),
        kind: Kind::Worktree,
        repo,
        prefix,
        notes,
    })
}

/// The top folder of the checkout that holds the project, and the project's place in it.
pub(super) async fn checkout(git: &Git) -> Result<(PathBuf, PathBuf), WorkspaceError> {
    let root = || clean(git.dir().display());
    let first = ["rev-parse", "--is-bare-repository", "--is-inside-work-tree"];
    let all = git.run(&[&first[..], &["--show-toplevel", "--show-prefix"]].concat()).await?;
    if all.status.success()
        && let Ok(text) = std::str::from_utf8(&all.stdout)
        && let [_, "true", top, prefix, ""] = text.split('\n').collect::<Vec<_>>()[..]
    {
        return Ok((top.into(), prefix.trim_end_matches('/').into()));
    }
    // It is none, or one with an odd path: one question after the other.
    let found = git.run(&first).await?;
    if !found.status.success() {
        let words = found.words();
        // With another ending it found a repository, and that one is broken.
        return Err(if words.contains("not a git repository (or any") {
            WorkspaceError::NotARepository { root: root() }
        } else {
            git.error("open the git repository", words)
        });
    }
    if !found.stdout.ends_with(b"true\n") {
        return Err(WorkspaceError::Bare { root: root() });
    }
    let top = git.text("find the repository's top", &["rev-parse", "--show-toplevel"]).await?;
    let prefix = git.text("find the project in the repository", &["rev-parse", "--show-prefix"]).await?;
    Ok((top.into(), prefix.trim_end_matches('/').into()))
}

/// The base's name and commit, `found` being what its name stands for.
async fn resolve_base(
    git: &Git,
    base: Option<&str>,
    found: Option<String>,
) -> Result<(String, String), WorkspaceError> {
    let Some(base) = base else {
        let Some(commit) = found else {
            return Err(WorkspaceError::NoCommits { root: clean(git.dir().display()) });
        };
        let branch = git.maybe(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await?;
        return Ok((branch.unwrap_or_else(|| commit.clone()), commit));
    };
    // A base that starts with a dash would be read as an option.
    match found.filter(|_| !base.starts_with('-')) {
        Some(commit) => Ok((base.to_owned(), commit)),
        None => Err(WorkspaceError::NoSuchBase { hint: base_hint(git, base).await?, base: clean(base) }),
    }
}

pub(super) async fn commit_of(git: &Git, name: &str) -> Result<Option<String>, WorkspaceError> {
    git.maybe(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).await
}

/// What the person may have meant.
async fn base_hint(git: &Git, base: &str) -> Result<String, WorkspaceError> {
    let args = ["for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes", "refs/tags"];
    let all = git.text("list branches", &args).await?;
    if all.is_empty() {
        return Ok(": the repository has no commit yet".to_owned());
    }
    let alike = |name: &&str| {
        let last = name.split_once('/').map_or(*name, |(_, rest)| rest);
        last == base || strsim::jaro_winkler(name, base) > 0.85
    };
    let alike: Vec<String> = all.lines().filter(alike).take(5).map(str::to_owned).collect();
    Ok(if alike.is_empty() {
        ": `git branch --all` lists what there is; `git fetch` gets what is new".to_owned()
    } else {
        format!(": did you mean {}?", super::error::list(&alike))
    })
}

/// Refuses a branch or folder that exists.
async fn free(git: &Git, branch: &str, dir: &Path) -> Result<(), WorkspaceError> {
    if let Some(at) = git.maybe(&["rev-parse", "--verify", "--quiet", "--short", &full(branch)]).await? {
        return Err(WorkspaceError::BranchExists { branch: branch.to_owned(), at });
    }
    if commit_of(git, &full(BRANCHES.trim_end_matches('/'))).await?.is_some() {
        return Err(WorkspaceError::BranchInTheWay { branch: branch.to_owned() });
    }
    if dir.symlink_metadata().is_ok() {
        return Err(WorkspaceError::PathExists { path: clean(dir.display()) });
    }
    Ok(())
}

pub(super) fn full(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

pub(super) async fn create(ws: &Workspace) -> Result<(), WorkspaceError> {
    let (branch, commit) = ws.own()?;
    let git = Git::at(&ws.repo);
    let _one = CHANGES.lock().await;
    if ws.dir.symlink_metadata().is_ok() {
        free(&git, branch, &ws.dir).await?;
    }
    // `.fracta/worktrees/AGENT`: the state folder must be there, hidden from the user's git.
    if let Some(root) = ws.dir.ancestors().nth(3) {
        Layout::new(root).ensure().map_err(|e| {
            WorkspaceError::io("prepare the folders of", root, std::io::Error::other(e.to_string()))
        })?;
    }
    let dir = utf8(&ws.dir)?;
    // The branch first, alone: git makes it or fails, so that what is undone below is surely ours.
    let made = git.locked(&["branch", "--no-track", branch, commit]).await?;
    if !made.status.success() {
        let words = made.words();
        free(&git, branch, &ws.dir).await?;
        return Err(git.error("make the agent's branch", words));
    }
    let out = git.locked(&["worktree", "add", "--", dir, branch]).await?;
    if out.status.success() {
        return Ok(());
    }
    let words = out.words();
    // A failing post-checkout hook or filter (LFS) leaves a worktree behind.
    let _ = remove_worktree(&git, &ws.dir).await;
    let _ = git.locked(&["branch", "-D", "--", branch]).await;
    Err(git.error("make a worktree", words))
}

/// Opens the agent's worktree, having made sure that it still is one of this repository.
pub(super) async fn open(ws: &Workspace) -> Result<Git, WorkspaceError> {
    let broken = |why: &str| WorkspaceError::Broken {
        dir: clean(ws.dir.display()),
        repo: clean(ws.repo.display()),
        why: why.to_owned(),
    };
    if !ws.dir.is_dir() {
        return Err(broken("the folder is gone"));
    }
    let git = Git::within(&ws.dir);
    let common = |git: Git| async move {
        let at = git.maybe(&["rev-parse", "--git-common-dir"]).await?;
        Ok::<_, WorkspaceError>(at.and_then(|d| git.dir().join(d).canonicalize().ok()))
    };
    let (Some(here), Some(there)) = (common(git.clone()).await?, common(Git::at(&ws.repo)).await?) else {
        return Err(broken("git finds no repository there"));
    };
    if here != there {
        return Err(broken("it belongs to another repository now"));
    }
    Ok(git)
}

pub(super) async fn losses(ws: &Workspace) -> Result<Losses, WorkspaceError> {
    let (branch, base) = ws.own()?;
    let repo = Git::at(&ws.repo);
    let mut losses = Losses::default();
    let mut tips = Vec::new();
    if commit_of(&repo, &full(branch)).await?.is_some() {
        tips.push(full(branch));
    }
    if ws.dir.is_dir() {
        let git = open(ws).await?.env("GIT_OPTIONAL_LOCKS", "0");
        let files = status(&git, "all").await?;
        losses.file_count = files.len() as u64;
        losses.files = files.into_iter().map(|f| f.path).take(MAX_FILES).collect();
        losses.submodules = unpushed_submodules(&git).await?;
        tips.extend(commit_of(&git, "HEAD").await?);
    }
    if !tips.is_empty() {
        let not = format!("--exclude={branch}");
        let mut args = vec!["rev-list", "--count"];
        args.extend(tips.iter().map(String::as_str));
        args.extend(["--not", base, &not, "--branches", "--tags", "--remotes"]);
        let count = repo.text("count the agent's commits", &args).await?;
        losses.commits = count.parse().map_err(|_| repo.error("count the agent's commits", clean(count)))?;
    }
    Ok(losses)
}

/// One entry of `git status`.
pub(super) struct Changed {
    pub staged: bool,
    pub path: String,
}

/// Changed files of a worktree; `untracked` is `all` or `no`.
pub(super) async fn status(git: &Git, untracked: &str) -> Result<Vec<Changed>, WorkspaceError> {
    let untracked = format!("--untracked-files={untracked}");
    let ignore =
        if untracked.ends_with("all") { "--ignore-submodules=none" } else { "--ignore-submodules=dirty" };
    let args = ["status", "--porcelain=v1", "-z", "--no-renames", &untracked, ignore];
    let entries = git.names("look at the files", &args).await?;
    let parse = |e: String| {
        let mut chars = e.chars();
        let staged = !matches!(chars.next(), Some(' ' | '?' | '!'));
        Changed { staged, path: e.get(3..).unwrap_or_default().to_owned() }
    };
    Ok(entries.into_iter().map(parse).filter(|c| !ours(&c.path)).collect())
}

/// Whether a path lies in a state folder of fracta, which is never anyone's work.
pub(super) fn ours(path: &str) -> bool {
    path.split('/').any(|part| part == ".fracta")
}

/// Submodules live inside the worktree's own git folder and go with it.
async fn unpushed_submodules(git: &Git) -> Result<Vec<String>, WorkspaceError> {
    let own = git.text("find the worktree's git folder", &["rev-parse", "--absolute-git-dir"]).await?;
    if !Path::new(&own).join("modules").is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in git.names("list submodules", &["ls-files", "--stage", "-z"]).await? {
        let Some(path) = entry.strip_prefix("160000 ").and_then(|e| e.split_once('\t')).map(|(_, p)| p)
        else {
            continue;
        };
        let inner = git.dir().join(path);
        if !inner.join(".git").exists() {
            continue;
        }
        let inner = Git::within(&inner);
        let count = inner.maybe(&["rev-list", "--count", "HEAD", "--branches", "--not", "--remotes"]).await?;
        if count.as_deref() != Some("0") {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}

pub(super) async fn remove(ws: &Workspace, force: bool) -> Result<(), WorkspaceError> {
    let (branch, _) = ws.own()?;
    let _one = CHANGES.lock().await;
    if !force {
        let losses = losses(ws).await?;
        if !losses.is_empty() {
            return Err(WorkspaceError::WouldLose { losses });
        }
    }
    let git = Git::at(&ws.repo);
    remove_worktree(&git, &ws.dir).await?;
    if commit_of(&git, &full(branch)).await?.is_some() {
        let out = git.locked(&["branch", "-D", "--", branch]).await?;
        git.expect("delete the agent's branch", out)?;
    }
    Ok(())
}

/// Removes a worktree's folder and git's record of it, whatever state they are in.
async fn remove_worktree(git: &Git, dir: &Path) -> Result<(), WorkspaceError> {
    // Forced twice: once for changed files, once for a worktree that someone locked.
    let args = ["worktree", "remove", "--force", "--force", "--", utf8(dir)?];
    let out = git.locked(&args).await?;
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    // Git gives up at folders without write permission (module caches) and at a missing `.git`.
    remove_tree(dir.to_owned()).await.map_err(|e| {
        let both = format!("{e}; git said: {}", out.words());
        WorkspaceError::io("remove", dir, std::io::Error::new(e.kind(), both))
    })?;
    // Now that the folder is gone git forgets it; it may have done so before.
    git.locked(&args).await.map(drop)
}

/// Removes a folder, also where folders in it are not writable. It follows no link.
async fn remove_tree(dir: PathBuf) -> std::io::Result<()> {
    let work = move || match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            make_writable(&dir)?;
            std::fs::remove_dir_all(&dir)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

fn make_writable(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut folders = vec![dir.to_owned()];
    while let Some(dir) = folders.pop() {
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

pub(super) fn utf8(path: &Path) -> Result<&str, WorkspaceError> {
    path.to_str().ok_or_else(|| WorkspaceError::NotUtf8 { path: path.to_owned() })
}
