//! Runs the user's git. The command line and no library: hooks, credentials, filters (LFS), signing
//! and configuration are the user's, and work as they do in their shell.
//!
//! Every call is bounded in output and time, never prompts, never opens an editor or pager.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::WorkspaceError;
use super::error::clean;

/// Most bytes of standard output kept of a call (lists of files).
pub(super) const MAX_OUTPUT: usize = 16 << 20;
/// Bytes of standard error kept: the last ones.
const MAX_WORDS: usize = 8 << 10;
/// Longest a call may take: hooks, LFS downloads and slow disks are the user's.
const MAX_TIME: Duration = Duration::from_secs(30 * 60);
/// How long to read on after git ended while something it started (a daemon) holds its output open.
const DRAIN: Duration = Duration::from_secs(2);
/// How long git may take to tidy its locks after TERM.
const GRACE: Duration = Duration::from_secs(5);
/// Tries at a call that met another git's lock, and the first wait between them (doubled each time).
const LOCK_TRIES: u32 = 7;
const LOCK_WAIT: Duration = Duration::from_millis(40);

/// Variables that would point git at another repository than the one meant (set inside hooks).
const FOREIGN: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_EXTERNAL_DIFF",
];

/// A version of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Oldest that works.
    pub const MIN: Version = Version(2, 25);
    /// Has `merge-tree --write-tree`: conflicts are known before anything is touched.
    pub(super) const MERGE_TREE: Version = Version(2, 38);
    /// Has `add --sparse`.
    pub(super) const ADD_SPARSE: Version = Version(2, 34);

    /// Reads `git version 2.47.3 (Apple Git-146)`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix("git version ")?.split(['.', ' ', '\n']);
        Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Git in one folder.
#[derive(Debug, Clone)]
pub(super) struct Git {
    program: PathBuf,
    dir: PathBuf,
    env: Vec<(&'static str, OsString)>,
    config: Vec<&'static str>,
}

/// What a call left.
#[derive(Debug)]
pub(super) struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// Standard output was longer than asked for.
    pub cut: bool,
    stderr: Vec<u8>,
}

