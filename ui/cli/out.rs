//! The only way to stdout and stderr. What comes from agents, configs and servers is cleaned here
//! (law 2); a reader that went away is no error.

use std::io::{self, Write};

/// Prints a text for people; control characters in it are made harmless.
pub fn text(text: &str) -> io::Result<()> {
    raw(fracta::text::block(text).as_bytes())
}

/// Prints a line for people.
pub fn line(line: &str) -> io::Result<()> {
    text(line)?;
    raw(b"\n")
}

/// Prints JSON for machines, on one line. Control characters are escaped by JSON, and those that
/// JSON leaves alone by [`fracta::event::encode`].
pub fn json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    let mut bytes = fracta::event::encode::json(value)?;
    bytes.push(b'\n');
    Ok(raw(&bytes)?)
}

/// Prints bytes that are known to be harmless.
pub fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // `fracta events x | head` is done when head is.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other,
    }
}

/// Prints a line to stderr for people.
pub fn note(line: &str) {
    // Nothing can be done about a stderr that cannot be written.
    let _ = writeln!(io::stderr(), "{}", fracta::text::block(line));
}

/// A table: columns as wide as their widest cell, the last one cut to the terminal.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    use unicode_width::UnicodeWidthStr;
    let clean: Vec<Vec<String>> =
        rows.iter().map(|r| r.iter().map(|c| fracta::text::line(c).into_owned()).collect()).collect();
    let width = |i: usize| {
        let cells = clean.iter().filter_map(|r| r.get(i)).map(|c| c.width());
        cells.chain(std::iter::once(head.get(i).map_or(0, |h| h.width()))).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    let heads: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&heads).chain(&clean) {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(cell);
            let pad = widths.get(i).map_or(0, |w| w.saturating_sub(cell.width()));
            line.extend(std::iter::repeat_n(' ', pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    raw(out.as_bytes())
}
