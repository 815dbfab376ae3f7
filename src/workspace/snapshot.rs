//! The agent's files as a git tree, taken without touching its index or the repository: a copy of
//! the index, and a folder of its own for new objects that borrows the repository's.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::WorkspaceError;
use super::git::{Git, Version, split0};

/// A tree of the agent's files as they are. Lives as long as its objects are needed.
pub(super) struct Snapshot {
    /// Git with the copy of the index and the borrowed objects.
    pub git: Git,
    pub tree: String,
    /// Untracked folders that are repositories of their own; they are not in the tree.
    pub nested: Vec<String>,
    _scratch: TempDir,
}

impl Snapshot {
    /// `git` is in the agent's worktree.
    pub async fn take(git: &Git, version: Version) -> Result<Self, WorkspaceError> {
        match Self::try_take(git, version).await {
            // The agent may be at work: a file that changed while it was read is fine the next time.
            Err(WorkspaceError::Git { .. }) => Self::try_take(git, version).await,
            done => done,
        }
    }

    async fn try_take(git: &Git, version: Version) -> Result<Self, WorkspaceError> {
        let scratch = tempfile::Builder::new()
            .prefix("fracta-")
            .tempdir()
            .map_err(|e| WorkspaceError::io("make a folder in", &std::env::temp_dir(), e))?;
        let objects = git.text("find the objects", &["rev-parse", "--git-path", "objects"]).await?;
        let own = scratch.path().join("objects");
        borrow_objects(&own, &git.dir().join(objects)).map_err(|e| WorkspaceError::io("write", &own, e))?;
        let index = scratch.path().join("index");
        let there = copy_index(&index_of(git).await?, &index)?;
        let git = git
            .clone()
            .env("GIT_INDEX_FILE", index)
            .env("GIT_OBJECT_DIRECTORY", own)
            .config("core.splitIndex=false")
            .config("core.fsmonitor=false");
        if !there {
            git.ok("read the agent's last commit", &["read-tree", "HEAD"]).await?;
        }
        let nested = stage(&git, version).await?;
        let tree = git.text("take the agent's files", &["write-tree", "--missing-ok"]).await?;
        Ok(Self { git, tree, nested, _scratch: scratch })
    }
}

/// Stages all changes and all new files that are not ignored, as plumbing, so that files may come and
/// go meanwhile. Answers with the untracked repositories, which it leaves out.
pub(super) async fn stage(git: &Git, version: Version) -> Result<Vec<String>, WorkspaceError> {
    let mut update = vec!["add", "--update"];
    if version >= Version::ADD_SPARSE {
        update.push("--sparse");
    }
    let out = git.locked(&update).await?;
    git.expect("read the agent's changes", out)?;
    let listed =
        git.ok("list the agent's new files", &["ls-files", "--others", "--exclude-standard", "-z"]).await?;
    let (mut names, mut nested) = (Vec::new(), Vec::new());
    for name in split0(&listed) {
        if name.ends_with(b"/") {
            nested.push(String::from_utf8_lossy(name).into_owned());
        } else if !name.split(|b| *b == b'/').any(|part| part == b".fracta") {
            names.extend_from_slice(name);
            names.push(0);
        }
    }
    nested.retain(|n| !super::worktree::ours(n));
    if !names.is_empty() {
        let args = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"];
        git.fed("read the agent's new files", &args, &names).await?;
    }
    Ok(nested)
}

pub(super) async fn index_of(git: &Git) -> Result<PathBuf, WorkspaceError> {
    let own = git.text("find the git folder", &["rev-parse", "--absolute-git-dir"]).await?;
    Ok(Path::new(&own).join("index"))
}

/// Copies an index with its time, by which git knows which files to look at again. False where there
/// is none.
pub(super) fn copy_index(from: &Path, to: &Path) -> Result<bool, WorkspaceError> {
    let copy = || {
        // The open file stays one and the same when git puts a new index in its place.
        let mut source = std::fs::File::open(from)?;
        let time = source.metadata()?.modified()?;
        let mut copy = std::fs::File::create(to)?;
        std::io::copy(&mut source, &mut copy)?;
        copy.set_modified(time)
    };
    match copy() {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(WorkspaceError::io("copy the index", from, e)),
    }
}

/// Makes an object folder that finds all other objects in `from` (gitrepository-layout,
/// `objects/info/alternates`).
fn borrow_objects(own: &Path, from: &Path) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    std::fs::create_dir_all(own.join("info"))?;
    let from = from.canonicalize()?;
    let mut line = vec![b'"'];
    for byte in from.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            0..0x20 => write!(line, "\\{byte:03o}")?,
            _ => line.push(*byte),
        }
    }
    line.extend(b"\"\n");
    std::fs::write(own.join("info/alternates"), line)
}
