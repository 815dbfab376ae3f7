//! Server-sent events, as far as a client of JSON events needs them: the data of each event.
//!
//! Not the crate `eventsource-stream`: it takes time quadratic in the length of an event, one byte that
//! is no UTF-8 stalls it to the end of the stream, and it has no bound. Here each byte is copied twice
//! at most, text is passed on as received, and an event that is too long is left out and told.

use memchr::memchr2;

/// What the stream was cut into.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The data of an event; several `data` lines are joined by `\n`.
    Data(&'a [u8]),
    /// An event with more data than the bound: so many bytes.
    TooLong { len: u64 },
}

/// Cuts the bytes of a response into events as they come. Holds one event at most.
#[derive(Debug)]
pub struct Events {
    max: usize,
    /// The present line, as far as it came; cut where it is too long.
    line: Vec<u8>,
    line_len: u64,
    /// Data of the present event. None: it has none yet.
    data: Option<Vec<u8>>,
    data_len: u64,
    /// A `\n` belongs to the `\r` before it.
    after_cr: bool,
    begun: bool,
}

/// Memory that is kept between events.
const KEEP: usize = 64 << 10;
/// Longest name of a field with its colon that is of interest.
const FIELD: usize = 8;

impl Events {
    /// `max`: most bytes of data in one event.
    pub fn new(max: usize) -> Self {
        Self { max, line: Vec::new(), line_len: 0, data: None, data_len: 0, after_cr: false, begun: false }
    }

    /// Takes the next bytes. `each` gets every event that ends in them.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else { return self.hold(bytes) };
            self.hold(&bytes[..end]);
            self.after_cr = bytes[end] == b'\r';
            self.end_line(&mut each);
            bytes = &bytes[end + 1..];
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (self.max + FIELD).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.line_len += bytes.len() as u64;
    }

    fn end_line(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        let mut line = std::mem::take(&mut self.line);
        let len = std::mem::take(&mut self.line_len);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if len == 0 {
            self.dispatch(each);
        } else if let Some(value) = line.strip_prefix(b"data") {
            match value {
                [] => self.add(b"", 0),
                [b':', b' ', rest @ ..] => self.add(rest, len - 6),
                [b':', rest @ ..] => self.add(rest, len - 5),
                _ => {}
            }
        }
        line.clear();
        line.shrink_to(KEEP);
        self.line = line;
    }

    /// Another line of data: so much of it as was kept, and how long it was.
    fn add(&mut self, value: &[u8], len: u64) {
        match &mut self.data {
            Some(data) => {
                self.data_len += len + 1;
                if self.data_len <= self.max as u64 {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            }
            None => {
                self.data_len = len;
                let kept = if len <= self.max as u64 { value } else { b"" };
                self.data = Some(kept.to_vec());
            }
        }
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if let Some(data) = self.data.take() {
            match self.data_len {
                len if len > self.max as u64 => each(Piece::TooLong { len }),
                _ => each(Piece::Data(&data)),
            }
        }
        self.data_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(max: usize, size: usize, text: &[u8]) -> Vec<Result<Vec<u8>, u64>> {
        let mut events = Events::new(max);
        let mut all = Vec::new();
        for part in text.chunks(size) {
            events.push(part, |p| {
                all.push(match p {
                    Piece::Data(d) => Ok(d.to_vec()),
                    Piece::TooLong { len } => Err(len),
                });
            });
        }
        all
    }

    #[test]
    fn events_are_the_same_however_the_bytes_come() {
        let text = b"\xEF\xBB\xBFdata: {\"a\":1}\n\n: comment\n\nevent: x\nid: 7\ndata:one\r\ndata: two\r\n\r\ndata\n\ndatum: no\n\n\rdata: \xFF\xFE\r\rdata: unended";
        let want: Vec<Result<Vec<u8>, u64>> = vec![
            Ok(b"{\"a\":1}".to_vec()),
            Ok(b"one\ntwo".to_vec()),
            Ok(Vec::new()),
            Ok(b"\xFF\xFE".to_vec()),
        ];
        for size in [1, 2, 3, 7, text.len()] {
            assert_eq!(cut(100, size, text), want, "in parts of {size}");
        }
    }

    #[test]
    fn an_event_that_is_too_long_is_left_out_and_the_next_one_is_not() {
        let text = b"data: 0123456789\n\ndata: 01234567890\n\ndata: 01234\ndata: 56789\n\ndata: ok\n\n";
        for size in [1, 5, text.len()] {
            assert_eq!(
                cut(10, size, text),
                [Ok(b"0123456789".to_vec()), Err(11), Err(11), Ok(b"ok".to_vec())]
            );
        }
        let mut events = Events::new(10);
        events.push(&vec![b'x'; 1 << 20], |_| {});
        assert!(events.line.capacity() < 1 << 10, "a line without an end is not kept");
    }
}
