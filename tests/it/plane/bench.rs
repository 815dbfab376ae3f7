//! A throw-away project with a script as its `codex`, and the `fracta` binary in it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::TestProject;

pub const FAKE: &str = include_str!("fake-codex.sh");

/// What a `fracta` said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Said {
    fn from(o: Output) -> Self {
        let text = |b: Vec<u8>| String::from_utf8(b).expect("fracta prints UTF-8");
        Self { code: o.status.code(), stdout: text(o.stdout), stderr: text(o.stderr) }
    }
}

/// A project whose control plane and agents end with it.
pub struct Bench {
    project: TestProject,
    root: PathBuf,
}

impl Bench {
    /// A git repository with a `fracta.yaml` whose only runtime, `codex`, is the script.
    pub fn new() -> Self {
        let project = TestProject::new();
        let root = project.repo();
        Self::at(project, root)
    }

    /// The same in any folder of the project's; one that is no repository has no worktrees.
    pub fn at(project: TestProject, root: PathBuf) -> Self {
        let b = Self { project, root };
        std::fs::create_dir_all(&b.root).unwrap();
        let fake = b.dir().join("fake-codex");
        std::fs::write(&fake, FAKE).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        b.config("");
        b
    }

    /// The folder around the project.
    pub fn dir(&self) -> &Path {
        self.project.dir()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn project(&self) -> &TestProject {
        &self.project
    }

    /// Writes `fracta.yaml`: the usual one and `more`.
    pub fn config(&self, more: &str) {
        let fake = self.dir().join("fake-codex");
        let text = format!(
            "agents:\n  default_mode: stream\n  agent_runtimes:\n    codex:\n      command: [{:?}]\n{more}",
            fake.display().to_string()
        );
        self.raw_config(&text);
    }

    pub fn raw_config(&self, text: &str) {
        std::fs::write(self.root.join("fracta.yaml"), text).unwrap();
    }

    /// A path beside the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A new fifo beside the project; see [`open_fifo`].
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_fracta"));
        c.args(args)
            .current_dir(&self.root)
            .env("HOME", self.dir())
            .env("XDG_RUNTIME_DIR", self.dir().join("run"))
            .env_remove("FRACTA_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        c
    }

    pub fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Runs with these bytes as stdin.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Said {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Stdout of a command that succeeds.
    pub fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:#?}");
        said.stdout
    }

    /// What a command that succeeds prints as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let out = self.ok(&all);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
    }

    /// Stderr of a command that fails with this exit status.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, Some(code), "{args:?}: {said:#?}");
        assert_eq!(said.stdout, "", "{args:?}: an error goes to stderr");
        said.stderr
    }

    /// A new agent that obeys the prompt; waits for its first turn.
    pub fn spawn_and_wait(&self, name: &str, prompt: &str) -> Value {
        self.json(&["spawn", "--task", name, "--contract", prompt, "--wait"])
    }

    /// The agent's row of `list --all`.
    pub fn agent(&self, name: &str) -> Value {
        let list = self.json(&["list", "--all"]);
        let rows = list.as_array().unwrap();
        rows.iter().rfind(|a| a["name"] == name).unwrap_or_else(|| panic!("no {name} in {list:#}")).clone()
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    pub fn server_pid(&self) -> i32 {
        i32::try_from(self.status()["pid"].as_i64().expect("a control plane runs")).unwrap()
    }

    /// Kills the control plane without a warning and waits until it is gone.
    pub fn kill_server(&self) {
        let pid = self.server_pid();
        kill(pid);
        self.wait_for_server_end();
    }

    /// Waits until no control plane holds the project's lock.
    pub fn wait_for_server_end(&self) {
        let lock = std::fs::File::open(self.root.join(".fracta/control.lock")).unwrap();
        lock.lock_shared().unwrap();
    }

    /// All events so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        lines(&self.ok(&["events", name]))
    }

    /// Follows an agent's events from number `after` on.
    pub fn follow(&self, name: &str, after: u64) -> Follow {
        let after = after.to_string();
        let mut child = self.command(&["events", name, "--follow", "--after", &after]).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Follow { child, out }
    }

    /// The folder of an agent's session.
    pub fn session_dir(&self, name: &str) -> PathBuf {
        let session = self.agent(name)["session"].as_str().unwrap().to_owned();
        self.root.join(".fracta/sessions").join(session)
    }

    /// A request over the control socket, as a client of API version `api` would make it: status and body.
    pub fn http(&self, method: &str, path: &str, api: &str) -> (u16, Value) {
        let socket = self.status()["socket"].as_str().unwrap().to_owned();
        let mut s = UnixStream::connect(socket).unwrap();
        write!(s, "{method} {path} HTTP/1.1\r\nhost: x\r\nfracta-api: {api}\r\nconnection: close\r\n")
            .unwrap();
        write!(s, "content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
        response(s)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.command(&["stop", "--agents"]).output();
        // A test that broke the config or the socket may have left it.
        if let Some(pid) = self.server_left() {
            kill(pid);
        }
    }
}

impl Bench {
    /// The control plane that still holds the lock.
    fn server_left(&self) -> Option<i32> {
        let lock = self.root.join(".fracta/control.lock");
        let file = std::fs::File::open(&lock).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => std::fs::read_to_string(lock).ok()?.trim().parse().ok(),
        }
    }
}

/// Reads an HTTP response to its end.
pub fn response(mut s: impl Read) -> (u16, Value) {
    let mut text = String::new();
    s.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A running `fracta events --follow`.
pub struct Follow {
    pub child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Follow {
    /// The next event; none at the end.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.out.read_line(&mut line).unwrap() {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))),
        }
    }

    /// Reads until an event of this kind, which is the last one given.
    pub fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before {kind}: {all:#?}"));
            all.push(event);
            if all.last().unwrap()["kind"] == kind {
                return all;
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a fifo for writing, which waits until the agent has opened it for reading. Dropped, the agent
/// goes on.
pub fn open_fifo(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

pub fn kill(pid: i32) {
    use nix::sys::signal;
    signal::kill(nix::unistd::Pid::from_raw(pid), signal::Signal::SIGKILL).unwrap();
}

pub fn alive(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

pub fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|e| e["seq"].as_u64().unwrap()).collect()
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
