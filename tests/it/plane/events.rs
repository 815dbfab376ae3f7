//! `events`, `watch`, `peek`: what they print, and that following knows no gap.

use std::io::Read;

use super::bench::{Bench, lines, open_fifo, seqs};

#[test]
fn events_after_a_number_and_as_they_are_on_disk() {
    let b = Bench::new();
    b.spawn_and_wait("a", "flood 5");
    let all = b.ok(&["events", "a"]);
    assert_eq!(all.as_bytes(), std::fs::read(b.session_dir("a").join("events.jsonl")).unwrap());
    let events = lines(&all);
    let n = events.len() as u64;
    assert_eq!(seqs(&events), (1..=n).collect::<Vec<_>>());
    for after in [0, 1, 4, n - 1, n, n + 10, u64::MAX] {
        let got = lines(&b.ok(&["events", "a", "--after", &after.to_string()]));
        assert_eq!(seqs(&got), (after.saturating_add(1)..=n).collect::<Vec<_>>(), "after {after}");
    }
    let session = b.agent("a")["session"].as_str().unwrap().to_owned();
    assert_eq!(b.ok(&["events", &session]), all, "by session id too");
    let raw = std::fs::read_to_string(b.session_dir("a").join("raw.jsonl")).unwrap();
    assert_eq!(b.ok(&["events", "a", "--raw"]), raw);
    assert!(b.fails(2, &["events", "a", "--raw", "--after", "3"]).contains("--after"));
    let words = b.fails(1, &["events", "b"]);
    assert!(words.contains("did you mean a?"), "{words}");
}

#[test]
fn peek_and_watch_are_readable() {
    let b = Bench::new();
    let gate = b.fifo("gate");
    b.ok(&["spawn", "--task", "a", "--contract", &format!("flood 2 wait {}", gate.display())]);
    let held = open_fifo(&gate);
    let mut watch = b.command(&["watch", "a"]).spawn().unwrap();
    let mut out = watch.stdout.take().unwrap();
    let mut seen = String::new();
    let mut read_until = |what: &str| {
        let mut buf = [0; 256];
        while !seen.contains(what) {
            let n = out.read(&mut buf).unwrap();
            assert_ne!(n, 0, "ended before {what}: {seen}");
            seen.push_str(std::str::from_utf8(&buf[..n]).unwrap());
        }
    };
    read_until("I begin with a pI begin with a p");
    drop(held);
    read_until("-- turn completed\n");
    let peek = b.ok(&["peek", "a"]);
    for part in ["-- session started: codex fake-model", "-- turn started", "Done.", "-- turn completed"] {
        assert!(peek.contains(part), "{part}: {peek}");
    }
    assert!(!peek.contains("{\""), "{peek}");
    assert_eq!(b.agent("a")["unread"], 0, "what was peeked at is seen");
    assert_eq!(b.ok(&["peek", "a", "-n", "1"]), "-- turn completed\n");
    b.ok(&["kill", "a", "--force"]);
    assert!(watch.wait().unwrap().success(), "there is nothing more to watch");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let b = Bench::new();
    b.spawn_and_wait("a", "flood 20000");
    let mut child = b.command(&["events", "a"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    drop(out);
    let end = child.wait_with_output().unwrap();
    assert_eq!((end.status.code(), &end.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn following_goes_on_across_control_planes() {
    let b = Bench::new();
    let gates = [b.fifo("one"), b.fifo("two"), b.fifo("three")];
    let prompt: Vec<_> = gates.iter().map(|g| format!("flood 100 wait {}", g.display())).collect();
    b.ok(&["spawn", "--task", "a", "--contract", &prompt.join(" ")]);
    let mut follow = b.follow("a", 0);
    let mut seen = Vec::new();
    for (i, gate) in gates.iter().enumerate() {
        let held = open_fifo(gate);
        while seen.iter().filter(|k| *k == "message.delta").count() < 100 * (i + 1) {
            seen.push(follow.next().expect("it goes on")["kind"].as_str().unwrap().to_owned());
        }
        match i {
            0 => b.kill_server(),
            1 => drop(b.ok(&["stop"])),
            _ => {}
        }
        drop(held);
    }
    let rest = follow.until("turn.completed");
    let last = rest.last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(last, (seen.len() + rest.len()) as u64, "no gap and no repeat");
    assert_eq!(seqs(&rest), (last + 1 - rest.len() as u64..=last).collect::<Vec<_>>());
    b.ok(&["kill", "a", "--force"]);
    while follow.next().is_some() {}
    assert!(follow.child.wait().unwrap().success(), "killed: the end of the stream");
}

/// Damage that fills whole chunks of what is read at once hides nothing that lies behind it.
#[test]
fn what_lies_behind_much_damage_is_read() {
    let b = Bench::new();
    b.spawn_and_wait("a", "flood 12000");
    let before = b.agent("a");
    b.ok(&["stop", "--agents"]);
    let file = b.session_dir("a").join("events.jsonl");
    b.ok(&["stop"]);
    let mut bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 1_200_000, "{} bytes are too few", bytes.len());
    for byte in bytes[100_000..1_100_000].iter_mut().filter(|b| **b != b'\n') {
        *byte = b'x';
    }
    std::fs::write(&file, bytes).unwrap();
    // Also what the control plane knows is read from it.
    std::fs::remove_file(file.with_file_name("state.json")).unwrap();
    let events = b.events("a");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["seq"]),
        (&"session.ended".into(), &(before["last_seq"].as_u64().unwrap() + 1).into())
    );
    let gaps: Vec<_> = events.iter().filter(|e| e["kind"] == "gap").collect();
    assert!(gaps.len() == 1 && gaps[0]["text"].as_str().unwrap().contains("damaged"), "{gaps:?}");
    let after = b.agent("a");
    assert_eq!((&after["state"], &after["last_seq"]), (&"stopped".into(), &last["seq"]), "{after:#}");
}
