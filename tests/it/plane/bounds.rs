//! Law 1: floods, endless lines, bytes that are no text, full disks, torn files. Nothing is lost or
//! stalled, and memory stays where it is.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::bench::{Bench, open_fifo, seqs};
use crate::support::note;

/// Most memory that a control plane may ever have had, in KiB (a debug build).
const MOST_MEMORY: u64 = 60 << 10;

/// The most memory that a process ever had, in KiB; Linux only.
fn peak_memory(pid: i32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        note("SKIPPED: this system does not tell how much memory a process had");
        return 0;
    };
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

/// The numbers and kinds of a journal's lines, read as fast as a test needs it.
fn scan(path: &Path, mut each: impl FnMut(u64, &str)) {
    let mut file = BufReader::new(fs::File::open(path).unwrap());
    let mut line = String::new();
    while file.read_line(&mut line).unwrap() > 0 {
        each(seq(&line), &line);
        line.clear();
    }
}

/// The number of `{"seq":N,…`.
fn seq(line: &str) -> u64 {
    let rest = line.strip_prefix("{\"seq\":").unwrap_or_else(|| panic!("no event: {line}"));
    rest[..rest.find(',').unwrap()].parse().unwrap()
}

/// A client of the event stream that reads only when it is asked to.
struct SlowClient {
    socket: BufReader<UnixStream>,
    chunk: Vec<u8>,
    at: usize,
}

impl SlowClient {
    fn new(b: &Bench, agent: &str) -> Self {
        let mut socket = UnixStream::connect(b.status()["socket"].as_str().unwrap()).unwrap();
        let path = format!("/v1/agents/{agent}/events?follow=true");
        write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\nfracta-api: 1\r\n\r\n").unwrap();
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            socket.read_line(&mut line).unwrap();
        }
        Self { socket, chunk: Vec::new(), at: 0 }
    }

    /// The next event's line; frames do not cross the chunks of the transfer.
    fn next(&mut self) -> String {
        while self.at == self.chunk.len() {
            let mut size = String::new();
            self.socket.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            assert_ne!(size, 0, "the stream ended");
            self.chunk.resize(size + 2, 0);
            self.socket.read_exact(&mut self.chunk).unwrap();
            self.chunk.truncate(size);
            self.at = 0;
        }
        let rest = &self.chunk[self.at..];
        let end = memchr::memmem::find(rest, b"\n\n").expect("a whole frame");
        self.at += end + 2;
        String::from_utf8(rest[b"data: ".len()..end].to_vec()).unwrap()
    }
}

#[test]
fn a_flood_of_a_million_events() {
    const N: u64 = 1_000_000;
    let b = Bench::new();
    b.spawn_and_wait("other", "hello");
    let gate = b.fifo("gate");
    b.ok(&["spawn", "--task", "flood", "--contract", &format!("wait {} flood {N}", gate.display())]);
    let mut slow = SlowClient::new(&b, "flood");
    assert_eq!(seq(&slow.next()), 1);
    drop(open_fifo(&gate));

    // In the middle of it, everybody else is served.
    let middle = b.follow("flood", 50_000).next().unwrap();
    assert_eq!((&middle["seq"], &middle["kind"]), (&50_001.into(), &"message.delta".into()));
    let after = b.agent("other")["last_seq"].as_u64().unwrap();
    b.ok(&["say", "other", "hello"]);
    b.follow("other", after).until("turn.completed");
    let flood = b.agent("flood");
    assert_eq!(flood["state"], "running", "all that was still in the flood: {flood:#}");

    b.follow("flood", N).until("turn.completed");
    let server = b.server_pid();
    let last = b.agent("flood")["last_seq"].as_u64().unwrap();
    assert!(last >= N);
    let (mut next, mut deltas) = (1, 0);
    scan(&b.session_dir("flood").join("events.jsonl"), |seq, line| {
        assert_eq!(seq, next);
        next += 1;
        deltas += u64::from(line.contains("\"message.delta\""));
    });
    assert_eq!((next - 1, deltas), (last, N + 1), "all of them, and `Done.`");
    for n in 2..=last {
        assert_eq!(seq(&slow.next()), n, "a client that did not read gets everything all the same");
    }
    let peak = peak_memory(server);
    note(&format!("the control plane's most memory: {} MiB", peak >> 10));
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}

