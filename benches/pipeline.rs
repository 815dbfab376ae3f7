//! What an event costs on one core: parse (the Codex adapter), fold and journal, each alone and
//! together, for a stream of `item/agentMessage/delta` as the app server sends it while a model
//! writes; and what replay from a number costs in a short and in a long journal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fracta::event::journal::{Journal, MAX_CHUNK, Reader};
use fracta::event::{Body, Event, Fact, Role, encode};
use fracta::runtime::{
    self, CliInfo, Command, Input, Mode, Output, Permissions, Protocol, Send, SessionSpec,
};
use fracta::session::state::SessionState;
use jiff::Timestamp;
use serde_json::{Value, json};

const N: usize = 20_000;
const THREAD: &str = "019aa8f1-3b7c-7d10-9d5e-6a1f0c2b4e88";
const TURN: &str = "019aa8f1-4c1e-7a02-8f3b-2d9e7c5a1b60";
const ITEM: &str = "msg_0f3a9c1d2e4b5a6978c0d1e2f3a4b5c6";

/// Tokens as models write them: mostly short words, some code, some line ends, some other scripts.
fn token(i: usize) -> &'static str {
    const TOKENS: &[&str] = &[
        " the",
        " function",
        "\n",
        " returns",
        " `Option<T>`",
        ",",
        " so",
        " we",
        " can",
        ".\n\n",
        "```rust\n",
        "let x = \"a\\b\";",
        " für",
        " 日本",
        " \u{1f600}",
        " handles",
        " errors",
        " and",
        " retries",
        "\t",
    ];
    TOKENS[i * 7 % TOKENS.len()]
}

/// The process's stdout: one line for each delta.
fn stdout() -> Vec<u8> {
    let mut out = Vec::new();
    for i in 0..N {
        let line = json!({
            "method": "item/agentMessage/delta",
            "params": { "threadId": THREAD, "turnId": TURN, "itemId": ITEM, "delta": token(i) },
        });
        serde_json::to_writer(&mut out, &line).unwrap();
        out.push(b'\n');
    }
    out
}

fn facts() -> Vec<Fact> {
    let body = |i| Body::MessageDelta { item: ITEM.into(), role: Role::Assistant, text: token(i).into() };
    (0..N).map(|i| Fact::of(TURN, body(i))).collect()
}

fn events(n: usize) -> impl Iterator<Item = Event> {
    facts().into_iter().cycle().take(n).zip(1..).map(|(fact, seq)| Event {
        seq,
        ts: Timestamp::UNIX_EPOCH,
        agent: "worker-one".into(),
        session: "s-0123456789ab".into(),
        turn: fact.turn,
        raw: Some(seq * 200),
        body: fact.body,
    })
}

/// The adapter in the middle of a turn: the handshake is answered as the app server does.
fn protocol() -> Option<Box<dyn Protocol>> {
    let adapter = runtime::adapter("codex")?;
    let spec = SessionSpec {
        runtime: "codex".into(),
        command: vec!["codex".into()],
        cli: CliInfo { version: Some("0.169.0".into()), ..CliInfo::default() },
        mode: Mode::Stream,
        model: None,
        permissions: Permissions::Ask,
        cwd: "/w".into(),
        resume_token: None,
        run: 1,
        step_limit: 0,
    };
    let mut p = adapter.protocol(&spec, None);
    let mut out = Output::default();
    p.open(&mut out);
    for _ in 0..10 {
        if p.ready() {
            break;
        }
        answer(&mut *p, &mut out);
    }
    assert!(p.ready(), "the handshake of the adapter changed: bring this bench up to date");
    p.command(&Command::StartTurn { message: "m1".into(), text: "hello".into() }, &mut out).unwrap();
    answer(&mut *p, &mut out);
    feed(
        &mut *p,
        &json!({ "method": "turn/started", "params": { "threadId": THREAD, "turn": { "id": TURN, "status": "inProgress", "items": [] } } }),
    );
    Some(p)
}

/// Answers each request that the adapter sent.
fn answer(p: &mut dyn Protocol, out: &mut Output) {
    for send in std::mem::take(&mut out.sends) {
        let Send::Message(bytes) = send else { continue };
        let sent: Value = serde_json::from_slice(&bytes).unwrap();
        let Some(id) = sent.get("id") else { continue };
        let result = match sent["method"].as_str() {
            Some("turn/start") => json!({ "turn": { "id": TURN, "status": "inProgress", "items": [] } }),
            Some("thread/start") => json!({ "thread": { "id": THREAD }, "model": "m" }),
            _ => json!({}),
        };
        let reply = serde_json::to_vec(&json!({ "id": id, "result": result })).unwrap();
        p.input(Input::Message(&reply), out);
    }
}

fn feed(p: &mut dyn Protocol, message: &Value) {
    let line = serde_json::to_vec(message).unwrap();
    p.input(Input::Message(&line), &mut Output::default());
}

/// Lines with their offsets.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut from = 0;
    memchr::memchr_iter(b'\n', bytes).map(move |to| {
        let line = (from as u64, &bytes[from..to]);
        from = to + 1;
        line
    })
}

