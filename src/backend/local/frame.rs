//! The protocol of a shim's control socket.
//!
//! A frame is the length of its payload (`u32`, little endian, at most [`MAX_FRAME`]), one byte that
//! says what it is, and the payload. Numbers in payloads are little endian; what is structured is JSON.
//! Requests go to the shim, notices come from it. Notices are facts of the present, not a log: a newer
//! one may stand for several older ones of its kind. The first notice is always [`Notice::Hello`],
//! [`Notice::Exit`] is the last.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::record::{ExitRecord, RunRecord};

/// Longest payload, in bytes (1 MiB).
pub const MAX_FRAME: usize = 1 << 20;
/// Messages for stdin travel in parts of at most so many bytes (256 KiB), to keep the shim small.
pub const PART: usize = 256 << 10;
/// Longest payload of the very first frame, which holds the [`super::ShimSpec`].
pub const MAX_SPEC: usize = 8 << 20;
/// Bytes before the payload.
pub const HEADER: usize = 5;
/// Type of the first frame on the shim's stdin.
pub const SPEC: u8 = 1;

/// What a control plane asks of a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Bytes for the agent's stdin. A message of up to [`PART`] bytes arrives whole or, if the
    /// sender dies, not at all; a longer one that its sender could not finish is ended by `\n`.
    Stdin(Vec<u8>),
    /// Closes the agent's stdin after what was sent before.
    CloseStdin,
    /// Sends a signal to the agent's process group.
    Signal(i32),
    /// Ends the agent and all its descendants: TERM, and KILL after the grace.
    KillTree { grace_ms: u32 },
    /// Remembers which descendants there are now.
    Mark,
    /// Ends the descendants that came after the last [`Request::Mark`] (all, if there was none), but
    /// not the agent itself.
    KillSinceMark { grace_ms: u32 },
    /// Answered by [`Notice::Pong`] after everything that was asked before was begun.
    Ping,
}

/// The state of a run, as a new client learns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub record: RunRecord,
    pub raw_len: u64,
    pub stderr_len: u64,
    /// Bytes that the agent's stdin took in this run.
    pub stdin_total: u64,
    /// The run is over.
    pub exited: bool,
}

/// What a shim tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Hello(Hello),
    /// `raw.jsonl` is now so long.
    Grown {
        raw_len: u64,
    },
    /// Bytes that the agent's stdin took: in the whole run, and of those that this client sent.
    StdinWritten {
        total: u64,
        yours: u64,
    },
    /// The agent's stdin takes nothing any more; what was queued is lost.
    StdinBroken {
        error: String,
    },
    /// A kill asked for by this client is done; so many processes got a signal. One answer may stand
    /// for several requests.
    Killed {
        count: u32,
    },
    /// Something keeps the shim from its work (`over`: no longer), such as a full disk.
    Trouble {
        text: String,
        over: bool,
    },
    Pong,
    /// The run is over and nothing of it is left; the same stands in `exit.json`.
    Exit(ExitRecord),
    /// The shim could not begin: instead of [`Notice::Hello`], and the last notice.
    Failed {
        error: String,
    },
}

/// Why a frame was refused. Who sent it speaks another protocol: the link is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("a frame of {0} bytes is longer than {MAX_FRAME}")]
    TooLong(usize),
    #[error("a frame of the unknown type {0}")]
    Unknown(u8),
    #[error("a frame of type {0} with a payload that does not fit it")]
    Payload(u8),
}

/// A request as it lies in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A part of a message for stdin; `last` ends the message.
    Stdin {
        bytes: Vec<u8>,
        last: bool,
    },
    Other(Request),
}

/// Appends one frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    // Payloads are bounded far below 4 GiB by their makers.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
}

impl Request {
    /// Bytes meant for the agent's stdin, if that is what it is.
    pub fn stdin_len(&self) -> Option<usize> {
        match self {
            Request::Stdin(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    /// Appends the request's frames.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Stdin(bytes) => {
                let mut parts = bytes.chunks(PART).peekable();
                while let Some(part) = parts.next() {
                    put(out, if parts.peek().is_some() { 2 } else { 3 }, part);
                }
            }
            Request::CloseStdin => put(out, 4, &[]),
            Request::Signal(n) => put(out, 5, &n.to_le_bytes()),
            Request::KillTree { grace_ms } => put(out, 6, &grace_ms.to_le_bytes()),
            Request::Mark => put(out, 7, &[]),
            Request::KillSinceMark { grace_ms } => put(out, 8, &grace_ms.to_le_bytes()),
            Request::Ping => put(out, 9, &[]),
        }
    }

    pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Incoming, BadFrame> {
        let number = || <[u8; 4]>::try_from(payload).map_err(|_| BadFrame::Payload(kind));
        let empty = |r| if payload.is_empty() { Ok(r) } else { Err(BadFrame::Payload(kind)) };
        Ok(Incoming::Other(match kind {
            2 | 3 => return Ok(Incoming::Stdin { bytes: payload.to_vec(), last: kind == 3 }),
            4 => empty(Request::CloseStdin)?,
            5 => Request::Signal(i32::from_le_bytes(number()?)),
            6 => Request::KillTree { grace_ms: u32::from_le_bytes(number()?) },
            7 => empty(Request::Mark)?,
            8 => Request::KillSinceMark { grace_ms: u32::from_le_bytes(number()?) },
            9 => empty(Request::Ping)?,
            other => return Err(BadFrame::Unknown(other)),
        }))
    }
}

#[derive(Serialize, Deserialize)]
struct TroubleBody {
    text: String,
    over: bool,
}

impl Notice {
    /// Appends the notice's frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Notice::Hello(h) => put(out, 65, &json(h)),
            Notice::Grown { raw_len } => put(out, 66, &raw_len.to_le_bytes()),
            Notice::StdinWritten { total, yours } => {
                let mut both = [0; 16];
                both[..8].copy_from_slice(&total.to_le_bytes());
                both[8..].copy_from_slice(&yours.to_le_bytes());
                put(out, 67, &both);
            }
            Notice::StdinBroken { error } => put(out, 68, error.as_bytes()),
            Notice::Killed { count } => put(out, 69, &count.to_le_bytes()),
            Notice::Trouble { text, over } => {
                put(out, 70, &json(&TroubleBody { text: text.clone(), over: *over }));
            }
            Notice::Pong => put(out, 71, &[]),
            Notice::Exit(e) => put(out, 72, &json(e)),
            Notice::Failed { error } => put(out, 73, error.as_bytes()),
        }
    }

    /// Reads the payload of a frame.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, BadFrame> {
        let bad = BadFrame::Payload(kind);
        let long = |b: &[u8]| b.try_into().map(u64::from_le_bytes).map_err(|_| BadFrame::Payload(kind));
        let text = || String::from_utf8_lossy(payload).into_owned();
        Ok(match kind {
            65 => Notice::Hello(parse(kind, payload)?),
            66 => Notice::Grown { raw_len: long(payload)? },
            67 => {
                let (total, yours) = payload.split_at_checked(8).ok_or(bad)?;
                Notice::StdinWritten { total: long(total)?, yours: long(yours)? }
            }
            68 => Notice::StdinBroken { error: text() },
            69 => Notice::Killed { count: u32::from_le_bytes(payload.try_into().map_err(|_| bad)?) },
            70 => {
                let t: TroubleBody = parse(kind, payload)?;
                Notice::Trouble { text: t.text, over: t.over }
            }
            71 => Notice::Pong,
            72 => Notice::Exit(parse(kind, payload)?),
            73 => Notice::Failed { error: text() },
            other => return Err(BadFrame::Unknown(other)),
        })
    }
}

/// Our own structs of numbers and text always have a JSON form; an empty payload is refused by whoever
/// reads it.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(kind: u8, payload: &[u8]) -> Result<T, BadFrame> {
    serde_json::from_slice(payload).map_err(|_| BadFrame::Payload(kind))
}

/// Cuts received bytes into frames. Holds at most one frame and what was pushed after it.
#[derive(Debug, Default)]
pub struct Decoder {
    buf: Vec<u8>,
    /// Start of what is not taken yet.
    at: usize,
}

