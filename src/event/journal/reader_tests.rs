use std::fs;
use std::io::Write;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::event::journal::{FILE, Journal};
use crate::event::{Body, Event, Fact};

fn write(path: &Path, seqs: impl IntoIterator<Item = u64>, text: impl Fn(u64) -> String) {
    let mut out = Vec::new();
    for seq in seqs {
        encode::line(&event(seq, text(seq)), &mut out);
    }
    fs::write(path, out).unwrap();
}

fn event(seq: u64, text: String) -> Event {
    Event {
        seq,
        ts: Timestamp::UNIX_EPOCH,
        agent: "a".into(),
        session: "s".into(),
        turn: None,
        raw: Some(seq.wrapping_mul(100)),
        body: Body::Warning { text },
    }
}

fn seqs(chunk: &Chunk) -> Vec<u64> {
    let lines = chunk.bytes.split_inclusive(|b| *b == b'\n');
    // Not parsed whole: damage may change a letter of a time or a kind and leave good JSON.
    lines.map(|l| encode::seq_of(l).unwrap()).collect()
}

/// Reads all after `seq` in chunks of `max`.
fn all_after(reader: &Reader, seq: u64, max: usize) -> (Vec<u64>, Vec<Damage>) {
    let mut chunk = reader.read_after(seq, max).unwrap();
    let (mut got, mut damage) = (seqs(&chunk), chunk.damage.clone());
    loop {
        let next = reader.read_from(chunk.next_offset, chunk.last_seq, max).unwrap();
        if next.next_offset == chunk.next_offset {
            return (got, damage);
        }
        got.extend(seqs(&next));
        damage.extend(&next.damage);
        chunk = next;
    }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let t = tempfile::tempdir().unwrap();
    let path = t.path().join(FILE);
    (t, path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn reading_from_any_number_gives_all_that_follow(
        n in 1u64..400, after in 0u64..420, max in 1usize..20_000, size in 0usize..3000,
    ) {
        let (_t, path) = file();
        // Lines of very different lengths: guesses go wrong.
        write(&path, 1..=n, |s| "x".repeat(if s % 7 == 0 { size } else { (s % 50) as usize }));
        let reader = Reader::open(&path).unwrap();
        let (got, damage) = all_after(&reader, after, max);
        prop_assert_eq!(got, (after + 1..=n).collect::<Vec<_>>());
        prop_assert!(damage.is_empty());
    }

    #[test]
    fn scrolling_up_gives_all_that_came_before(n in 0u64..300, before in 1u64..320, step in 1usize..50) {
        let (_t, path) = file();
        write(&path, 1..=n, |s| "y".repeat((s % 90) as usize));
        let reader = Reader::open(&path).unwrap();
        let mut got = Vec::new();
        let mut before_seq = before;
        loop {
            let chunk = reader.read_last(before_seq, step).unwrap();
            if chunk.bytes.is_empty() {
                break;
            }
            prop_assert!(seqs(&chunk).len() <= step && chunk.damage.is_empty());
            got.splice(0..0, seqs(&chunk));
            before_seq = chunk.first_seq;
        }
        prop_assert_eq!(got, (1..before.min(n + 1)).collect::<Vec<_>>());
    }

    #[test]
    fn damage_anywhere_never_panics_and_is_told(
        at in 0usize..20_000, len in 1usize..4000, junk: u8, after in 0u64..200,
    ) {
        let (_t, path) = file();
        write(&path, 1..=200, |s| "z".repeat((s % 60) as usize));
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let from = at.min(bytes.len() - 1);
        let to = (from + len).min(bytes.len());
        bytes[from..to].fill(junk);
        fs::write(&path, &bytes).unwrap();
        let reader = Reader::open(&path).unwrap();
        let (got, damage) = all_after(&reader, 0, 5000);
        // Lines the damage did not touch are all there, in order.
        let mut start = 0;
        for (i, line) in whole.split_inclusive(|b| *b == b'\n').enumerate() {
            let end = start + line.len();
            // The line behind a destroyed end of line is destroyed with it.
            if end <= from || start > to {
                prop_assert!(got.contains(&(i as u64 + 1)), "line {} of {:?}", i + 1, got);
            }
            start = end;
        }
        prop_assert!(got.windows(2).all(|w| w[0] < w[1]));
        // Every hole inside is told.
        for w in got.windows(2).filter(|w| w[0] + 1 != w[1]) {
            prop_assert!(damage.iter().any(|d| d.after_seq == w[0] || d.next_seq == Some(w[1])), "{:?}", damage);
        }
        reader.read_after(after, 1000).unwrap();
        reader.read_last(after, 10).unwrap();
    }
}

#[test]
fn finding_a_number_costs_the_same_in_a_long_journal() {
    let worst = |n: u64| {
        let (_t, path) = file();
        // By hand, since a million events take long to encode without optimisation.
        let mut out = std::io::BufWriter::new(fs::File::create(&path).unwrap());
        for s in 1..=n {
            writeln!(
                out,
                "{{\"seq\":{s},\"ts\":\"1970-01-01T00:00:00Z\",\"kind\":\"gap\",\"text\":\"{s}\"}}"
            )
            .unwrap();
        }
        out.flush().unwrap();
        let mut worst = 0;
        for i in 0..200u64 {
            let seq = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % n;
            let reader = Reader::open(&path).unwrap();
            let chunk = reader.read_after(seq, 4096).unwrap();
            assert_eq!(chunk.first_seq, seq + 1);
            worst = worst.max(reader.preads());
        }
        worst
    };
    assert!(worst(10) <= 12);
    let long = worst(1_000_000);
    assert!(long <= 20, "{long} reads in a journal of a million events");
}

#[test]
fn guesses_that_are_all_wrong_are_bounded_by_bisection() {
    let (_t, path) = file();
    // Numbers that rise by one for most of the file and then leap: interpolation alone would creep.
    write(&path, (1..100_000).chain([u64::MAX - 1, u64::MAX]), |_| "t".into());
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.read_after(99_000, 100).unwrap().first_seq, 99_001);
    assert!(reader.preads() < 60, "{}", reader.preads());
}