impl Git {
    /// Git in `dir`, which may be anywhere inside a repository.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { program: "git".into(), dir: dir.into(), env: Vec::new(), config: Vec::new() }
    }

    /// Git in a worktree's top folder. It never looks for a repository above it: an agent that removes
    /// its `.git` must not turn our calls on the user's own checkout.
    pub fn within(dir: &Path) -> Self {
        let above = dir.parent().unwrap_or(dir).as_os_str().to_owned();
        Self::at(dir).env("GIT_CEILING_DIRECTORIES", above)
    }

    pub fn env(mut self, key: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// Adds `-c key=value`.
    pub fn config(mut self, pair: &'static str) -> Self {
        self.config.push(pair);
        self
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The version, refused below [`Version::MIN`].
    pub async fn version(&self) -> Result<Version, WorkspaceError> {
        let text = self.text("ask git's version", &["version"]).await?;
        match Version::parse(&text) {
            Some(found) if found < Version::MIN => Err(WorkspaceError::GitTooOld { found }),
            Some(found) => Ok(found),
            None => Err(self.error("ask git's version", format!("it answered {:?}", clean(&text)))),
        }
    }

    /// Runs; any exit status is an answer.
    pub async fn run(&self, args: &[&str]) -> Result<Output, WorkspaceError> {
        self.run_with(args, None, MAX_OUTPUT).await
    }

    /// Runs; `tried` says in an error what failed.
    pub async fn ok(&self, tried: &'static str, args: &[&str]) -> Result<Vec<u8>, WorkspaceError> {
        let out = self.run(args).await?;
        self.expect(tried, out)
    }

    /// As [`Git::ok`] with something on standard input.
    pub async fn fed(&self, tried: &'static str, args: &[&str], input: &[u8]) -> Result<(), WorkspaceError> {
        let out = self.run_with(args, Some(input), MAX_OUTPUT).await?;
        self.expect(tried, out).map(drop)
    }

    /// One line of output, without its line end.
    pub async fn text(&self, tried: &'static str, args: &[&str]) -> Result<String, WorkspaceError> {
        let mut out = self.ok(tried, args).await?;
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        String::from_utf8(out).map_err(|e| self.error(tried, format!("its answer is not UTF-8: {e}")))
    }

    /// As [`Git::text`]; none where git says no.
    pub async fn maybe(&self, args: &[&str]) -> Result<Option<String>, WorkspaceError> {
        let out = self.run(args).await?;
        Ok(out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim_end().to_owned()))
    }

    /// What names of objects stand for (`main^{commit}`), in their order, with one call; none where there is
    /// no such object.
    pub async fn objects(
        &self,
        tried: &'static str,
        names: &[&str],
    ) -> Result<Vec<Option<String>>, WorkspaceError> {
        // A name with a line break is none of an object, and must not become two.
        let lines: String = names
            .iter()
            .map(|n| if n.contains('\n') { "-\n".to_owned() } else { format!("{n}\n") })
            .collect();
        let args = ["cat-file", "--batch-check=%(objectname)"];
        let out = self.run_with(&args, Some(lines.as_bytes()), MAX_OUTPUT).await?;
        let text = String::from_utf8_lossy(&self.expect(tried, out)?).into_owned();
        let hash = |line: &str| line.len() >= 40 && line.bytes().all(|b| b.is_ascii_hexdigit());
        let found: Vec<_> = text.lines().map(|line| hash(line).then(|| line.to_owned())).collect();
        if found.len() == names.len() {
            Ok(found)
        } else {
            Err(self.error(tried, format!("it answered {:?}", clean(&text))))
        }
    }

    /// NUL-ended names. Names that are not UTF-8 are shown with replacement characters.
    pub async fn names(&self, tried: &'static str, args: &[&str]) -> Result<Vec<String>, WorkspaceError> {
        Ok(split0(&self.ok(tried, args).await?).map(|n| String::from_utf8_lossy(n).into_owned()).collect())
    }

    /// At most `limit` bytes of output; git is stopped there.
    pub async fn head(
        &self,
        tried: &'static str,
        args: &[&str],
        limit: usize,
    ) -> Result<Output, WorkspaceError> {
        let out = self.run_with(args, None, limit).await?;
        let stopped = out.cut && out.status.signal().is_some();
        if stopped || out.status.success() { Ok(out) } else { Err(self.error(tried, out.words())) }
    }

    /// Runs what takes git's locks: where another git holds one it waits and tries again, for a few
    /// seconds.
    pub async fn locked(&self, args: &[&str]) -> Result<Output, WorkspaceError> {
        let mut wait = LOCK_WAIT;
        for _ in 1..LOCK_TRIES {
            let out = self.run(args).await?;
            if out.status.success() || !out.met_a_lock() {
                return Ok(out);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.run(args).await
    }

    pub fn expect(&self, tried: &'static str, out: Output) -> Result<Vec<u8>, WorkspaceError> {
        if !out.status.success() {
            return Err(self.error(tried, out.words()));
        }
        if out.cut {
            return Err(self.error(tried, format!("it said more than {} MiB", MAX_OUTPUT >> 20)));
        }
        Ok(out.stdout)
    }

    pub fn error(&self, tried: &'static str, words: String) -> WorkspaceError {
        let todo = if words.contains("dubious ownership") {
            ". The repository belongs to another user; if you trust it, run the `git config` line that git prints there"
        } else if words.contains(".lock") && words.contains("exists") {
            ". Another git is at work there; if none is, remove the lock file"
        } else if words.contains("No space left") {
            ". Make room on the disk"
        } else {
            ""
        };
        WorkspaceError::Git { tried, dir: clean(self.dir.display()), words, todo: todo.to_owned() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(&self.program);
        for key in FOREIGN {
            c.env_remove(key);
        }
        c.envs([
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_EDITOR", "true"),
            ("GIT_SEQUENCE_EDITOR", "true"),
            ("GIT_MERGE_AUTOEDIT", "no"),
            ("GIT_PAGER", "cat"),
            ("LC_ALL", "C"),
        ]);
        c.envs(self.env.iter().map(|(k, v)| (k, v)));
        c.args([
            "--no-pager",
            "-c",
            "core.quotePath=off",
            "-c",
            "color.ui=false",
            "-c",
            "advice.detachedHead=false",
        ]);
        for pair in &self.config {
            c.args(["-c", pair]);
        }
        c.args(args).current_dir(&self.dir);
        // A group of its own, so that a hook that hangs ends with its git.
        c.process_group(0).kill_on_drop(true);
        c
    }

    async fn run_with(
        &self,
        args: &[&str],
        input: Option<&[u8]>,
        limit: usize,
    ) -> Result<Output, WorkspaceError> {
        let mut command = self.command(args);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| {
            // A missing folder gives the same error number as a missing program.
            if e.kind() == std::io::ErrorKind::NotFound && self.dir.is_dir() {
                WorkspaceError::GitMissing
            } else {
                WorkspaceError::io("run git in", &self.dir, e)
            }
        })?;
        match tokio::time::timeout(MAX_TIME, collect(&mut child, input, limit)).await {
            Ok(done) => done.map_err(|e| WorkspaceError::io("talk to git in", &self.dir, e)),
            Err(_) => {
                end(&mut child).await;
                Err(self.error(
                    "wait for git",
                    format!(
                        "`git {}` took over {} minutes",
                        args.first().unwrap_or(&""),
                        MAX_TIME.as_secs() / 60
                    ),
                ))
            }
        }
    }
}

impl Output {
    /// Git's own last words, made harmless: errors and what hooks said, without its hints and without
    /// passwords in addresses.
    pub fn words(&self) -> String {
        let text = String::from_utf8_lossy(if self.stderr.trim_ascii().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        });
        let said: Vec<&str> = text
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with("hint:"))
            .collect();
        let last = said.get(said.len().saturating_sub(8)..).unwrap_or_default();
        match (last.is_empty(), self.status.code(), self.status.signal()) {
            (false, ..) => clean(without_passwords(&last.join("; "))),
            (true, Some(code), _) => format!("git ended with exit code {code} and said nothing"),
            (true, _, signal) => format!("git was ended by signal {}", signal.unwrap_or(0)),
        }
    }

    fn met_a_lock(&self) -> bool {
        let text = String::from_utf8_lossy(&self.stderr);
        (text.contains(".lock'") && text.contains("File exists"))
            || text.contains("could not lock")
            || text.contains("cannot lock ref") && text.contains("Unable to create")
    }
}

