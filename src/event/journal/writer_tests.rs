use std::sync::Mutex;

use super::*;
use crate::event::journal::ResumePoint;
use crate::event::{Role, encode};

fn delta(text: &str) -> Fact {
    Fact::of("t", Body::MessageDelta { item: "m".into(), role: Role::Assistant, text: text.into() })
}

fn now() -> Timestamp {
    "2026-11-22T09:00:00.123456Z".parse().unwrap()
}

fn open(dir: &Path) -> (Journal, Recovered) {
    Journal::open(dir, "a", "s").unwrap()
}

fn read(dir: &Path) -> Vec<Event> {
    let text = fs::read(dir.join(FILE)).unwrap();
    text.split_inclusive(|b| *b == b'\n').map(|l| encode::parse(l).unwrap()).collect()
}

fn add(dir: &Path, bytes: &[u8]) {
    use std::io::Write;
    OpenOptions::new().append(true).open(dir.join(FILE)).unwrap().write_all(bytes).unwrap();
}

#[test]
fn events_are_numbered_written_and_told_in_order() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, found) = open(t.path());
    assert_eq!(found, Recovered::default());
    let mut told = Vec::new();
    let mut lines = Vec::new();
    let mut sink = |e: &Event, l: &[u8]| {
        told.push(e.clone());
        lines.extend_from_slice(l);
    };
    j.append(Some(0), [delta("a"), delta("b")], now(), &mut sink).unwrap();
    j.append(None, [Fact::from(Body::Warning { text: "w".into() })], now(), &mut sink).unwrap();
    assert_eq!(
        told.iter().map(|e| (e.seq, e.raw)).collect::<Vec<_>>(),
        [(1, Some(0)), (2, Some(0)), (3, None)]
    );
    assert_eq!(told[2].turn, None);
    assert_eq!((told[0].agent.as_str(), told[0].session.as_str()), ("a", "s"));
    assert_eq!(read(t.path()), told, "the file and the listeners have the same events");
    assert_eq!(fs::read(t.path().join(FILE)).unwrap(), lines);
    assert_eq!(fs::metadata(t.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn numbers_go_on_after_a_restart() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, _) = open(t.path());
    j.append(Some(10), [delta("a"), delta("b")], now(), |_, _| {}).unwrap();
    drop(j);
    let (mut j, found) = open(t.path());
    let resume = Some(ResumePoint { raw_offset: 10, events_from_it: 2 });
    assert_eq!(found, Recovered { last_seq: 2, resume, ..Recovered::default() });
    j.append(Some(20), [delta("c")], now(), |_, _| {}).unwrap();
    assert_eq!(read(t.path()).iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn only_one_writes() {
    let t = tempfile::tempdir().unwrap();
    let (j, _) = open(t.path());
    assert!(matches!(Journal::open(t.path(), "a", "s"), Err(JournalError::Locked { .. })));
    drop(j);
    open(t.path());
}

#[test]
fn a_link_is_not_followed() {
    let t = tempfile::tempdir().unwrap();
    let victim = t.path().join("victim");
    fs::write(&victim, "keep me").unwrap();
    std::os::unix::fs::symlink(&victim, t.path().join(FILE)).unwrap();
    assert!(Journal::open(t.path(), "a", "s").is_err());
    assert_eq!(fs::read(&victim).unwrap(), b"keep me");
}

/// The heart of recovery: killed after any byte of a batch, reopening and feeding the raw lines
/// again gives what an undisturbed run gives.
#[test]
fn a_batch_cut_at_any_byte_is_made_good_from_raw() {
    let raws: &[(u64, &[&str])] = &[(0, &["a"]), (50, &["b", "c\n\n", "d"]), (90, &["e", "f"])];
    let whole = tempfile::tempdir().unwrap();
    let (mut j, _) = open(whole.path());
    for (raw, texts) in raws {
        j.append(Some(*raw), texts.iter().map(|t| delta(t)), now(), |_, _| {}).unwrap();
    }
    let bytes = fs::read(whole.path().join(FILE)).unwrap();
    for cut in 0..=bytes.len() {
        let t = tempfile::tempdir().unwrap();
        fs::write(t.path().join(FILE), &bytes[..cut]).unwrap();
        let (mut j, found) = open(t.path());
        let lines = bytes[..cut].iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(found.last_seq, lines);
        let torn = cut - bytes[..cut].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        assert_eq!(found.torn, (torn > 0).then_some(torn as u64));
        let (from, mut skip) = found.resume.map_or((0, 0), |r| (r.raw_offset, r.events_from_it));
        for (raw, texts) in raws.iter().filter(|(raw, _)| *raw >= from) {
            for text in texts.iter() {
                if skip > 0 {
                    skip -= 1;
                } else {
                    j.push(Some(*raw), delta(text), now()).unwrap();
                }
            }
        }
        j.commit(|_, _| {}).unwrap();
        assert_eq!(fs::read(t.path().join(FILE)).unwrap(), bytes, "cut at {cut}");
    }
}

#[test]
fn the_resume_point_lies_behind_events_without_raw() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, _) = open(t.path());
    j.append(Some(5), [delta("x")], now(), |_, _| {}).unwrap();
    j.append(Some(9), [delta("y")], now(), |_, _| {}).unwrap();
    j.append(None, [Fact::from(Body::Gap { text: "back again".into() })], now(), |_, _| {}).unwrap();
    j.append(Some(9), [delta("z")], now(), |_, _| {}).unwrap();
    // More than one block of the backward reader.
    for _ in 0..200 {
        j.append(None, [Fact::from(Body::Warning { text: "w".repeat(1000) })], now(), |_, _| {}).unwrap();
    }
    drop(j);
    let (_, found) = open(t.path());
    assert_eq!(found.last_seq, 204);
    assert_eq!(found.resume, Some(ResumePoint { raw_offset: 9, events_from_it: 2 }));
}

