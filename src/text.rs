//! Making hostile text harmless. Agents, pods and configs are hostile (law 2): what they say passes
//! through here before anything may show it to a person.

use std::borrow::Cow;

/// Text that is safe to write to a terminal as one line: control characters (C0, DEL, C1), line
/// breaks, bidi controls and invisible format characters are made visible or dropped.
pub fn line(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// As [`line`], but keeps `\n`, and turns `\r\n` into `\n` and tabs into spaces.
pub fn block(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}
