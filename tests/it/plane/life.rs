//! The life of a control plane: starting, being found, ending.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::bench::{Bench, alive, lines, mode, open_fifo};
use crate::support::{TestProject, note};

#[test]
fn a_command_starts_a_private_control_plane_of_its_own_session() {
    let b = Bench::new();
    assert_eq!(b.status()["running"], false);
    assert!(!b.root().join(".fracta").exists(), "asking for the status starts nothing");
    b.ok(&["list"]);
    let s = b.status();
    let pid = nix::unistd::Pid::from_raw(b.server_pid());
    assert_eq!(mode(s["socket"].as_str().unwrap().as_ref()), 0o600);
    assert_eq!(mode(&b.root().join(".fracta")), 0o700);
    assert_eq!(nix::unistd::getsid(Some(pid)).unwrap(), pid, "it leads a session of its own");
    assert_eq!(s["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&s["agents"], &s["running"]), (&0.into(), &0.into()));
    assert!(b.ok(&["status"]).contains(&format!("pid      {pid}")));
    assert_eq!(b.project().git(&["status", "--porcelain"]), "?? fracta.yaml", "the state folder is not seen");
}

#[test]
fn the_control_plane_outlives_the_terminal_it_was_started_in() {
    let b = Bench::new();
    let pty = portable_pty::native_pty_system().openpty(portable_pty::PtySize::default()).unwrap();
    let mut c = portable_pty::CommandBuilder::new("/bin/sh");
    // The shell leads the terminal's session: the hang-up goes to all of its foreground group.
    c.args(["-c", "\"$FRACTA\" list; cat"]);
    c.env("FRACTA", env!("CARGO_BIN_EXE_fracta"));
    c.env("HOME", b.dir());
    c.env("XDG_RUNTIME_DIR", b.path("run"));
    c.cwd(b.root());
    let mut shell = pty.slave.spawn_command(c).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    let mut seen = String::new();
    let mut buf = [0; 1024];
    while !seen.contains("no agents") {
        let n = std::io::Read::read(&mut reader, &mut buf).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buf[..n]));
    }
    let pid = b.server_pid();
    drop(reader);
    drop(pty.master);
    assert!(!shell.wait().unwrap().success(), "the hang-up ended the shell");
    assert_eq!(b.server_pid(), pid, "and not the control plane");
}

#[test]
fn many_first_commands_at_once_start_one_control_plane() {
    let b = Bench::new();
    let all: Vec<_> = (0..8).map(|_| b.command(&["list", "--json"]).spawn().unwrap()).collect();
    for child in all {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.stdout, b"[]\n");
    }
    let log = std::fs::read_to_string(b.root().join(".fracta/fracta.log")).unwrap();
    let started = lines(&log).iter().filter(|l| l["fields"]["message"] == "control plane started").count();
    assert_eq!(started, 1, "{log}");
}

#[test]
fn a_second_serve_says_that_there_is_one_already() {
    let b = Bench::new();
    b.ok(&["list"]);
    let pid = b.server_pid();
    let words = b.fails(1, &["serve"]);
    assert!(words.contains("has a control plane already") && words.contains("fracta stop"), "{words}");
    assert_eq!(b.server_pid(), pid);
}

#[test]
fn serve_in_the_foreground_is_used_by_commands_and_ends_on_a_signal() {
    let b = Bench::new();
    let mut server = b.command(&["serve"]).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.contains("is ready"), "{line}");
    assert_eq!(b.server_pid(), i32::try_from(server.id()).unwrap());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(b.server_pid()), nix::sys::signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert_eq!(b.status()["running"], false);
    assert!(!b.root().join(".fracta/control.sock").exists());
}

#[test]
fn a_killed_control_plane_leaves_nothing_in_the_way() {
    let b = Bench::new();
    b.ok(&["list"]);
    b.kill_server();
    assert!(b.root().join(".fracta/control.sock").exists(), "a stale socket is there");
    assert_eq!(b.status()["running"], false);
    assert_eq!(b.json(&["list"]), serde_json::json!([]));
}