#[test]
fn a_line_longer_than_the_chunk_comes_whole_and_alone() {
    let (_t, path) = file();
    write(&path, 1..=3, |s| "x".repeat(if s == 2 { 3 * MAX_CHUNK } else { 10 }));
    let reader = Reader::open(&path).unwrap();
    let chunk = reader.read_after(1, 100).unwrap();
    assert_eq!((chunk.first_seq, chunk.last_seq), (2, 2));
    assert!(chunk.bytes.len() > 3 * MAX_CHUNK);
    assert_eq!(all_after(&reader, 0, 100).0, [1, 2, 3]);
    assert_eq!(seqs(&reader.read_last(3, 5).unwrap()), [2], "the bound holds, but one is always given");
}

#[test]
fn chunks_are_capped() {
    let (_t, path) = file();
    write(&path, 1..=1000, |_| "x".repeat(1000));
    let reader = Reader::open(&path).unwrap();
    assert!(reader.read_after(0, usize::MAX).unwrap().bytes.len() <= MAX_CHUNK);
    assert!(reader.read_last(u64::MAX, usize::MAX).unwrap().bytes.len() <= MAX_CHUNK);
}

#[test]
fn half_a_line_is_not_given_until_it_is_whole() {
    let (_t, path) = file();
    let mut line = Vec::new();
    encode::line(&event(1, "hello".into()), &mut line);
    fs::write(&path, b"").unwrap();
    let reader = Reader::open(&path).unwrap();
    let mut out = fs::OpenOptions::new().append(true).open(&path).unwrap();
    for (i, byte) in line.iter().enumerate() {
        let chunk = reader.read_after(0, 1000).unwrap();
        assert_eq!((chunk.bytes.len(), chunk.next_offset), (0, 0), "after {i} bytes");
        out.write_all(&[*byte]).unwrap();
    }
    assert_eq!(reader.read_after(0, 1000).unwrap().bytes, line);
}

