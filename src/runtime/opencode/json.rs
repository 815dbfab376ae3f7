//! Reading values whose members are all optional to us: versions differ.

use serde_json::Value;

use crate::event::Body;

/// Longest text of a `raw` fact, in bytes.
const MAX_RAW: usize = 64 << 10;

/// A member as text, or nothing.
pub(super) fn text<'v>(v: &'v Value, key: &str) -> Option<&'v str> {
    v.get(key).and_then(Value::as_str)
}

/// A member as owned text; empty where it is missing.
pub(super) fn owned(v: &Value, key: &str) -> String {
    text(v, key).unwrap_or_default().to_owned()
}

/// A line as JSON. Bytes that are no UTF-8 are replaced where that makes JSON of it.
pub(super) fn parse(line: &[u8]) -> Option<Value> {
    let value: Value = match serde_json::from_slice(line) {
        Ok(v) => v,
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(line)).ok()?,
    };
    value.is_object().then_some(value)
}

/// A line that is not understood.
pub(super) fn raw(line: &[u8]) -> Body {
    let kept = String::from_utf8_lossy(&line[..line.len().min(MAX_RAW)]).into_owned();
    let text = match line.len().saturating_sub(MAX_RAW) {
        0 => kept,
        left => format!("{kept} … [cut: {left} of {} bytes left out]", line.len()),
    };
    Body::Raw { text }
}

/// What an error of OpenCode (`{name, data: {message, …}}`) says, on one line.
pub(super) fn error_text(error: &Value) -> String {
    let message = error.pointer("/data/message").or_else(|| error.get("message")).and_then(Value::as_str);
    let name = text(error, "name").unwrap_or("an error without a name");
    let words = message.map(|m| m.lines().next().unwrap_or_default().trim()).filter(|m| !m.is_empty());
    match words {
        Some(words) => words.to_owned(),
        None => name.to_owned(),
    }
}

/// The error by which OpenCode says that a turn was aborted.
pub(super) fn is_abort(error: &Value) -> bool {
    text(error, "name") == Some("MessageAbortedError")
}