#[test]
fn a_line_of_100_mb_becomes_a_gap() {
    const LEN: usize = 100_000_000;
    let b = Bench::new();
    let a = b.spawn_and_wait("a", &format!("long {LEN}"));
    assert_eq!(a["state"], "idle", "{a:#}");
    let events = b.events("a");
    let gaps: Vec<&Value> = events.iter().filter(|e| e["kind"] == "gap").collect();
    let [gap] = gaps[..] else { panic!("{events:#?}") };
    let text = gap["text"].as_str().unwrap();
    let offset = gap["raw"].as_u64().unwrap();
    assert!(text.contains(&LEN.to_string()) && text.contains(&format!("byte {offset}")), "{text}");
    assert_eq!(events.last().unwrap()["kind"], "turn.completed", "the session goes on");

    let raw = fs::File::open(b.session_dir("a").join("raw.jsonl")).unwrap();
    let mut line = vec![0; LEN + 1];
    raw.read_exact_at(&mut line, offset).unwrap();
    assert!(line[LEN] == b'\n' && memchr::memchr(b'\n', &line[..LEN]).is_none());
    assert!(
        line[..LEN].chunks(4096).all(|c| c.iter().fold(true, |ok, b| ok & (*b == b'x'))),
        "it is there whole"
    );
    let peak = peak_memory(b.server_pid());
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}

#[test]
fn bytes_that_are_no_text_and_lines_that_are_no_events() {
    let b = Bench::new();
    let mut bytes = Vec::new();
    for line in [
        &b"\xff\xfe\x00\x00 not text"[..],
        b"\0\0\0",
        b"",
        b"\r",
        br#"{"method":"item/agentMessage/delta","params":{"threadId":"thread-1","turnId":"t","itemId":"i","delta":"a\u0000b"}}"#,
        b"{\"method\":\"item/agentMessage/delta\",\"params\":{\"threadId\":\"thread-1\",\"turnId\":\"t\",\"itemId\":\"i\",\"delta\":\"\xc3(\"}}",
        br#"{"method":"item/agentMessage/delta","params":{"thread"#,
        br#"{"method":"item/completed","params":[1,2]}"#,
        br#"{"method":"turn/completed","params":{"threadId":"thread-1"}}"#,
        br#"{"id":{"x":1},"method":"item/commandExecution/requestApproval","params":null}"#,
        b"null",
        "[".repeat(200_000).as_bytes(),
        format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)).as_bytes(),
    ] {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    let file = b.path("bytes");
    fs::write(&file, &bytes).unwrap();
    let a = b.spawn_and_wait("a", &format!("cat {}", file.display()));
    assert_eq!(a["state"], "idle", "{a:#}");
    let events = b.events("a");
    assert_eq!(seqs(&events), (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events.iter().any(|e| e["text"] == "a\0b"), "{events:#?}");
    assert!(events.iter().filter(|e| e["kind"] == "raw").count() >= 8, "what nobody knows is kept whole");
    b.ok(&["peek", "a"]);
    let raw = b.command(&["events", "a", "--raw"]).output().unwrap().stdout;
    assert!(memchr::memmem::find(&raw, &bytes).is_some(), "the bytes as they came");
    b.ok(&["say", "a", "hello"]);
    b.follow("a", events.len() as u64).until("turn.completed");
}

#[test]
fn a_torn_journal_is_repaired_and_told() {
    let b = Bench::new();
    b.spawn_and_wait("a", "hello");
    let journal = b.session_dir("a").join("events.jsonl");
    let before = fs::read(&journal).unwrap();
    let last = b.events("a").len() as u64;
    b.ok(&["stop"]);
    let torn = br#"{"seq":99,"ts":"2026-11-22T09:00:0"#;
    fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(torn).unwrap();
    let events = b.events("a");
    let gap = &events[usize::try_from(last).unwrap()];
    assert_eq!((&gap["seq"], &gap["kind"]), (&(last + 1).into(), &"gap".into()));
    let text = gap["text"].as_str().unwrap();
    assert!(text.contains("torn") && text.contains(&format!("{} bytes", torn.len())), "{text}");
    assert!(fs::read(&journal).unwrap().starts_with(&before), "what was whole is as it was");
    b.ok(&["say", "a", "hello"]);
    b.follow("a", last + 1).until("turn.completed");
    let events = b.events("a");
    assert_eq!(seqs(&events), (1..=events.len() as u64).collect::<Vec<_>>());
}

/// A small filesystem of its own, as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path, size: &str) -> Option<Self> {
        mount(at, &format!("size={size}")).then(|| Self(at.to_owned()))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&self.0, &format!("remount,size={size}")));
    }
}

