//! Where things lie on disk: the project's root and its private `.fracta/` folder.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Longest path that `sockaddr_un` holds on Linux (107) and macOS (103) alike.
const MAX_SOCKET_PATH: usize = 103;

/// The folders and files of one project. Cheap to clone; touches nothing until asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{path} belongs to user {owner}, not to you ({me}): refused, since whoever owns it could read your agents' work"
    )]
    NotYours { path: PathBuf, owner: u32, me: u32 },
}

impl Layout {
    /// The layout of the project at `root` (the folder that holds, or would hold, `fracta.yaml`).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Finds the root for a working folder without a `fracta.yaml`: the git top level, else the
    /// folder itself.
    pub fn without_config(cwd: &Path) -> Self {
        // A linked worktree has a file there; an empty folder of that name is no repository.
        let is_top = |d: &&Path| d.join(".git").is_file() || d.join(".git/HEAD").exists();
        let top = cwd.ancestors().find(is_top);
        Self::new(top.unwrap_or(cwd))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `.fracta/`
    pub fn state_dir(&self) -> PathBuf {
        self.root.join(".fracta")
    }

    pub fn database(&self) -> PathBuf {
        self.state_dir().join("state.db")
    }

    pub fn log_file(&self) -> PathBuf {
        self.state_dir().join("fracta.log")
    }

    /// Held locked by the control plane as long as it lives; holds its process id.
    pub fn lock_file(&self) -> PathBuf {
        self.state_dir().join("control.lock")
    }

    /// The control plane's socket; see [`socket_path`].
    pub fn control_socket(&self) -> PathBuf {
        socket_path(&self.state_dir(), "control.sock")
    }

    /// Folder of a session. `id` is made by [`crate::id::random`], never by a person or a model.
    /// Where the folders of all sessions are.
    pub fn sessions_dir(&self) -> PathBuf {
        self.state_dir().join("sessions")
    }

    pub fn session_dir(&self, id: &str) -> PathBuf {
        self.sessions_dir().join(id)
    }

    pub fn worktree(&self, agent: &crate::id::AgentName) -> PathBuf {
        self.state_dir().join("worktrees").join(agent.as_str())
    }

    /// Makes `.fracta/` (0700, with a `.gitignore` holding `*`), or checks that the one there is ours.
    pub fn ensure(&self) -> Result<(), PathError> {
        let dir = self.state_dir();
        private_dir(&dir)?;
        let ignore = dir.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(|source| PathError::Io {
                what: "write",
                path: ignore,
                source,
            })?;
        }
        for sub in ["sessions", "worktrees"] {
            private_dir(&dir.join(sub))?;
        }
        Ok(())
    }
}

/// Makes a folder with mode 0700 (parents too), or checks that the one there is the user's own and
/// takes group's and others' rights away.
pub fn private_dir(dir: &Path) -> Result<(), PathError> {
    let io = |what| {
        let path = dir.to_owned();
        move |source| PathError::Io { what, path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("create"))?;
    let meta = fs::metadata(dir).map_err(io("look at"))?;
    let me = nix::unistd::geteuid().as_raw();
    if meta.uid() != me {
        return Err(PathError::NotYours { path: dir.to_owned(), owner: meta.uid(), me });
    }
    if meta.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io("make private"))?;
    }
    Ok(())
}

/// The path of a socket that belongs in `dir`. Where `dir/name` is too long for a socket it lies in
/// the user's run-time folder under a name made of the hash of `dir`, the same every time.
/// The caller makes the parent with [`private_dir`].
pub fn socket_path(dir: &Path, name: &str) -> PathBuf {
    let plain = dir.join(name);
    if plain.as_os_str().len() <= MAX_SOCKET_PATH {
        return plain;
    }
    let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let short: String = hash.iter().take(10).map(|b| format!("{b:02x}")).collect();
    runtime_dir().join(format!("{short}-{name}"))
}

/// `$XDG_RUNTIME_DIR/fracta`, or `/tmp/fracta-UID` where there is none (macOS, some SSH logins).
fn runtime_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(d) if Path::new(&d).is_absolute() && d.len() < 60 => PathBuf::from(d).join("fracta"),
        _ => PathBuf::from(format!("/tmp/fracta-{}", nix::unistd::geteuid())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_folder_is_private_and_ignored_by_git() {
        let t = tempfile::tempdir().unwrap();
        let l = Layout::new(t.path());
        l.ensure().unwrap();
        let mode = |p: PathBuf| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(l.state_dir()), 0o700);
        assert_eq!(fs::read_to_string(l.state_dir().join(".gitignore")).unwrap(), "*\n");
        fs::set_permissions(l.state_dir(), fs::Permissions::from_mode(0o755)).unwrap();
        l.ensure().unwrap();
        assert_eq!(mode(l.state_dir()), 0o700, "rights of others are taken away again");
    }

    #[test]
    fn long_paths_get_a_short_and_stable_socket() {
        let deep = PathBuf::from("/").join("d".repeat(200));
        let p = socket_path(&deep, "control.sock");
        assert!(p.as_os_str().len() <= MAX_SOCKET_PATH, "{p:?}");
        assert_eq!(p, socket_path(&deep, "control.sock"));
        assert_ne!(p, socket_path(&deep.join("x"), "control.sock"));
        assert_eq!(socket_path(Path::new("/a"), "s.sock"), PathBuf::from("/a/s.sock"));
    }

    #[test]
    fn root_without_config_is_the_git_top_level() {
        let t = tempfile::tempdir().unwrap();
        let sub = t.path().join("a/b");
        fs::create_dir_all(&sub).unwrap();
        assert_eq!(Layout::without_config(&sub).root(), sub);
        fs::create_dir(t.path().join(".git")).unwrap();
        assert_eq!(Layout::without_config(&sub).root(), sub, "an empty .git is no repository");
        fs::write(t.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(Layout::without_config(&sub).root(), t.path());
    }
}
