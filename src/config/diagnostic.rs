//! What is wrong with a `fracta.yaml`, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One finding. Prints as `file:line:column: error: key: message (hint)`; the line never holds a control
/// character, whatever the file and its name hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// From 1; none where the file as a whole is meant. A place is always within the file.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// Path of the key (`agents.agent_runtimes.codex.model`); empty where the file as a whole is meant.
    pub key: String,
    pub message: String,
    /// What to do: a nearest name, the form that is meant.
    pub hint: Option<String>,
}

fn lossy<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&path.to_string_lossy())
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", clean(&self.file.to_string_lossy()))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        f.write_str(match self.severity {
            Severity::Error => " error: ",
            Severity::Warning => " warning: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "{}: ", clean(&self.key))?;
        }
        f.write_str(&clean(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, " ({})", clean(hint))?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// It keeps the configuration from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Why a configuration cannot be used: all errors, in the order of the file. [`fmt::Display`] prints one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LoadError {
    /// At least one error; warnings are among them.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// A place in the file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// Just behind a text. A lone carriage return ends a line, as in YAML.
    pub fn after(text: &str) -> Self {
        let widths = widths(text);
        Self { line: widths.len(), column: widths.last().unwrap_or(&0) + 1 }
    }
}

/// Width of each line, in characters.
pub(super) fn widths(text: &str) -> Vec<usize> {
    let mut widths = vec![0];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' || (c == '\r' && chars.peek() != Some(&'\n')) {
            widths.push(0);
        } else if let Some(width) = widths.last_mut().filter(|_| c != '\r') {
            *width += 1;
        }
    }
    widths
}

/// A finding that does not yet know its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub severity: Severity,
    pub place: Option<Place>,
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn error(place: Option<Place>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, key: key.into(), message: message.into(), hint: None }
    }

    pub fn warning(place: Option<Place>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, key, message) }
    }

    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub fn into_diagnostic(self, file: &Path) -> Diagnostic {
        Diagnostic {
            severity: self.severity,
            file: file.to_owned(),
            line: self.place.map(|p| p.line),
            column: self.place.map(|p| p.column),
            key: self.key,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Problems are bounded: a hostile file must not print a million lines.
const MAX_PROBLEMS: usize = 100;

/// Sorts by place, and cuts off what nobody would read, saying how much.
pub(super) fn finish(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|p| p.place);
    if problems.len() > MAX_PROBLEMS {
        let errors_first = |p: &Problem| !p.is_error();
        problems.sort_by_key(errors_first);
        let more = problems.len() - MAX_PROBLEMS;
        problems.truncate(MAX_PROBLEMS);
        let severity = problems.last().map_or(Severity::Error, |p| p.severity);
        problems.push(Problem {
            severity,
            ..Problem::error(None, "", format!("{more} more problems are not shown"))
        });
    }
    problems
}

/// Quotes a value for a message: escaped as in Rust, cut at 60 characters.
pub(super) fn quote(text: &str) -> String {
    const MAX: usize = 60;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Escapes what is not printable; `"` and `\` stay as they are.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\') {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

/// Longest path of a key, bytes: thousands of values may lie under one key of a megabyte.
const MAX_PATH: usize = 512;

/// Appends a key to a path: `a.b`, and `a."odd key"` where the dots would not tell the keys apart.
/// A path that is long enough stays as it is.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.len() > MAX_PATH {
        return path.to_owned();
    }
    let plain = (1..=128).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let key = if plain { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Appends the number of a list's item to a path.
pub(super) fn item(path: &str, index: usize) -> String {
    if path.len() > MAX_PATH { path.to_owned() } else { format!("{path}[{index}]") }
}

/// The nearest of the known names, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long words are no slips of the finger, and the distance costs the product of both lengths.
    if word.len() > 64 {
        return None;
    }
    let fold = |s: &str| s.to_lowercase().replace('-', "_");
    let word = fold(word);
    known
        .into_iter()
        .take(100)
        .filter(|k| k.len() <= 64)
        .map(|k| (strsim::damerau_levenshtein(&word, &fold(k)), k))
        .filter(|(distance, k)| *distance <= (k.chars().count().max(word.chars().count()) / 3).max(1))
        .min()
        .map(|(_, k)| k)
}

/// `did you mean "x"?` for the nearest name.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|k| format!("did you mean {k:?}?"))
}

/// `a, b, c`, each quoted.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().take(20).map(quote).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_line_has_no_control_characters() {
        let d = Problem::error(Some(Place { line: 3, column: 7 }), "a\u{1b}[2J", "bad \u{202e}\nthing \"x\"")
            .hint(Some("a\tb".to_owned()))
            .into_diagnostic(Path::new("/a\nb/f.yaml"));
        assert_eq!(
            d.to_string(),
            "/a\\nb/f.yaml:3:7: error: a\\u{1b}[2J: bad \\u{202e}\\nthing \"x\" (a\\tb)"
        );
    }

    #[test]
    fn nearest_names() {
        let known = ["agents", "auth", "runtime", "step_limit"];
        assert_eq!(nearest("agent", known), Some("agents"));
        assert_eq!(nearest("Step-Limit", known), Some("step_limit"));
        assert_eq!(nearest("atuh", known), Some("auth"));
        assert_eq!(nearest("kubernetes", known), None);
        assert_eq!(nearest(&"a".repeat(1000), known), None);
    }

    #[test]
    fn too_many_problems_keep_the_errors() {
        let mut all: Vec<Problem> =
            (1..150).map(|line| Problem::warning(Some(Place { line, column: 1 }), "w", "w")).collect();
        all.push(Problem::error(Some(Place { line: 200, column: 1 }), "e", "e"));
        let out = finish(all);
        assert_eq!(out.len(), 101);
        assert!(out[0].is_error());
        assert_eq!(out[100].message, "50 more problems are not shown");
    }

    #[test]
    fn odd_keys_are_quoted_in_paths() {
        assert_eq!(join("a", "b-c_1"), "a.b-c_1");
        assert_eq!(join("a", "b.c"), "a.\"b.c\"");
        assert_eq!(join("", ""), "\"\"");
    }
}