#[test]
fn damage_at_the_end_burns_a_number_and_gives_none_twice() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, _) = open(t.path());
    j.append(Some(5), [delta("x")], now(), |_, _| {}).unwrap();
    drop(j);
    add(t.path(), b"\0\0\0\0\n{\"seq\":3,\"ts\":\"\0\0\n\0\0");
    let (mut j, found) = open(t.path());
    assert_eq!((found.last_seq, found.damaged, found.torn), (3, 2, Some(2)));
    j.append(None, [delta("y")], now(), |e, _| assert_eq!(e.seq, 4)).unwrap();
}

#[test]
fn long_lines_and_long_torn_tails_are_recovered() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, _) = open(t.path());
    let long = "ab\n".repeat(100_000);
    j.append(Some(1), [delta("first"), delta(&long)], now(), |_, _| {}).unwrap();
    drop(j);
    add(t.path(), &vec![b'x'; 200_000]);
    let (_, found) = open(t.path());
    assert_eq!(found.torn, Some(200_000));
    assert_eq!(found.last_seq, 2);
    assert_eq!(found.resume, Some(ResumePoint { raw_offset: 1, events_from_it: 2 }));
}

#[test]
fn over_long_texts_are_cut_in_file_and_event_alike() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, _) = open(t.path());
    let mut told = None;
    j.append(Some(0), [delta(&"x".repeat(2 * MAX_TEXT))], now(), |e, _| told = Some(e.clone())).unwrap();
    let told = told.unwrap();
    let Body::MessageDelta { text, .. } = &told.body else { panic!() };
    assert!(text.ends_with("of 1048576 bytes; raw.jsonl has it whole]"), "{}", &text[text.len() - 80..]);
    assert_eq!(read(t.path()), [told]);
}

/// A disk with so many bytes left, and then no space; may also refuse to shrink a file.
struct Small {
    file: File,
    limits: Arc<Mutex<Limits>>,
}

#[derive(Default)]
struct Limits {
    room: usize,
    no_shrink: bool,
    writes: usize,
}

