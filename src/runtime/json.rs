//! What the adapters share in reading JSON that they do not trust: every member is optional.

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

/// A member's elements; none where it is no list.
pub(super) fn list<'v>(v: &'v Value, key: &str) -> &'v [Value] {
    v.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text as it is, anything else as JSON.
pub(super) fn as_text(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

/// A line that is not understood.
pub(super) fn raw(line: &[u8]) -> Body {
    if line.len() <= MAX_RAW {
        return Body::Raw { text: String::from_utf8_lossy(line).into_owned() };
    }
    let kept = String::from_utf8_lossy(&line[..MAX_RAW]);
    Body::Raw { text: format!("{kept} … [cut: {} of {} bytes left out]", line.len() - MAX_RAW, line.len()) }
}