fn mount(at: &Path, options: &str) -> bool {
    if !cfg!(target_os = "linux") || !nix::unistd::geteuid().is_root() {
        return false;
    }
    let out = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
    out.is_ok_and(|o| o.status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_told() {
    const N: usize = 20_000;
    let b = Bench::new();
    b.spawn_and_wait("other", "hello");
    // The session goes on in a small filesystem that holds what it wrote so far.
    b.spawn_and_wait("a", &format!("flood {N}"));
    let dir = b.session_dir("a");
    b.ok(&["stop", "--agents"]);
    let kept: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&dir)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.is_file())
        .map(|p| (p.clone(), fs::read(&p).unwrap()))
        .collect();
    let bytes: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
    let Some(disk) = SmallDisk::new(&dir, &format!("{}k", (bytes >> 10) + 3_000)) else {
        note("SKIPPED: only root on Linux can make a small filesystem to be filled");
        return;
    };
    for (path, bytes) in kept {
        fs::write(path, bytes).unwrap();
    }
    let before = b.events("a").len() as u64;
    b.ok(&["say", "a", &format!("flood {N}")]);
    let told = |a: &Value| a["reason"].as_str().is_some_and(|r| r.contains("No space left"));
    loop {
        let a = b.agent("a");
        if told(&a) {
            break;
        }
        assert_ne!(a["state"], "idle", "the turn cannot end on a full disk: {a:#}");
    }
    assert!(b.ok(&["list"]).contains("No space left"));
    b.ok(&["peek", "other"]); // Others go on.
    disk.grow("64m");
    b.follow("a", before).until("turn.completed");
    let a = b.agent("a");
    assert_eq!((&a["state"], &a["reason"]), (&"idle".into(), &Value::Null));
    let events = b.events("a");
    assert_eq!(seqs(&events), (1..=events.len() as u64).collect::<Vec<_>>());
    let new = &events[usize::try_from(before).unwrap()..];
    assert_eq!(new.iter().filter(|e| e["kind"] == "message.delta").count(), N + 1, "nothing is lost");
    b.ok(&["stop", "--agents"]);
    drop(disk);
}

#[test]
fn a_full_disk_keeps_nobody_from_the_end() {
    let b = Bench::new();
    b.spawn_and_wait("a", "hello");
    let dir = b.session_dir("a");
    b.ok(&["stop", "--agents"]);
    let Some(disk) = SmallDisk::new(&dir, "1m") else {
        note("SKIPPED: only root on Linux can make a small filesystem to be filled");
        return;
    };
    b.ok(&["say", "a", "flood 1000000"]);
    while !b.agent("a")["reason"].as_str().is_some_and(|r| r.contains("No space left")) {}
    b.ok(&["stop", "--agents"]);
    assert_eq!(b.status()["running"], false);
    drop(disk);
}
