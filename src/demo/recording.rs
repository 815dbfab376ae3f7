//! Recordings of the real CLIs: made by `cargo run --example record`, embedded for `fracta demo` on a
//! machine without any CLI, and read by the adapters' tests.
//!
//! The first line is the [`Header`]; every other is a [`Line`]: `{"t":ms,"dir":"out"|"in","line":"…"}`.

use serde::{Deserialize, Serialize};

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this format.
    pub recording: u32,
    pub cli: String,
    pub version: String,
    /// `batch` or `stream`.
    pub mode: String,
    pub scenario: String,
    /// The (first) prompt.
    #[serde(default)]
    pub prompt: String,
    /// Exit code of the process; absent where it had to be killed.
    #[serde(default)]
    pub exit: Option<i32>,
    pub made_by: String,
}

/// Which way a line went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dir {
    /// Said by the process.
    Out,
    /// Sent to the process.
    In,
}

/// A line of stdout or stdin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since the process started.
    pub t: u64,
    pub dir: Dir,
    pub line: String,
}

/// A recording, read.
#[derive(Debug, Clone)]
pub struct Recording {
    pub header: Header,
    pub lines: Vec<Line>,
}

/// Why a text is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("the recording is empty")]
    Empty,
    #[error("line {line} of the recording is not as expected: {source}")]
    Line { line: usize, source: serde_json::Error },
}

impl Recording {
    /// Reads the text of a recording.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let (first, rest) = text.split_once('\n').ok_or(RecordingError::Empty)?;
        let header =
            serde_json::from_str(first).map_err(|source| RecordingError::Line { line: 1, source })?;
        let lines = rest
            .lines()
            .enumerate()
            .map(|(i, l)| {
                serde_json::from_str(l).map_err(|source| RecordingError::Line { line: i + 2, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { header, lines })
    }

    /// An embedded recording of a CLI, by scenario.
    pub fn embedded(cli: &str, scenario: &str) -> Option<Self> {
        let found = EMBEDDED.iter().find(|e| e.cli == cli && e.scenario == scenario)?;
        Self::parse(found.text).ok()
    }
}

/// A recording that a lone binary carries.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    pub cli: &'static str,
    pub version: &'static str,
    pub scenario: &'static str,
    pub text: &'static str,
}

macro_rules! embedded {
    ($($cli:literal $version:literal: $($scenario:literal),*;)*) => {
        /// The recordings of `fracta demo`, of the newest version of each CLI.
        pub const EMBEDDED: &[Embedded] = &[$($(Embedded {
            cli: $cli,
            version: $version,
            scenario: $scenario,
            text: include_str!(concat!("../../assets/recordings/", $cli, "-", $version, "/", $scenario, ".jsonl")),
        }),*),*];
    };
}

embedded! {
    "codex" "0.169.0": "demo-explain", "demo-release-accept", "demo-release-decline", "demo-anything",
        "batch-demo-nightly", "batch-demo-anything";
    "claude" "2.1.197": "batch-demo-survey", "batch-demo-anything";
    "opencode" "1.18.33": "batch-demo-summary", "batch-demo-anything";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_recording_is_whole() {
        for Embedded { cli, version, scenario, text } in EMBEDDED {
            let name = format!("{cli}-{version}/{scenario}");
            let r = Recording::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((r.header.cli.as_str(), r.header.version.as_str()), (*cli, *version));
            assert_eq!(r.header.scenario, *scenario);
            assert!(text.len() < 200 << 10, "{name} is too large");
            let last = &r.lines.last().unwrap().line;
            let end = ["turn/completed", "turn.completed", "turn.failed", "\"result\"", "step_finish"];
            assert!(end.iter().any(|e| last.contains(e)), "{name} ends with {last}");
            let told = text.replace("/demo/homes/home", "/demo/homes");
            for private in ["/tmp/", "/root", "/home/", "\"vm\""] {
                assert!(!told.contains(private), "{name} holds {private}");
            }
        }
    }
}
