//! Takes out of a line what differs from machine to machine and from run to run. It works on the text,
//! since reading and writing JSON again would lose the order of the members.

use std::collections::BTreeMap;

/// Replaces the same things by the same words through one recording.
pub struct Scrub {
    /// Longest first.
    paths: Vec<(String, String)>,
    uuids: BTreeMap<String, usize>,
    /// OpenCode's ids, by their order as texts, which is the order in which they were made (or its
    /// reverse), and means something to who reads them.
    ids: BTreeMap<String, usize>,
}

impl Scrub {
    pub fn new(mut paths: Vec<(String, String)>) -> Self {
        paths.sort_by_key(|(p, _)| std::cmp::Reverse(p.len()));
        Self { paths, uuids: BTreeMap::new(), ids: BTreeMap::new() }
    }

    /// Looks at all lines of a recording before the first is written.
    pub fn learn<'l>(&mut self, lines: impl Iterator<Item = &'l str>) {
        for line in lines {
            let mut from = 0;
            while let Some((start, end)) = next_id(line, from) {
                self.ids.insert(line[start..end].to_owned(), 0);
                from = end;
            }
        }
        for (n, id) in self.ids.values_mut().enumerate() {
            *id = n + 1;
        }
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
        let text = ["snapshot", "projectID", "slug", "hash"].iter().fold(text, |t, key| {
            after_each(&t, &format!("\"{key}\":\""), |s| ((*key).to_owned(), s.find('"').unwrap_or(0)))
        });
        let text = after_each(&text, "ew session - ", |s| {
            ("2026-01-01T00:00:00.000Z".into(), s.find('"').unwrap_or(0))
        });
        let text = without_catalogue(text);
        let text = after_each(&text, ":", |s| match digits(s) {
            13 if s.starts_with('1') => ("1767225600000".into(), 13),
            10 if s.starts_with('1') => ("1767225600".into(), 10),
            _ => (String::new(), 0),
        });
        let text = self.uuids(&text);
        self.ids(&text)
    }

    /// Every id of OpenCode by its number.
    fn ids(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        while let Some((start, end)) = next_id(text, from) {
            let (kind, rest) = text[start..end].split_at(4);
            let n = self.ids.get(&text[start..end]).copied().unwrap_or_default();
            out.push_str(&text[from..start]);
            out.push_str(&format!("{kind}{n:0width$}", width = rest.len()));
            from = end;
        }
        out + &text[from..]
    }

    /// Every UUID by its number of appearance.
    fn uuids(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let step = match rest.get(..36).filter(|u| is_uuid(u)) {
                Some(u) => {
                    let next = self.uuids.len() + 1;
                    let n = *self.uuids.entry(u.to_owned()).or_insert(next);
                    out.push_str(&format!("00000000-0000-7000-8000-{n:012}"));
                    36
                }
                None => {
                    out.push(c);
                    c.len_utf8()
                }
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

/// Where OpenCode's next id is: `ses_`, twelve hexadecimal digits of the time, and chance.
fn next_id(text: &str, from: usize) -> Option<(usize, usize)> {
    let id = |at: usize| {
        let id = text.get(at..at + 30)?;
        let (kind, rest) = (id.get(..3)?, id.get(3..4).filter(|u| *u == "_").and(id.get(4..))?);
        let made = kind.bytes().all(|b| b.is_ascii_lowercase())
            && rest.bytes().take(12).all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        made.then_some((at, at + 30))
    };
    (from..text.len()).find_map(id)
}

fn is_uuid(s: &str) -> bool {
    s.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_hexdigit(),
    })
}
