//! Takes out of a line what differs from machine to machine and from run to run. It works on the text,
//! since reading and writing JSON again would lose the order of the members.

use std::collections::BTreeMap;

/// Replaces the same things by the same words through one recording.
pub struct Scrub {
    /// Longest first.
    paths: Vec<(String, String)>,
    ids: BTreeMap<String, usize>,
}

impl Scrub {
    pub fn new(mut paths: Vec<(String, String)>) -> Self {
        paths.sort_by_key(|(p, _)| std::cmp::Reverse(p.len()));
        Self { paths, ids: BTreeMap::new() }
    }

    pub fn line(&mut self, line: &str) -> String {
        let mut text = line.to_owned();
        for (from, to) in &self.paths {
            text = text.replace(from, to);
        }
        let text = after_each(&text, "rollout-", dated);
        let text = after_each(&text, "/sessions/", day);
        let text = after_each(&text, "\"processId\":\"", |s| ("1".into(), digits(s)));
        let text = after_each(&text, "\"userAgent\":\"", |s| {
            let end = s.find('"').unwrap_or(0);
            (s[..end].split(' ').next().unwrap_or_default().to_owned(), end)
        });
        let text = after_each(&text, "\"serverName\":\"", |s| ("demo".into(), s.find('"').unwrap_or(0)));
        let text =
            ["ttft_ms", "ttft_stream_ms", "time_to_request_ms", "duration_ms", "duration_api_ms", "pid"]
                .iter()
                .fold(text, |t, key| after_each(&t, &format!("\"{key}\":"), |s| ("1".into(), digits(s))));
        let text = after_each(&text, "\"timestamp\":\"", |s| {
            ("2026-01-01T00:00:00.000Z".into(), s.find('"').unwrap_or(0))
        });
        let text = after_each(&text, "\"messaging_socket_path\":\"", |s| {
            ("/demo/socket".into(), s.find('"').unwrap_or(0))
        });
        let text = without_catalogue(text);
        let text = after_each(&text, ":", |s| match digits(s) {
            13 if s.starts_with('1') => ("1767225600000".into(), 13),
            10 if s.starts_with('1') => ("1767225600".into(), 10),
            _ => (String::new(), 0),
        });
        self.ids(&text)
    }

    /// Every UUID, and every id as OpenCode makes them, by its number of appearance.
    fn ids(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let mut number = |id: &str| {
                let next = self.ids.len() + 1;
                *self.ids.entry(id.to_owned()).or_insert(next)
            };
            let step = if let Some(u) = rest.get(..36).filter(|u| is_uuid(u)) {
                out.push_str(&format!("00000000-0000-7000-8000-{:012}", number(u)));
                36
            } else if let Some(id) = rest.get(..30).filter(|id| is_opencode_id(id)) {
                out.push_str(&format!("{}{:026}", &id[..4], number(id)));
                30
            } else {
                out.push(c);
                c.len_utf8()
            };
            rest = &rest[step..];
        }
        out
    }
}

/// Claude's answer to `initialize` lists all its commands and models, and the account: nobody's business.
fn without_catalogue(text: String) -> String {
    match text.split_once("\"response\":{\"commands\":") {
        Some((head, _)) => format!("{head}\"response\":{{}}}}}}"),
        None => text,
    }
}

/// After each `mark`, replaces as many bytes as `f` says by the text it gives.
fn after_each(text: &str, mark: &str, f: impl Fn(&str) -> (String, usize)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(i) = rest.find(mark) {
        let (head, tail) = rest.split_at(i + mark.len());
        let (new, old) = f(tail);
        out.push_str(head);
        out.push_str(&new);
        rest = &tail[old..];
    }
    out + rest
}

fn digits(s: &str) -> usize {
    s.bytes().take_while(u8::is_ascii_digit).count()
}

/// `2026-11-22T15-28-10` in the name of a rollout.
fn dated(s: &str) -> (String, usize) {
    if s.len() > 19 && digits(s) == 4 { ("2026-01-01T00-00-00".into(), 19) } else { (String::new(), 0) }
}

/// `2026/11/22` in the path of a rollout.
fn day(s: &str) -> (String, usize) {
    if s.len() > 10 && digits(s) == 4 { ("2026/01/01".into(), 10) } else { (String::new(), 0) }
}

fn is_uuid(s: &str) -> bool {
    s.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_hexdigit(),
    })
}

/// `ses_`, `msg_` or `prt_`, then a time and random letters.
fn is_opencode_id(s: &str) -> bool {
    let (kind, rest) = s.split_at(4.min(s.len()));
    matches!(kind, "ses_" | "msg_" | "prt_") && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}