impl Decoder {
    /// Adds bytes as received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.trim();
        self.buf.extend_from_slice(bytes);
    }

    /// Forgets the frames that were taken: a megabyte once needed must not stay with an idle link.
    pub fn trim(&mut self) {
        self.buf.drain(..self.at);
        self.at = 0;
        if self.buf.is_empty() {
            self.buf.shrink_to(4 << 10);
        }
    }

    /// The next whole frame: its type and payload.
    pub fn next_frame(&mut self) -> Result<Option<(u8, &[u8])>, BadFrame> {
        let rest = &self.buf[self.at..];
        let Some((header, body)) = rest.split_at_checked(HEADER) else { return Ok(None) };
        let [a, b, c, d, kind] = *header else { return Ok(None) };
        let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if len > MAX_FRAME {
            return Err(BadFrame::TooLong(len));
        }
        let Some(payload) = body.get(..len) else { return Ok(None) };
        self.at += HEADER + len;
        Ok(Some((kind, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Exit;

    fn through(bytes: &[u8], step: usize) -> Vec<(u8, Vec<u8>)> {
        let mut d = Decoder::default();
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            d.push(part);
            while let Some((kind, payload)) = d.next_frame().unwrap() {
                all.push((kind, payload.to_vec()));
            }
        }
        all
    }

    #[test]
    fn requests_survive_any_cutting() {
        let all = [
            Request::Stdin(b"{}\n".to_vec()),
            Request::CloseStdin,
            Request::Signal(2),
            Request::KillTree { grace_ms: 70_000 },
            Request::Mark,
            Request::KillSinceMark { grace_ms: 0 },
            Request::Ping,
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|r| r.encode(&mut bytes));
        for step in [1, 2, 7, bytes.len()] {
            let back: Vec<Request> = through(&bytes, step)
                .into_iter()
                .map(|(kind, payload)| match Request::decode(kind, &payload).unwrap() {
                    Incoming::Stdin { bytes, last: true } => Request::Stdin(bytes),
                    Incoming::Stdin { .. } => panic!("a part"),
                    Incoming::Other(r) => r,
                })
                .collect();
            assert_eq!(back, all);
        }
    }

    #[test]
    fn a_long_message_travels_in_parts() {
        let mut bytes = Vec::new();
        Request::Stdin(vec![7; PART + 1]).encode(&mut bytes);
        let frames = through(&bytes, 60_000);
        assert_eq!(frames.iter().map(|(k, p)| (*k, p.len())).collect::<Vec<_>>(), [(2, PART), (3, 1)]);
    }

    #[test]
    fn notices_survive() {
        let id = super::super::ProcId { pid: 4, start: 5 };
        let record = RunRecord {
            run: 2,
            shim: id,
            agent: Some(id),
            boot: "b".into(),
            marker: "m".into(),
            raw_start: 1,
            stderr_start: 2,
            socket: "/s".into(),
        };
        let exit = Exit { code: None, signal: Some(9), spawn_error: None };
        for n in [
            Notice::Hello(Hello { record, raw_len: 3, stderr_len: 4, stdin_total: 5, exited: false }),
            Notice::Grown { raw_len: 1 << 40 },
            Notice::StdinWritten { total: 9, yours: 8 },
            Notice::StdinBroken { error: "é".into() },
            Notice::Killed { count: 3 },
            Notice::Trouble { text: "full".into(), over: true },
            Notice::Pong,
            Notice::Exit(ExitRecord { run: 2, exit, raw_len: 3, stderr_len: 4 }),
            Notice::Failed { error: "no".into() },
        ] {
            let mut bytes = Vec::new();
            n.encode(&mut bytes);
            let [(kind, payload)] = &through(&bytes, 3)[..] else { panic!("one frame") };
            assert_eq!(Notice::decode(*kind, payload).unwrap(), n);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut d = Decoder::default();
        d.push(b"GET / HTTP/1.1\r\n");
        assert!(matches!(d.next_frame(), Err(BadFrame::TooLong(_))));
        assert_eq!(Request::decode(200, &[]), Err(BadFrame::Unknown(200)));
        assert_eq!(Request::decode(5, &[1]), Err(BadFrame::Payload(5)));
        assert_eq!(Request::decode(7, &[1]), Err(BadFrame::Payload(7)));
        assert_eq!(Notice::decode(67, &[0; 15]), Err(BadFrame::Payload(67)));
        assert_eq!(Notice::decode(65, b"{}"), Err(BadFrame::Payload(65)));
    }
}
