//! The shim with real processes and real signals.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fracta::backend::local::frame::{Notice, Request};
use fracta::backend::local::{Attached, ExitRecord, RunRecord, ShimSpec, attach, start, tree};
use fracta::transport::stdio::{SendError, Shim};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing here may hang for ever; no test depends on this length.
const LIMIT: Duration = Duration::from_secs(120);

struct Session {
    dir: tempfile::TempDir,
    /// In the environment of every process of the test: what carries it belongs to the test.
    token: String,
}

impl Session {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir, token: fracta::id::random("token").unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn spec(&self, run: u32, argv: &[&str]) -> ShimSpec {
        let env = |k: &str, v: &str| (OsString::from(k), OsString::from(v));
        ShimSpec {
            session_dir: self.path().to_owned(),
            run,
            argv: argv.iter().map(OsString::from).collect(),
            cwd: self.path().to_owned(),
            env: vec![env("PATH", &std::env::var("PATH").unwrap()), env("TEST_TOKEN", &self.token)],
            stdin: true,
        }
    }

    async fn run(&self, argv: &[&str]) -> Shim {
        within(start(exe(), &self.spec(1, argv))).await.unwrap()
    }

    async fn sh(&self, script: &str) -> Shim {
        self.run(&["sh", "-c", script]).await
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    /// Living processes of this test, the shim not among them.
    fn left(&self) -> BTreeSet<i32> {
        let wanted = format!("TEST_TOKEN={}", self.token);
        let mut pids = BTreeSet::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            let env = fs::read(entry.path().join("environ")).unwrap_or_default();
            if env.split(|b| *b == 0).any(|v| v == wanted.as_bytes()) && tree::lookup(pid).is_some() {
                pids.insert(pid);
            }
        }
        pids
    }
}

impl Drop for Session {
    /// A test that failed leaves nobody behind.
    fn drop(&mut self) {
        let Ok(bytes) = fs::read(self.path().join("run.json")) else { return };
        let Ok(record) = serde_json::from_slice::<RunRecord>(&bytes) else { return };
        if tree::alive(record.shim) {
            let _ = kill(Pid::from_raw(record.shim.pid), Signal::SIGTERM);
        }
    }
}

/// The shim as agents get it.
fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_fracta-shim"))
}

/// What is a shim too, where `fracta-shim` is missing.
fn whole() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_fracta"))
}

async fn within<F: Future>(f: F) -> F::Output {
    tokio::time::timeout(LIMIT, f).await.expect("the test hangs")
}

/// Waits for a notice that fits.
async fn until<T>(shim: &mut Shim, mut fits: impl FnMut(Notice) -> Option<T>) -> T {
    within(async {
        loop {
            let notice = shim.notice().await.expect("the link is lost");
            if let Some(t) = fits(notice) {
                return t;
            }
        }
    })
    .await
}

async fn exit(shim: &mut Shim) -> ExitRecord {
    let exit = until(shim, |n| match n {
        Notice::Exit(e) => Some(e),
        _ => None,
    })
    .await;
    assert_eq!(within(shim.notice()).await, None, "nothing comes after the end");
    exit
}

/// Waits until the raw file holds this text, as told by notices. The notice may have come before.
async fn output(shim: &mut Shim, session: &Session, text: &str) {
    if String::from_utf8_lossy(&session.read("raw.jsonl")).contains(text) {
        return;
    }
    let holds = |len: u64| {
        let raw = session.read("raw.jsonl");
        assert!(raw.len() as u64 >= len, "told more than there is");
        String::from_utf8_lossy(&raw).contains(text)
    };
    until(shim, |n| match n {
        Notice::Hello(h) => holds(h.raw_len).then_some(()),
        Notice::Grown { raw_len } => holds(raw_len).then_some(()),
        Notice::Exit(e) => panic!("ended before {text:?}: {e:?}"),
        _ => None,
    })
    .await;
}

async fn killed(shim: &mut Shim) -> u32 {
    until(shim, |n| match n {
        Notice::Killed { count } => Some(count),
        _ => None,
    })
    .await
}