impl Disk for Small {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut l = self.limits.lock().unwrap();
        if l.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let n = bytes.len().min(l.room);
        l.room -= n;
        l.writes += 1;
        FileExt::write_at(&self.file, &bytes[..n], offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if self.limits.lock().unwrap().no_shrink {
            return Err(io::ErrorKind::Other.into());
        }
        File::set_len(&self.file, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn small(dir: &Path, room: usize) -> (Journal, Arc<Mutex<Limits>>) {
    let (mut j, _) = open(dir);
    let limits = Arc::new(Mutex::new(Limits { room, ..Limits::default() }));
    let file = OpenOptions::new().read(true).write(true).open(&j.path).unwrap();
    j.disk = Box::new(Small { file, limits: Arc::clone(&limits) });
    (j, limits)
}

#[test]
fn a_full_disk_leaves_whole_lines_and_burns_no_number() {
    for room in [1, 60, 200] {
        let t = tempfile::tempdir().unwrap();
        let (mut j, limits) = small(t.path(), 1 << 20);
        j.append(Some(0), [delta("a")], now(), |_, _| {}).unwrap();
        let before = fs::read(t.path().join(FILE)).unwrap();
        limits.lock().unwrap().room = room;
        let failed = j.append(Some(9), [delta("b"), delta("c")], now(), |_, _| panic!("told too early"));
        assert!(matches!(failed, Err(JournalError::Io { what: "write to", .. })), "{failed:?}");
        assert_eq!(fs::read(t.path().join(FILE)).unwrap(), before, "the file is as it was");
        assert!(j.commit(|_, _| panic!("told too early")).is_err());
        limits.lock().unwrap().room = 1 << 20;
        let mut told = Vec::new();
        j.commit(|e, _| told.push(e.seq)).unwrap();
        assert_eq!(told, [2, 3]);
        assert_eq!(read(t.path()).len(), 3);
    }
}

#[test]
fn what_a_failed_write_left_is_cut_off_before_the_next() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, limits) = small(t.path(), 200);
    limits.lock().unwrap().no_shrink = true;
    j.append(None, [delta("a"), delta("b")], now(), |_, _| {}).unwrap_err();
    let reader = j.reader().unwrap();
    assert_eq!(reader.read_after(0, 1000).unwrap().bytes, b"", "readers do not see what failed");
    assert_eq!(fs::metadata(t.path().join(FILE)).unwrap().len(), 200);
    j.discard();
    limits.lock().unwrap().room = 1 << 20;
    j.append(None, [delta("c")], now(), |_, _| {}).unwrap_err();
    limits.lock().unwrap().no_shrink = false;
    j.commit(|e, _| assert_eq!(e.seq, 1)).unwrap();
    assert_eq!(read(t.path()).len(), 1);
    assert_eq!(reader.read_after(0, 1000).unwrap().last_seq, 1);
}

#[test]
fn a_batch_is_one_write_and_a_large_one_is_parted() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, limits) = small(t.path(), 1 << 30);
    j.append(None, (0..100).map(|_| delta("x")), now(), |_, _| {}).unwrap();
    assert_eq!(limits.lock().unwrap().writes, 1);
    j.append(None, (0..3).map(|_| delta(&"x".repeat(MAX_CHUNK / 2))), now(), |_, _| {}).unwrap();
    assert_eq!(limits.lock().unwrap().writes, 3);
    assert_eq!(read(t.path()).len(), 103);
}

#[test]
fn what_waits_is_bounded() {
    let t = tempfile::tempdir().unwrap();
    let (mut j, _limits) = small(t.path(), 0);
    let big = "x".repeat(MAX_TEXT);
    let full = (0..100).find_map(|_| j.push(None, delta(&big), now()).err());
    assert!(matches!(full, Some(JournalError::Full { .. })));
    assert!(j.pending() < MAX_PENDING + 2 * MAX_TEXT);
    j.discard();
    j.push(None, delta("x"), now()).unwrap();
}