fn journal(dir: &Path) -> Journal {
    Journal::open(dir, "worker-one", "s-0123456789ab").unwrap().0
}

fn legs(c: &mut Criterion) {
    let mut g = c.benchmark_group("pipeline");
    g.throughput(Throughput::Elements(N as u64)).sample_size(20);
    let out = stdout();
    if let Some(mut p) = protocol() {
        let mut o = Output::default();
        g.bench_function("parse", |b| {
            b.iter(|| {
                let mut n = 0;
                for (_, line) in lines(&out) {
                    p.input(Input::Message(line), &mut o);
                    n += o.facts.drain(..).count();
                }
                assert_eq!(n, N, "one event for each delta");
            });
        });
    }
    let all: Vec<_> = events(N).collect();
    let mut buf = Vec::new();
    g.bench_function("encode", |b| {
        b.iter(|| {
            buf.clear();
            all.iter().for_each(|e| encode::line(e, &mut buf));
            black_box(buf.len())
        });
    });
    g.bench_function("decode", |b| {
        b.iter(|| buf.split_inclusive(|b| *b == b'\n').map(|l| encode::parse(l).unwrap().seq).sum::<u64>());
    });
    g.bench_function("fold", |b| {
        b.iter_batched_ref(
            SessionState::default,
            |s| {
                all.iter().for_each(|e| s.apply(e));
                black_box(s.last_seq)
            },
            BatchSize::LargeInput,
        );
    });
    g.bench_function("append", |b| {
        let dir = tempfile::tempdir().unwrap();
        b.iter_batched(
            || {
                let _ = std::fs::remove_file(dir.path().join(fracta::event::journal::FILE));
                (journal(dir.path()), facts())
            },
            |(mut j, facts)| {
                for (i, fact) in facts.into_iter().enumerate() {
                    j.push(Some(i as u64 * 200), fact, Timestamp::UNIX_EPOCH).unwrap();
                    if j.pending() >= 64 << 10 {
                        j.commit(|_, _| {}).unwrap();
                    }
                }
                j.commit(|_, _| {}).unwrap();
                j
            },
            BatchSize::LargeInput,
        );
    });
    g.finish();
}

/// Bytes of stdout to an event in the file and in the state, committed every `block` bytes of stdout
/// (what one read of a pipe gives).
fn whole(c: &mut Criterion) {
    let Some(mut p) = protocol() else { return };
    let mut g = c.benchmark_group("pipeline");
    g.throughput(Throughput::Elements(N as u64)).sample_size(20);
    let out = stdout();
    let dir = tempfile::tempdir().unwrap();
    for (name, block) in [("all, a commit for 64 KiB", 64 << 10), ("all, a commit for each line", 1)] {
        g.bench_function(name, |b| {
            b.iter_batched(
                || {
                    let _ = std::fs::remove_file(dir.path().join(fracta::event::journal::FILE));
                    (journal(dir.path()), SessionState::default())
                },
                |(mut j, mut state)| {
                    let (mut o, mut next) = (Output::default(), block);
                    for (offset, line) in lines(&out) {
                        p.input(Input::Message(line), &mut o);
                        for fact in o.facts.drain(..) {
                            j.push(Some(offset), fact, Timestamp::UNIX_EPOCH).unwrap();
                        }
                        if offset >= next {
                            next = offset + block;
                            j.commit(|e, _| state.apply(e)).unwrap();
                        }
                    }
                    j.commit(|e, _| state.apply(e)).unwrap();
                    assert_eq!(state.last_seq, N as u64);
                    (j, state)
                },
                BatchSize::LargeInput,
            );
        });
    }
    g.finish();
}

fn replay(c: &mut Criterion) {
    let mut g = c.benchmark_group("replay");
    for n in [1_000usize, 1_000_000] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut bytes = Vec::new();
        events(n).for_each(|e| encode::line(&e, &mut bytes));
        std::fs::write(&path, bytes).unwrap();
        let reader = Reader::open(&path).unwrap();
        let mut seq = 1u64;
        let mut any = || {
            seq = seq.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seq >> 33) % n as u64
        };
        g.bench_function(format!("4 KiB from any number of {n}"), |b| {
            b.iter(|| {
                let seq = any();
                let chunk = reader.read_after(seq, 4096).unwrap();
                assert_eq!(chunk.first_seq, seq + 1);
            });
        });
        g.bench_function(format!("the last 100 before any number of {n}"), |b| {
            b.iter(|| black_box(reader.read_last(any() + 1, 100).unwrap().bytes.len()));
        });
        g.bench_function(format!("256 KiB chunks of {n}, going on"), |b| {
            let mut at = (0, 0);
            b.iter(|| {
                let chunk = reader.read_from(at.0, at.1, MAX_CHUNK).unwrap();
                at = if chunk.bytes.is_empty() { (0, 0) } else { (chunk.next_offset, chunk.last_seq) };
                black_box(chunk.bytes.len())
            });
        });
    }
    g.finish();
}

criterion_group!(benches, legs, whole, replay);
criterion_main!(benches);