async fn send(shim: &Shim, request: Request) {
    within(shim.sender().send(request)).await.unwrap();
}

fn record(session: &Session) -> RunRecord {
    serde_json::from_slice(&session.read("run.json")).unwrap()
}

async fn live(session: &Session) -> Shim {
    match within(attach(session.path())).await.unwrap() {
        Attached::Live(shim) => shim,
        other => panic!("not alive: {other:?}"),
    }
}

/// Waits for the end of a process that is not our child.
async fn gone(pid: i32) {
    within(async {
        while tree::lookup(pid).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_ends_by_itself() {
    let s = Session::new();
    let mut shim = s.sh("echo out; echo err >&2; exit 3").await;
    let hello = shim.hello().clone();
    assert_eq!(hello.record, record(&s));
    assert_eq!(hello.record.agent.unwrap().pid, shim.agent_pid().unwrap());
    let end = exit(&mut shim).await;
    assert_eq!((end.exit.code, end.exit.signal, end.run), (Some(3), None, 1));
    assert_eq!((end.raw_len, end.stderr_len), (4, 4));
    assert_eq!(s.read("raw.jsonl"), b"out\n");
    assert_eq!(s.read("stderr.log"), b"err\n");
    assert_eq!(serde_json::from_slice::<ExitRecord>(&s.read("exit.json")).unwrap(), end);
    gone(hello.record.shim.pid).await;
    assert!(!hello.record.socket.exists(), "the socket is removed");
    for name in ["raw.jsonl", "stderr.log", "run.json", "exit.json"] {
        let mode = fs::metadata(s.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert!(matches!(within(attach(s.path())).await.unwrap(), Attached::Exited(e) if e == end));

    // The second run of the session appends.
    let mut shim = within(start(whole(), &s.spec(2, &["echo", "more"]))).await.unwrap();
    assert_eq!(shim.hello().record.raw_start, 4);
    let end = exit(&mut shim).await;
    assert_eq!((end.run, end.raw_len), (2, 9));
    assert_eq!(s.read("raw.jsonl"), b"out\nmore\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_environment_and_signals_of_an_agent_are_clean() {
    let s = Session::new();
    let script = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | cut -d= -f1 | sort; \
                  grep -e SigBlk -e SigIgn /proc/self/status; readlink /proc/self/fd/*";
    let mut shim = s.sh(script).await;
    exit(&mut shim).await;
    let out = String::from_utf8(s.read("raw.jsonl")).unwrap();
    let mut lines = out.lines();
    let names: Vec<&str> = lines.by_ref().take(3).collect();
    assert_eq!(names, ["FRACTA_RUN", "PATH", "TEST_TOKEN"]);
    for _ in 0..2 {
        let (name, mask) = lines.next().unwrap().split_once(":\t").unwrap();
        // 32 and 33 are the C library's own.
        let mask = u64::from_str_radix(mask, 16).unwrap() & !(0b11 << 31);
        assert_eq!(mask, 0, "{name}");
    }
    // What the test itself inherited may be there; nothing of the shim's may.
    for target in lines {
        assert!(!target.contains("raw.jsonl") && !target.contains("socket:"), "{out}");
    }
}

#[tokio::test]
async fn an_agent_killed_by_a_signal() {
    let s = Session::new();
    let mut shim = s.sh("echo ready; sleep 1000").await;
    output(&mut shim, &s, "ready").await;
    send(&shim, Request::Signal(Signal::SIGKILL as i32)).await;
    let end = exit(&mut shim).await;
    assert_eq!((end.exit.code, end.exit.signal), (None, Some(9)));
    assert!(s.left().is_empty());
}

#[tokio::test]
async fn an_agent_that_cannot_be_started() {
    for (program, words) in [
        ("no-such-agent", "no-such-agent was not found on the PATH"),
        ("/etc/passwd", "cannot run /etc/passwd: Permission denied"),
        ("/no/such", "cannot run /no/such: No such file"),
    ] {
        let s = Session::new();
        let mut shim = s.run(&[program, "x"]).await;
        assert_eq!(shim.agent_pid(), None);
        let end = exit(&mut shim).await;
        let said = end.exit.spawn_error.clone().unwrap();
        assert!(said.starts_with(words), "{said}");
        assert!(matches!(within(attach(s.path())).await.unwrap(), Attached::Exited(e) if e == end));
    }
    let s = Session::new();
    let mut spec = s.spec(1, &["true"]);
    spec.cwd = PathBuf::from("/no/such/folder");
    let mut shim = within(start(exe(), &spec)).await.unwrap();
    let said = exit(&mut shim).await.exit.spawn_error.unwrap();
    assert!(said.contains("working folder /no/such/folder"), "{said}");
}

#[tokio::test]
async fn stdin_reaches_the_agent_and_is_confirmed() {
    let s = Session::new();
    let mut shim = s.run(&["cat"]).await;
    send(&shim, Request::Stdin(b"hello\n".to_vec())).await;
    let written = until(&mut shim, |n| match n {
        Notice::StdinWritten { total, yours } => Some((total, yours)),
        _ => None,
    })
    .await;
    assert_eq!(written, (6, 6));
    output(&mut shim, &s, "hello\n").await;
    send(&shim, Request::Stdin(b"bye\n".to_vec())).await;
    send(&shim, Request::CloseStdin).await;
    assert!(exit(&mut shim).await.exit.success());
    assert_eq!(s.read("raw.jsonl"), b"hello\nbye\n");
}

#[tokio::test]
async fn ten_megabytes_of_stdin_for_a_slow_reader() {
    let s = Session::new();
    // It reads nothing until it is told to by a signal.
    let mut shim = s.sh("trap 'exec sha256sum' USR1; echo ready; while :; do sleep 0.01; done").await;
    output(&mut shim, &s, "ready").await;
    let pid = shim.hello().record.shim.pid;
    let bytes: Vec<u8> = (0..10u32 << 20).map(|n| (n * 7 % 251) as u8).collect();
    let (sender, wanted) = (shim.sender(), digest(&bytes));
    let sending = tokio::spawn(async move {
        for part in bytes.chunks(3 << 20) {
            sender.send(Request::Stdin(part.to_vec())).await.unwrap();
        }
        sender.send(Request::CloseStdin).await.unwrap();
    });
    // The pipe is full and the shim has all it will take; what is asked now is carried out all the same.
    until(&mut shim, |n| matches!(n, Notice::StdinWritten { .. }).then_some(())).await;
    for _ in 0..50 {
        send(&shim, Request::Ping).await;
        until(&mut shim, |n| matches!(n, Notice::Pong).then_some(())).await;
    }
    assert!(!sending.is_finished(), "the bound holds the sender back");
    send(&shim, Request::Signal(Signal::SIGUSR1 as i32)).await;
    within(sending).await.unwrap();
    let peak = peak_memory(pid);
    assert!(exit(&mut shim).await.exit.success());
    let out = String::from_utf8(s.read("raw.jsonl")).unwrap();
    assert!(out.contains(&wanted), "{out}");
    report("10 MB of stdin", peak);
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Peak resident memory in KiB.
fn peak_memory(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Shown with `--no-capture`. A debug build is larger; the bound is for what people run.
#[expect(clippy::disallowed_macros, reason = "a test's own output")]
fn report(what: &str, peak: Option<u64>) {
    println!("shim peak after {what}: {peak:?} KiB");
    if !cfg!(debug_assertions) {
        assert!(peak.is_some_and(|k| k < 5 * 1024), "{what}: {peak:?} KiB");
    }
}

#[tokio::test]
async fn a_flood_that_nobody_reads_is_all_in_the_file() {
    let s = Session::new();
    // Waits at its end, so that the shim can be measured.
    let script = "head -c 100000000 /dev/zero | tr '\\0' x; echo; seq 1 1000000; echo all; read x";
    let first = s.sh(script).await;
    let pid = first.hello().record.shim.pid;
    // This one never reads.
    let deaf = std::os::unix::net::UnixStream::connect(&first.hello().record.socket).unwrap();
    let mut shim = live(&s).await;
    output_tail(&mut shim, &s, b"all\n").await;
    let peak = peak_memory(pid);
    send(&first, Request::CloseStdin).await;
    // Not `exit`, which waits for the shim's own end.
    let end = until(&mut shim, |n| match n {
        Notice::Exit(e) => Some(e),
        _ => None,
    })
    .await;
    let raw = s.read("raw.jsonl");
    assert_eq!(end.raw_len, raw.len() as u64);
    let mut lines = fracta::transport::lines::Lines::new(0);
    let (mut n, mut long) = (0u64, None);
    lines.push(&raw, |_, piece| match piece {
        fracta::transport::lines::Piece::TooLong { len } => long = Some(len),
        fracta::transport::lines::Piece::Line(l) if l != b"all" => {
            n += 1;
            assert_eq!(l, n.to_string().as_bytes());
        }
        _ => {}
    });
    assert_eq!((long, n), (Some(100_000_000), 1_000_000));
    report("107 MB of stdout", peak);

    // The first shim still waits for the deaf one to hear of the end; the next run need not.
    assert!(tree::lookup(pid).is_some());
    let mut next = within(start(exe(), &s.spec(2, &["cat"]))).await.unwrap();
    drop(deaf);
    gone(pid).await;
    let second = live(&s).await;
    assert_eq!(second.hello().record.run, 2, "its socket outlives the first shim");
    send(&next, Request::CloseStdin).await;
    assert_eq!(exit(&mut next).await.run, 2);
}

/// As [`output`], for large files: looks only at the end.
async fn output_tail(shim: &mut Shim, session: &Session, tail: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(session.path().join("raw.jsonl")).unwrap();
    let ends = |len: u64| {
        let mut buf = vec![0; tail.len()];
        len >= tail.len() as u64
            && file.read_exact_at(&mut buf, len - tail.len() as u64).is_ok()
            && buf == tail
    };
    until(shim, |n| match n {
        Notice::Hello(h) => ends(h.raw_len).then_some(()),
        Notice::Grown { raw_len } => ends(raw_len).then_some(()),
        Notice::Exit(e) => panic!("ended: {e:?}"),
        _ => None,
    })
    .await;
}

/// A shell line that leaves a process in a session of its own, whose parent is gone, deaf to TERM.
const ESCAPE: &str =
    "(setsid sh -c '(trap \"\" TERM HUP; echo escaped; while :; do sleep 1000; done) & exit' &)";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kill_tree_finds_who_escaped() {
    let s = Session::new();
    let mut shim = s.sh(&format!("{ESCAPE}; sleep 1000 & sleep 1000")).await;
    output(&mut shim, &s, "escaped").await;
    assert!(s.left().len() >= 3, "{:?}", s.left());
    send(&shim, Request::KillTree { grace_ms: 100 }).await;
    assert!(killed(&mut shim).await >= 3);
    let end = exit(&mut shim).await;
    assert_eq!(end.exit.signal, Some(15), "the agent heeded TERM");
    assert_eq!(s.left(), BTreeSet::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_run_that_ends_leaves_nobody() {
    let s = Session::new();
    // The escaped process holds stdout open, too.
    let mut shim = s.sh(&format!("{ESCAPE}; read x; exit 7")).await;
    output(&mut shim, &s, "escaped").await;
    send(&shim, Request::CloseStdin).await;
    assert_eq!(exit(&mut shim).await.exit.code, Some(7));
    assert_eq!(s.left(), BTreeSet::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_fork_race_is_not_won() {
    let s = Session::new();
    // Each process makes another in a new session and ends; a generation lives for an instant.
    fs::write(s.path().join("hop"), "#!/bin/sh\ntrap '' TERM\nsetsid \"$0\" &\nexit\n").unwrap();
    fs::set_permissions(s.path().join("hop"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut shim = s.sh("./hop; ./hop; echo ready; sleep 1000").await;
    output(&mut shim, &s, "ready").await;
    send(&shim, Request::KillTree { grace_ms: 0 }).await;
    exit(&mut shim).await;
    assert_eq!(s.left(), BTreeSet::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kill_since_mark_spares_the_agent_and_what_was_before() {
    let s = Session::new();
    let script = format!("sleep 1000 & echo first; read x; {ESCAPE}; sleep 1001 & exec cat");
    let mut shim = s.sh(&script).await;
    output(&mut shim, &s, "first").await;
    let before = s.left();
    assert_eq!(before.len(), 2);
    send(&shim, Request::Mark).await;
    send(&shim, Request::Stdin(b"go\n".to_vec())).await;
    output(&mut shim, &s, "escaped").await;
    send(&shim, Request::Stdin(b"cat is there\n".to_vec())).await;
    output(&mut shim, &s, "cat is there").await;
    assert!(s.left().len() >= 4);
    send(&shim, Request::KillSinceMark { grace_ms: 50 }).await;
    assert!(killed(&mut shim).await >= 2);
    assert_eq!(s.left(), before, "only what came after the mark is gone");
    send(&shim, Request::Stdin(b"still here\n".to_vec())).await;
    output(&mut shim, &s, "still here").await;
    send(&shim, Request::KillTree { grace_ms: 1000 }).await;
    exit(&mut shim).await;
    assert_eq!(s.left(), BTreeSet::new());
}

#[tokio::test]
async fn a_control_plane_that_dies_loses_nothing() {
    let s = Session::new();
    let mut first = s.sh("while read n; do seq 1 $n; echo done $n; done").await;
    send(&first, Request::Stdin(b"1000\n".to_vec())).await;
    output(&mut first, &s, "done 1000").await;
    send(&first, Request::Stdin(b"5000\n".to_vec())).await;
    until(&mut first, |n| matches!(n, Notice::StdinWritten { total: 10, .. }).then_some(())).await;
    drop(first);
    let mut second = live(&s).await;
    assert_eq!(second.hello().stdin_total, 10);
    output(&mut second, &s, "done 5000").await;
    send(&second, Request::CloseStdin).await;
    let end = exit(&mut second).await;
    let wanted: String = (1..=1000).map(|n| format!("{n}\n")).collect::<String>()
        + "done 1000\n"
        + &(1..=5000).map(|n| format!("{n}\n")).collect::<String>()
        + "done 5000\n";
    assert_eq!(s.read("raw.jsonl"), wanted.as_bytes());
    assert_eq!(end.raw_len, wanted.len() as u64);
}

#[tokio::test]
async fn an_agent_that_ends_without_a_control_plane() {
    let s = Session::new();
    nix::unistd::mkfifo(&s.path().join("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut shim = s.sh("echo ready; read x < gate; echo $x; exit 4").await;
    output(&mut shim, &s, "ready").await;
    let pid = shim.hello().record.shim.pid;
    drop(shim);
    fs::write(s.path().join("gate"), "word\n").unwrap();
    gone(pid).await;
    let Attached::Exited(end) = within(attach(s.path())).await.unwrap() else { panic!("not exited") };
    assert_eq!(end.exit.code, Some(4));
    assert_eq!(s.read("raw.jsonl"), b"ready\nword\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_shim_killed_with_sigkill_leaves_no_agent() {
    let s = Session::new();
    let mut shim = s.sh(&format!("{ESCAPE}; echo ready; sleep 1000")).await;
    output(&mut shim, &s, "ready").await;
    output(&mut shim, &s, "escaped").await;
    let record = record(&s);
    kill(Pid::from_raw(record.shim.pid), Signal::SIGKILL).unwrap();
    while within(shim.notice()).await.is_some() {}
    let sender = shim.sender();
    within(async { while sender.send(Request::Ping).await.is_ok() {} }).await;
    assert_eq!(sender.send(Request::Ping).await, Err(SendError::LinkLost));
    // At once, without anybody's help:
    gone(record.agent.unwrap().pid).await;
    // And what escaped, when the control plane looks.
    assert!(!s.left().is_empty());
    match within(attach(s.path())).await.unwrap() {
        Attached::Lost { run, killed } => {
            assert_eq!(run, record);
            assert!(killed >= 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(s.left(), BTreeSet::new());
    // The session is usable again.
    let mut shim = within(start(whole(), &s.spec(2, &["echo", "again"]))).await.unwrap();
    assert!(exit(&mut shim).await.exit.success());
}

#[tokio::test]
async fn sigterm_to_the_shim_ends_the_run_properly() {
    let s = Session::new();
    let mut shim = s.sh("echo ready; sleep 1000").await;
    output(&mut shim, &s, "ready").await;
    kill(Pid::from_raw(record(&s).shim.pid), Signal::SIGTERM).unwrap();
    assert_eq!(exit(&mut shim).await.exit.signal, Some(15));
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
        let s = Session::new();
        let mut shim = s.run(&["cat"]).await;
        kill(Pid::from_raw(record(&s).shim.pid), signal).unwrap();
        send(&shim, Request::Stdin(b"there\n".to_vec())).await;
        output(&mut shim, &s, "there").await;
        send(&shim, Request::CloseStdin).await;
        assert!(exit(&mut shim).await.exit.success(), "{signal}");
    }
}

#[tokio::test]
async fn two_clients_hear_the_same() {
    let s = Session::new();
    let mut one = s.run(&["cat"]).await;
    let mut two = live(&s).await;
    send(&one, Request::Stdin(b"from one\n".to_vec())).await;
    output(&mut two, &s, "from one").await;
    send(&two, Request::Stdin(b"from two\n".to_vec())).await;
    output(&mut one, &s, "from two").await;
    send(&two, Request::CloseStdin).await;
    assert_eq!(exit(&mut one).await, exit(&mut two).await);
}

#[tokio::test]
async fn a_message_cut_by_death_does_not_run_into_the_next() {
    use std::io::Write;
    let s = Session::new();
    let mut shim = s.run(&["cat"]).await;
    let mut raw = std::os::unix::net::UnixStream::connect(&shim.hello().record.socket).unwrap();
    // A part of a message (type 2), whole; then the half of another frame.
    raw.write_all(&[4, 0, 0, 0, 2]).unwrap();
    raw.write_all(b"half").unwrap();
    raw.write_all(&[9, 0, 0, 0, 3, b'x']).unwrap();
    output(&mut shim, &s, "half").await;
    drop(raw);
    output(&mut shim, &s, "half\n").await;
    send(&shim, Request::Stdin(b"whole\n".to_vec())).await;
    send(&shim, Request::CloseStdin).await;
    exit(&mut shim).await;
    assert_eq!(s.read("raw.jsonl"), b"half\nwhole\n");
}

#[tokio::test]
async fn nonsense_ends_only_its_own_link() {
    use std::io::{Read, Write};
    let s = Session::new();
    let mut shim = s.run(&["cat"]).await;
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 0, 99], &[1, 0, 0, 0, 6, 1], &[0, 0, 17, 0, 3]]
    {
        let mut raw = std::os::unix::net::UnixStream::connect(&shim.hello().record.socket).unwrap();
        raw.write_all(nonsense).unwrap();
        let mut all = Vec::new();
        // Ends because the shim hangs up.
        let _ = raw.read_to_end(&mut all);
    }
    send(&shim, Request::Stdin(b"alive\n".to_vec())).await;
    output(&mut shim, &s, "alive").await;
    send(&shim, Request::CloseStdin).await;
    assert!(exit(&mut shim).await.exit.success());
}

#[tokio::test]
async fn stdin_that_is_closed_says_so() {
    let s = Session::new();
    let mut shim = s.sh("exec <&-; echo closed; sleep 1000").await;
    output(&mut shim, &s, "closed").await;
    send(&shim, Request::Stdin(vec![b'x'; 2 << 20])).await;
    until(&mut shim, |n| matches!(n, Notice::StdinBroken { .. }).then_some(())).await;
    let refused = within(shim.sender().send(Request::Stdin(b"y".to_vec()))).await;
    assert_eq!(refused, Err(SendError::StdinBroken));
    send(&shim, Request::KillTree { grace_ms: 1000 }).await;
    exit(&mut shim).await;

    let s = Session::new();
    let mut spec = s.spec(1, &["cat"]);
    spec.stdin = false;
    let mut shim = within(start(exe(), &spec)).await.unwrap();
    assert!(exit(&mut shim).await.exit.success(), "cat reads /dev/null and ends");
}

#[tokio::test]
async fn a_session_has_one_shim() {
    let s = Session::new();
    let mut shim = s.run(&["cat"]).await;
    let error = within(start(exe(), &s.spec(2, &["cat"]))).await.unwrap_err();
    assert!(error.to_string().contains("another shim owns"), "{error}");
    assert_eq!(record(&s).run, 1, "the living run's record is untouched");
    send(&shim, Request::CloseStdin).await;
    exit(&mut shim).await;
}

#[tokio::test]
async fn a_socket_path_that_is_too_long() {
    let mut s = Session::new();
    let base = tempfile::Builder::new().prefix(&"d".repeat(120)).tempdir().unwrap();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o700)).unwrap();
    s.dir = base;
    let shim = s.run(&["cat"]).await;
    let socket = shim.hello().record.socket.clone();
    assert!(!socket.starts_with(s.path()));
    drop(shim);
    let mut again = live(&s).await;
    send(&again, Request::CloseStdin).await;
    exit(&mut again).await;
    gone(again.hello().record.shim.pid).await;
    assert!(!socket.exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let limit = |pid: i32, size: &str| {
        std::process::Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &format!("--fsize={size}:unlimited")])
            .status()
            .is_ok_and(|s| s.success())
    };
    let s = Session::new();
    let mut shim = s.sh("read x; head -c 3000000 /dev/zero; echo end").await;
    let pid = shim.hello().record.shim.pid;
    if !limit(pid, "1000000") {
        panic!("`prlimit` (util-linux) is needed to act a full disk");
    }
    send(&shim, Request::Stdin(b"go\n".to_vec())).await;
    let trouble =
        |over: bool| move |n| matches!(n, Notice::Trouble { over: o, .. } if o == over).then_some(());
    until(&mut shim, trouble(false)).await;
    assert_eq!(s.read("raw.jsonl").len(), 1_000_000);
    // Also who comes later is told, and the agent waits.
    let mut late = live(&s).await;
    until(&mut late, trouble(false)).await;
    assert!(tree::alive(shim.hello().record.agent.unwrap()));
    assert!(limit(pid, "unlimited"));
    until(&mut shim, trouble(true)).await;
    let end = exit(&mut shim).await;
    assert!(end.exit.success());
    let raw = s.read("raw.jsonl");
    assert_eq!(raw.len(), 3_000_004);
    assert!(raw.ends_with(b"\0end\n"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_is_not_let_in() {
    use std::os::unix::process::CommandExt;
    if !nix::unistd::geteuid().is_root() {
        #[expect(clippy::disallowed_macros, reason = "a skipped test says so")]
        {
            eprintln!("SKIPPED: only root can act another user");
        }
        return;
    }
    let s = Session::new();
    let mut shim = s.run(&["cat"]).await;
    // Even if the modes of folder and socket were wrong.
    let socket = shim.hello().record.socket.clone();
    for (path, mode) in [(s.path(), 0o755), (&*socket, 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; \
                  print defined(<$s>) ? 'let in' : 'hung up'";
    let run = |uid: u32| {
        let mut c = std::process::Command::new("perl");
        c.args(["-e", script]).arg(&socket).current_dir("/").uid(uid);
        let out = c.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(run(65_534), "hung up");
    send(&shim, Request::CloseStdin).await;
    exit(&mut shim).await;
}