/// Splits NUL-ended records.
pub(super) fn split0(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == 0).filter(|r| !r.is_empty())
}

/// `scheme://user:secret@host` becomes `scheme://***@host`.
fn without_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(tail.len());
        rest = tail;
        if let Some(user) = tail.get(..end).and_then(|authority| authority.rfind('@')) {
            out.push_str("***");
            rest = tail.get(user..).unwrap_or_default();
        }
    }
    out + rest
}

/// Feeds and reads the process until it ended.
async fn collect(child: &mut Child, input: Option<&[u8]>, limit: usize) -> std::io::Result<Output> {
    let (mut stdout, mut stderr, mut cut) = (Vec::new(), Vec::new(), false);
    let (mut stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let status = {
        let feed = async {
            if let (Some(pipe), Some(bytes)) = (&mut stdin, input) {
                // A git that stopped reading says why on its standard error.
                let _ = pipe.write_all(bytes).await;
            }
            stdin = None;
        };
        let talk = async {
            tokio::join!(feed, read_head(out, &mut stdout, limit, &mut cut), read_tail(err, &mut stderr))
        };
        tokio::pin!(talk);
        tokio::select! {
            _ = &mut talk => child.wait().await?,
            status = child.wait() => {
                // What git started may hold the pipes for ever; what git said is in them already.
                let _ = tokio::time::timeout(DRAIN, &mut talk).await;
                status?
            }
        }
    };
    Ok(Output { status, stdout, cut, stderr })
}

/// Reads up to `limit` bytes, then closes the pipe, which ends a git that only reports.
async fn read_head(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, limit: usize, cut: &mut bool) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0u8; 64 << 10];
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        let room = limit - into.len();
        into.extend_from_slice(&chunk[..n.min(room)]);
        if n > room {
            *cut = true;
            return;
        }
    }
}

