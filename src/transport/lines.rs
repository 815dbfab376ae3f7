//! Cutting a growing byte stream into lines with a bound.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memchr;

use super::MAX_LINE;

/// Memory for long lines that is kept between them.
const KEEP: usize = 64 << 10;
/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;
/// Room for a read that is kept until the next one: most are a line or two, and there is one reader
/// for each live agent.
const KEEP_CHUNK: usize = 32 << 10;

/// What the stream was cut into.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole line, without `\n` and a `\r` before it.
    Line(&'a [u8]),
    /// A line longer than [`MAX_LINE`]: so many bytes without its `\n`. The bytes are only in the file.
    TooLong { len: u64 },
    /// What came after the last `\n` when the stream ended: half a line of a process that died, or a
    /// last line that was not ended.
    Partial(&'a [u8]),
}

/// Cuts bytes into lines as they come. Holds at most one line of [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct Lines {
    /// Start of the present line in the stream.
    start: u64,
    /// Bytes of the present line that came so far, kept or not.
    len: u64,
    /// The bytes kept: all of the line, or none once it is too long.
    held: Vec<u8>,
}

impl Lines {
    /// Starts at this offset of the stream, which begins a line.
    pub fn new(offset: u64) -> Self {
        Self { start: offset, len: 0, held: Vec::new() }
    }

    /// Offset of the first byte that was not given out yet: where to go on after a restart.
    pub fn resume_at(&self) -> u64 {
        self.start
    }

    /// Offset of the next byte to push.
    pub fn next_offset(&self) -> u64 {
        self.start + self.len
    }