#[test]
fn stop_and_start_at_once() {
    let b = Bench::new();
    for _ in 0..5 {
        b.ok(&["list"]);
        let pid = b.server_pid();
        b.ok(&["stop"]);
        assert!(!alive(pid) || b.status()["running"] == false);
    }
    assert_eq!(b.json(&["stop"])["stopped"], false);
}

#[test]
fn a_long_path_has_its_socket_elsewhere() {
    let project = TestProject::new();
    let root = project.dir().join("d".repeat(100)).join("e".repeat(100));
    let b = Bench::at(project, root);
    b.ok(&["list"]);
    let socket = b.status()["socket"].as_str().unwrap().to_owned();
    assert!(socket.starts_with(b.path("run").to_str().unwrap()), "{socket}");
    assert_eq!((mode(socket.as_ref()), mode(&b.path("run/fracta"))), (0o600, 0o700));
    b.spawn_and_wait("a", "hello");
    let pid = b.server_pid();
    b.kill_server();
    assert_eq!(b.agent("a")["state"], "idle", "found again by the next one");
    assert_ne!(b.server_pid(), pid);
}

#[test]
fn two_projects_have_two_control_planes() {
    let (a, b) = (Bench::new(), Bench::new());
    a.spawn_and_wait("one", "hello");
    b.spawn_and_wait("two", "hello");
    assert_ne!(a.server_pid(), b.server_pid());
    assert_eq!(a.json(&["list"]).as_array().unwrap().len(), 1);
    assert_eq!(b.json(&["list"])[0]["name"], "two");
    a.ok(&["stop", "--agents"]);
    assert_eq!(b.agent("two")["state"], "idle", "the other project is left alone");
}

#[test]
fn another_api_version_is_refused_with_the_way_out() {
    let b = Bench::new();
    b.ok(&["list"]);
    for (api, shown) in [("2", "speaks 2"), ("0", "speaks 0")] {
        let (status, body) = b.http("GET", "/v1/agents", api);
        assert_eq!((status, &body["code"]), (426, &"version".into()), "{body}");
        let text = body["message"].as_str().unwrap();
        assert!(text.contains(shown) && text.contains("fracta stop"), "{text}");
        assert_eq!(b.http("GET", "/v1/status", api).0, 200, "status is for every version");
    }
    let pid = b.server_pid();
    assert_eq!(b.http("POST", "/v1/shutdown", "2").0, 200, "and so is the end");
    b.wait_for_server_end();
    b.ok(&["list"]);
    assert_ne!(b.server_pid(), pid);
}