/// Reads to the end and keeps the last [`MAX_WORDS`] bytes.
async fn read_tail(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0u8; 4 << 10];
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        into.extend_from_slice(&chunk[..n]);
        let excess = into.len().saturating_sub(MAX_WORDS);
        into.drain(..excess);
    }
}

/// Ends git and what it started: TERM, so that it tidies its locks, then KILL.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Some(group) = group {
            let _ = killpg(group, signal);
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, version) in [
            ("git version 2.47.3", Some(Version(2, 47))),
            ("git version 2.39.5 (Apple Git-154)", Some(Version(2, 39))),
            ("git version 3.0.rc1", Some(Version(3, 0))),
            ("zit 1.2", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version(2, 9) < Version::MIN && Version(3, 0) > Version::MERGE_TREE);
    }

    #[test]
    fn passwords_in_addresses_are_hidden() {
        assert_eq!(
            without_passwords("fatal: https://me:s3cret@host/x and ssh://git@h failed, not http://h/a@b"),
            "fatal: https://***@host/x and ssh://***@h failed, not http://h/a@b"
        );
    }

    /// A program that plays git, made of a shell script.
    fn played(dir: &Path, script: &str) -> Git {
        use std::os::unix::fs::PermissionsExt;
        let program = dir.join("git");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Git { program, ..Git::at(dir) }
    }

    #[tokio::test]
    async fn a_missing_git_and_an_old_git_are_told() {
        let t = tempfile::tempdir().unwrap();
        let missing = Git { program: t.path().join("none"), ..Git::at(t.path()) };
        assert!(matches!(missing.version().await, Err(WorkspaceError::GitMissing)));
        let old = played(t.path(), "echo git version 2.17.1").version().await.unwrap_err();
        assert_eq!(
            old.to_string(),
            "git 2.17 is too old: fracta needs 2.25 or newer; upgrade git, or set `project.workspace: directory`"
        );
        let gone = Git::at(t.path().join("gone")).version().await.unwrap_err();
        assert!(matches!(gone, WorkspaceError::Io { .. }), "{gone}");
    }

    #[tokio::test]
    async fn output_is_bounded_and_the_last_words_are_kept() {
        let t = tempfile::tempdir().unwrap();
        let git =
            played(t.path(), "yes | head -c 300000; yes noise | head -c 99996 >&2; echo the end >&2; exit 3");
        let out = git.run_with(&["x"], None, 1000).await.unwrap();
        assert_eq!((out.stdout.len(), out.cut), (1000, true));
        let whole = git.run(&["x"]).await.unwrap();
        assert_eq!((whole.stdout.len(), whole.cut, whole.status.code()), (300_000, false, Some(3)));
        assert!(whole.words().ends_with("noise; the end"), "{}", whole.words());
        assert!(whole.stderr.len() <= MAX_WORDS);
    }

    #[tokio::test]
    async fn a_lock_of_another_git_is_waited_for() {
        let t = tempfile::tempdir().unwrap();
        let git = played(
            t.path(),
            "echo x >> tries; [ $(wc -l < tries) -ge 3 ] && exit 0
             echo \"fatal: Unable to create '/r/.git/index.lock': File exists.\" >&2; exit 128",
        );
        assert!(git.locked(&["add"]).await.unwrap().status.success());
        assert_eq!(std::fs::read_to_string(t.path().join("tries")).unwrap().lines().count(), 3);
    }

    #[tokio::test]
    async fn an_output_held_open_by_a_daemon_does_not_hold_us() {
        let t = tempfile::tempdir().unwrap();
        let git = played(t.path(), "mkfifo hold; (echo $$ >&2; read x < hold) & echo said; exit 0");
        let out = git.run(&["x"]).await.unwrap();
        assert_eq!(out.stdout, b"said\n");
        std::fs::write(t.path().join("hold"), "let go\n").unwrap();
    }
}