    /// Takes the next bytes of the stream. `each` gets every line that ends in them, with the offset of
    /// its first byte. A line that lies wholly in `bytes` is not copied.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(u64, Piece<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            let len = self.len + line.len() as u64;
            if len > MAX_LINE as u64 {
                each(self.start, Piece::TooLong { len });
            } else if self.len == 0 {
                each(self.start, Piece::Line(without_cr(line)));
            } else {
                self.held.extend_from_slice(line);
                each(self.start, Piece::Line(without_cr(&self.held)));
            }
            self.begin(self.start + len + 1);
            bytes = rest;
        }
        self.len += bytes.len() as u64;
        if self.len > MAX_LINE as u64 {
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// The stream ended: gives out what came after the last `\n`, if anything.
    pub fn finish(&mut self, mut each: impl FnMut(u64, Piece<'_>)) {
        match self.len {
            0 => return,
            len if len > MAX_LINE as u64 => each(self.start, Piece::TooLong { len }),
            _ => each(self.start, Piece::Partial(&self.held)),
        }
        self.begin(self.start + self.len);
    }

    fn begin(&mut self, start: u64) {
        self.start = start;
        self.len = 0;
        self.held.clear();
        self.held.shrink_to(KEEP);
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads a growing file from an offset on, as far as it is known to be written.
#[derive(Debug)]
pub struct RawReader {
    file: File,
    at: u64,
    /// As long as the largest read so far, or as [`KEEP_CHUNK`] after a larger one.
    buf: Vec<u8>,
}

impl RawReader {
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(path: &Path, offset: u64) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, at: offset, buf: Vec::new() })
    }

    /// Offset of the next byte to read.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next bytes (at most 256 KiB) and their offset; none when `until` is reached. Blocks as a
    /// disk does.
    ///
    /// # Errors
    /// Where the file cannot be read, or is shorter than `until`: somebody cut it.
    pub fn next_chunk(&mut self, until: u64) -> io::Result<Option<(u64, &[u8])>> {
        let want = match until.saturating_sub(self.at) {
            0 => return Ok(None),
            left => usize::try_from(left).unwrap_or(CHUNK).min(CHUNK),
        };
        if self.buf.len() < want {
            self.buf.resize(want, 0);
        } else if want <= KEEP_CHUNK && self.buf.len() > KEEP_CHUNK {
            self.buf.truncate(KEEP_CHUNK);
            self.buf.shrink_to_fit();
        }
        let got = loop {
            match self.file.read_at(&mut self.buf[..want], self.at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if got == 0 {
            let text = format!("it ends at byte {}, though {until} were written", self.at);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let start = self.at;
        self.at += got as u64;
        Ok(Some((start, &self.buf[..got])))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Owned form of what was given out.
    #[derive(Debug, Clone, PartialEq)]
    enum Got {
        Line(Vec<u8>),
        TooLong(u64),
        Partial(Vec<u8>),
    }

    fn own(p: Piece<'_>) -> Got {
        match p {
            Piece::Line(l) => Got::Line(l.to_vec()),
            Piece::TooLong { len } => Got::TooLong(len),
            Piece::Partial(l) => Got::Partial(l.to_vec()),
        }
    }

    fn cut<'a>(start: u64, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u64, Got)> {
        let mut lines = Lines::new(start);
        let mut all = Vec::new();
        for c in chunks {
            lines.push(c, |at, p| all.push((at, own(p))));
        }
        lines.finish(|at, p| all.push((at, own(p))));
        lines.finish(|_, p| panic!("given out twice: {p:?}"));
        all
    }

    #[test]
    fn lines_with_offsets() {
        let line = |s: &str| Got::Line(s.as_bytes().to_vec());
        assert_eq!(
            cut(100, [&b"a\n\nbc\r\nd\re\r"[..], b"\n", b"ha", b"lf"]),
            [
                (100, line("a")),
                (102, line("")),
                (103, line("bc")),
                (107, line("d\re")),
                (112, Got::Partial(b"half".to_vec()))
            ]
        );
        assert_eq!(cut(0, [&b""[..]]), []);
    }

    #[test]
    fn a_line_too_long_is_reported_once_and_holds_no_memory() {
        let chunk = vec![b'x'; 1 << 20];
        let mut lines = Lines::new(0);
        let mut all = Vec::new();
        lines.push(b"ok\n", |at, p| all.push((at, own(p))));
        for _ in 0..100 {
            lines.push(&chunk, |at, p| all.push((at, own(p))));
            assert!(lines.held.capacity() <= MAX_LINE * 2, "grows by doubling at most");
        }
        assert_eq!(lines.held.capacity(), 0);
        assert_eq!(lines.resume_at(), 3);
        assert_eq!(lines.next_offset(), 3 + (100 << 20));
        lines.push(b"x\nend\n", |at, p| all.push((at, own(p))));
        let len = (100 << 20) + 1;
        assert_eq!(
            all,
            [(0, Got::Line(b"ok".to_vec())), (3, Got::TooLong(len)), (len + 4, Got::Line(b"end".to_vec()))]
        );
    }

    #[test]
    fn the_bound_is_exact() {
        let mut just = vec![b'x'; MAX_LINE];
        assert!(matches!(&cut(0, [&just[..], b"\n"])[..], [(0, Got::Line(l))] if l.len() == MAX_LINE));
        assert!(matches!(&cut(0, [&just[..]])[..], [(0, Got::Partial(_))]));
        just.push(b'x');
        let too = MAX_LINE as u64 + 1;
        assert_eq!(cut(0, [&just[..]]), [(0, Got::TooLong(too))]);
        just.push(b'\n');
        assert_eq!(cut(0, [&just[..]]), [(0, Got::TooLong(too))], "also where it lies in one chunk");
    }

    #[test]
    fn memory_for_a_long_line_is_given_back() {
        let mut lines = Lines::new(0);
        lines.push(&vec![b'x'; 4 << 20], |_, _| panic!("no end yet"));
        lines.push(b"\n", |_, p| assert!(matches!(p, Piece::Line(l) if l.len() == 4 << 20)));
        assert!(lines.held.capacity() <= KEEP);
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            step in 1usize..20,
        ) {
            let whole = cut(5, [&bytes[..]]);
            prop_assert_eq!(&cut(5, bytes.chunks(step)), &whole);
            for (at, got) in whole {
                let tail = &bytes[usize::try_from(at - 5).unwrap()..];
                match got {
                    Got::Line(l) => prop_assert!(tail.starts_with(&l)),
                    Got::Partial(l) => prop_assert_eq!(tail, &l[..]),
                    Got::TooLong(_) => prop_assert!(false),
                }
            }
        }
    }

    #[test]
    fn a_file_is_read_as_far_as_it_is_known() {
        let mut f = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
        f.write_all(&bytes).unwrap();
        let mut r = RawReader::open(f.path(), 10).unwrap();
        let mut got = Vec::new();
        for until in [10, 20, 500_000, 600_000] {
            while let Some((at, chunk)) = r.next_chunk(until).unwrap() {
                assert_eq!(at, 10 + got.len() as u64);
                got.extend_from_slice(chunk);
            }
            assert_eq!(r.offset(), until);
        }
        assert_eq!(got, bytes[10..]);
        let error = r.next_chunk(600_001).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