#[test]
fn readers_follow_a_writer_without_gap_or_repeat() {
    let (t, path) = file();
    let (mut journal, _) = Journal::open(t.path(), "a", "s").unwrap();
    const N: u64 = 20_000;
    let readers: Vec<_> = (0..3)
        .map(|i| {
            let reader = if i == 0 { journal.reader() } else { Reader::open(&path) }.unwrap();
            std::thread::spawn(move || {
                let mut chunk = Chunk::default();
                while chunk.last_seq < N {
                    let next = reader.read_from(chunk.next_offset, chunk.last_seq, 10_000).unwrap();
                    assert!(next.damage.is_empty(), "{:?}", next.damage);
                    assert!(next.bytes.is_empty() || next.first_seq == chunk.last_seq + 1);
                    assert!(next.bytes.is_empty() || next.bytes.ends_with(b"}\n"));
                    chunk = next;
                }
            })
        })
        .collect();
    for i in 0..N / 10 {
        let facts = (0..10).map(|k| Fact::from(Body::Warning { text: "w".repeat(k * 7) }));
        journal.append(Some(i), facts, Timestamp::UNIX_EPOCH, |_, _| {}).unwrap();
    }
    for r in readers {
        r.join().unwrap();
    }
}

#[test]
fn a_number_that_leaps_is_told() {
    let (_t, path) = file();
    write(&path, [1, 2, 5, 6], |_| "x".into());
    let (got, damage) = all_after(&Reader::open(&path).unwrap(), 0, 10_000);
    assert_eq!(got, [1, 2, 5, 6]);
    assert_eq!((damage.len(), damage[0].after_seq, damage[0].next_seq, damage[0].bytes), (1, 2, Some(5), 0));
}

#[test]
fn a_wrong_digit_hides_only_its_own_line() {
    for max in [400, 10_000] {
        let (_t, path) = file();
        write(&path, 1001..=1020, |_| "x".into());
        let text = fs::read_to_string(&path).unwrap().replace("{\"seq\":1005,", "{\"seq\":9005,");
        fs::write(&path, text).unwrap();
        let (got, damage) = all_after(&Reader::open(&path).unwrap(), 1000, max);
        assert_eq!(got, (1001..=1020).filter(|s| *s != 1005).collect::<Vec<_>>());
        assert_eq!((damage[0].after_seq, damage.last().unwrap().next_seq), (1004, Some(1006)));
    }
}

#[test]
fn damage_is_left_out_of_what_is_printed() {
    let (_t, path) = file();
    write(&path, 1..=3, |_| "x".into());
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len() / 3;
    // A line that starts and ends as an event does, with an escape sequence inside.
    bytes[len + 40..len + 44].copy_from_slice(b"\x1b[2J");
    fs::write(&path, &bytes).unwrap();
    let reader = Reader::open(&path).unwrap();
    let first = reader.read_after(0, 10_000).unwrap();
    let second = reader.read_from(first.next_offset, first.last_seq, 10_000).unwrap();
    assert_eq!((seqs(&first), seqs(&second)), (vec![1], vec![3]));
    assert!(!first.bytes.contains(&0x1b) && !second.bytes.contains(&0x1b));
    let d = Damage { after_seq: 1, next_seq: None, offset: len as u64, bytes: len as u64 };
    assert_eq!(first.damage, [d]);
    assert_eq!((second.damage.len(), second.damage[0].next_seq), (1, Some(3)));
}

#[test]
fn the_end_and_beyond_give_nothing() {
    let (_t, path) = file();
    write(&path, 1..=5, |_| "x".into());
    let reader = Reader::open(&path).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    for seq in [5, 6, u64::MAX] {
        let chunk = reader.read_after(seq, 1000).unwrap();
        assert_eq!((chunk.bytes.len(), chunk.next_offset, chunk.last_seq), (0, len, seq));
    }
    assert_eq!(reader.last_seq().unwrap(), 5);
    assert!(reader.read_last(1, 10).unwrap().bytes.is_empty());
    assert!(reader.read_last(0, 10).unwrap().bytes.is_empty());
    assert!(reader.read_last(9, 0).unwrap().bytes.is_empty());
}