#[test]
fn a_control_plane_that_cannot_start_says_why() {
    let b = Bench::new();
    b.raw_config("agents:\n  default_mod: stream\n");
    let words = b.fails(2, &["list"]);
    assert!(words.contains("fracta.yaml:2:3") && words.contains("default_mode"), "{words}");

    b.config("");
    b.ok(&["list"]);
    b.ok(&["stop"]);
    let db = rusqlite::Connection::open(b.root().join(".fracta/state.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let words = b.fails(1, &["list"]);
    assert!(words.contains("newer fracta") && words.contains("99") && words.contains("state.db"), "{words}");
    db.pragma_update(None, "user_version", 1).unwrap();
    drop(db);
    b.ok(&["list"]);
    b.ok(&["stop"]);

    let state = b.root().join(".fracta");
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(&state, Some(65534.into()), None).unwrap();
        let words = b.fails(1, &["list"]);
        assert!(words.contains(".fracta") && words.contains("65534"), "{words}");
        nix::unistd::chown(&state, Some(0.into()), None).unwrap();
    } else {
        note("SKIPPED: only root can give a folder to somebody else");
    }
    std::fs::rename(&state, b.root().join("kept")).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    let words = b.fails(1, &["list"]);
    assert!(words.contains("cannot create") && words.contains(".fracta"), "{words}");
    std::fs::remove_file(&state).unwrap();
    symlink("nowhere", &state).unwrap();
    b.fails(1, &["list"]);
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(b.root().join("kept"), &state).unwrap();
    b.ok(&["list"]);
}

#[test]
fn agents_outlive_the_control_plane_unless_they_are_to_end() {
    let b = Bench::new();
    let (first, second) = (b.fifo("first"), b.fifo("second"));
    b.ok(&[
        "spawn",
        "--task",
        "a",
        "--contract",
        &format!("wait {} wait {}", first.display(), second.display()),
    ]);
    drop(open_fifo(&first));
    let held = open_fifo(&second);
    assert!(b.ok(&["stop"]).contains("agents go on"));
    assert_eq!(b.status()["running"], false);
    assert_eq!(b.agent("a")["state"], "running", "its turn went on");
    drop(held);
    b.follow("a", 0).until("turn.completed");

    // `sh` itself is the agent's process; its shim and its children end with it.
    let third = b.fifo("third");
    b.ok(&["say", "a", &format!("wait {}", third.display())]);
    let held = open_fifo(&third);
    let ours = processes(b.dir());
    assert!(ours.len() >= 2, "shim and agent: {ours:?}");
    b.ok(&["stop", "--agents"]);
    assert_eq!(processes(b.dir()), Vec::<String>::new(), "none is left");
    drop(held);
    let a = b.agent("a");
    assert_ne!(a["state"], "running", "{a:#}");
    assert!(a["reason"].as_str().unwrap().contains("stop --agents"), "{a:#}");
}

#[test]
fn a_client_that_stopped_reading_does_not_keep_the_control_plane() {
    use std::io::Write;
    let b = Bench::new();
    b.spawn_and_wait("a", "flood 40000");
    let mut slow = std::os::unix::net::UnixStream::connect(b.status()["socket"].as_str().unwrap()).unwrap();
    slow.write_all(b"GET /v1/agents/a/events?follow=true HTTP/1.1\r\nhost: x\r\nfracta-api: 1\r\n\r\n")
        .unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(&mut slow, &mut byte).unwrap(); // It is being answered, and reads no more.
    let pid = b.server_pid();
    b.ok(&["stop"]);
    assert_eq!(b.status()["running"], false);
    b.ok(&["list"]);
    assert_ne!(b.server_pid(), pid);
}

/// Processes other than control planes whose command line names this folder.
fn processes(dir: &std::path::Path) -> Vec<String> {
    let out =
        std::process::Command::new("ps").args(["-eo", "pid=,args="]).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let here = dir.to_str().unwrap();
    text.lines().filter(|l| l.contains(here) && !l.contains(" serve ")).map(str::to_owned).collect()
}

/// Nobody is there to end them: a control plane is started for it.
#[test]
fn agents_without_a_control_plane_are_ended_too() {
    let b = Bench::new();
    assert_eq!(b.json(&["stop", "--agents"])["stopped"], false, "nothing ran, nothing is started");
    let gate = b.fifo("gate");
    b.ok(&["spawn", "--task", "a", "--contract", &format!("flood 2 wait {}", gate.display())]);
    let held = open_fifo(&gate);
    b.kill_server();
    let ours = processes(b.dir());
    assert!(ours.len() >= 2, "shim and agent go on: {ours:?}");
    assert_eq!(b.json(&["stop", "--agents"])["stopped"], true);
    assert_eq!(processes(b.dir()), Vec::<String>::new(), "none is left");
    assert_eq!(b.json(&["stop", "--agents"])["stopped"], false, "nothing is left to end");
    drop(held);
    let a = b.agent("a");
    assert_eq!(a["state"], "stopped", "{a:#}");
    assert!(a["reason"].as_str().unwrap().contains("stop --agents"), "{a:#}");
}

/// What a spawn answers is what is known: nothing has run yet, and something is about to.
#[test]
fn a_new_agent_is_starting() {
    let b = Bench::new();
    for n in 0..8 {
        let (name, mode) = (format!("a{n}"), if n % 2 == 0 { "stream" } else { "batch" });
        let row = b.json(&["spawn", "--task", &name, "--mode", mode, "--contract", "flood 1"]);
        let state = row["state"].as_str().unwrap();
        assert!(["starting", "running"].contains(&state), "{row:#}");
    }
}
