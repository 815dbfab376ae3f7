//! Figures, and the table of them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// Collects figures and prints them as they come.
pub struct Report {
    json: bool,
    rows: Vec<Value>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        let report = Self { json, rows: Vec::new() };
        report.print(&line("figure", "measured", "wanted"));
        report
    }

    fn print(&self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    /// A figure; `wanted` may be empty.
    pub fn row(&mut self, name: &str, measured: impl Into<String>, wanted: &str) {
        let measured = measured.into();
        self.print(&line(name, &measured, wanted));
        self.rows.push(json!({ "figure": name, "measured": measured, "wanted": wanted, "load": load() }));
    }

    /// All figures as JSON, or the machine's load.
    pub fn end(self) -> String {
        let mut out = String::new();
        let _ = if self.json {
            writeln!(out, "{}", Value::Array(self.rows))
        } else {
            writeln!(out, "load of the machine: {}", load())
        };
        out
    }
}

fn line(a: &str, b: &str, c: &str) -> String {
    format!("{a:<44} {b:<58} {c}")
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Milliseconds, of which the middle and the ends are told.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    pub fn of_nanos(&mut self, nanos: u64) {
        self.0.push(nanos as f64 / 1e6);
    }

    fn at(&self, part: f64) -> f64 {
        let mut all = self.0.clone();
        all.sort_unstable_by(f64::total_cmp);
        let at = (part * (all.len().saturating_sub(1)) as f64).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        all.get(at as usize).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub fn text(&self) -> String {
        let of = |p: f64| self.at(p);
        format!(
            "median {:.1}  p90 {:.1}  p99 {:.1}  min {:.1}  max {:.1} ms  n {}",
            of(0.5),
            of(0.9),
            of(0.99),
            of(0.0),
            of(1.0),
            self.0.len()
        )
    }
}
