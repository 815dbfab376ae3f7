//! Knowing secret values again in what an agent says.
//!
//! A [`Mask`] holds no value that could be read back: of each it keeps the length, a rolling hash by which
//! candidates are found in one pass over a text, and a salted SHA-256 that decides. So it can lie in a file of the
//! session (0600, gone with the process), and a control plane that comes back masks the same values although it
//! never had them.
//!
//! A value may be cut in two by the pieces in which an agent streams its text. A mask that has the values in memory
//! holds back an end that is the beginning of one; one that was read from the file holds back the last word. What is
//! held back comes with the next piece; the completed text of the item holds all of it in any case.
//!
//! Not found: a value that the agent changed (base64, a line break within), and values shorter than [`SHORTEST`].

mod body;
mod hash;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use hash::{Rolling, windows};

/// Shorter values are not looked for: they would hit plain words.
pub const SHORTEST: usize = 8;
/// Most values of one process.
const MOST: usize = 64;
/// Streams whose end is held back at the same time; a further one forgets the oldest.
const STREAMS: usize = 64;

/// The values of one process, and what of its streams is held back.
#[derive(Default)]
pub struct Mask {
    kept: Kept,
    /// In the order of `kept.entries`; none after a restart.
    values: Vec<SecretString>,
    /// By item: the end of what it said so far.
    held: BTreeMap<String, String>,
}

/// What is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    salt: [u8; 16],
    base: u64,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// What stands in its place.
    name: String,
    len: usize,
    rolling: u64,
    digest: [u8; 32],
}

impl Mask {
    /// A mask for these values. Second: the names of those that are too short to be masked.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(known: &[(String, SecretString)]) -> io::Result<(Self, Vec<String>)> {
        if known.is_empty() {
            return Ok((Self::default(), Vec::new()));
        }
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let mut mask = Self::default();
        let (salt, base) = random.split_at(16);
        mask.kept.salt.copy_from_slice(salt);
        mask.kept.base = hash::base(base);
        let mut short = Vec::new();
        for (name, value) in known {
            mask.learn(name, value, &mut short);
        }
        Ok((mask, short))
    }

    fn learn(&mut self, name: &str, value: &SecretString, short: &mut Vec<String>) {
        let text = value.expose_secret();
        if text.len() < SHORTEST {
            short.push(name.to_owned());
            return;
        }
        self.add(name, text);
        // As it stands in a line of JSON that no adapter understood.
        if let Ok(json) = serde_json::to_string(text)
            && json.len() != text.len() + 2
        {
            self.add(name, &json[1..json.len() - 1]);
        }
        // A file of several lines may be printed line by line.
        if text.contains('\n') {
            text.lines().map(str::trim).filter(|l| l.len() >= 2 * SHORTEST).for_each(|l| self.add(name, l));
        }
    }

    fn add(&mut self, name: &str, text: &str) {
        let digest = self.kept.digest(text.as_bytes());
        if self.kept.entries.len() >= MOST || self.kept.entries.iter().any(|e| e.digest == digest) {
            return;
        }
        let rolling = Rolling::of(self.kept.base, text.as_bytes());
        self.kept.entries.push(Entry { name: name.to_owned(), len: text.len(), rolling, digest });
        self.values.push(text.to_owned().into());
    }

    /// There is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.kept.entries.is_empty()
    }

    /// What [`Mask::load`] reads: no value is in it. The caller writes it, 0600.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.kept).unwrap_or_default()
    }

    /// Of an earlier control plane. One that cannot be read masks nothing, and is told to the log.
    pub fn load(path: &Path) -> Self {
        let read = std::fs::read(path).and_then(|bytes| Ok(serde_json::from_slice::<Kept>(&bytes)?));
        match read {
            Ok(kept) => Self { kept, ..Self::default() },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(e) => {
                tracing::error!(path = %path.display(), error = %e, "cannot read what is to be masked");
                Self::default()
            }
        }
    }

    /// The text with every known value replaced by its name; none: there is none in it.
    pub fn text(&self, text: &str) -> Option<String> {
        let found = self.kept.find(text.as_bytes());
        if found.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for hit in found {
            out.push_str(text.get(at..hit.start)?);
            out.push_str(&format!("[secret {}]", hit.name));
            at = hit.end;
        }
        out.push_str(text.get(at..)?);
        Some(out)
    }

    /// The next piece of a stream: what may be shown of it now, and of what was held back before.
    fn piece(&mut self, item: &str, piece: &str) -> String {
        let mut text = self.held.remove(item).unwrap_or_default();
        text.push_str(piece);
        let rest = text.split_off(self.cut(&text));
        if !rest.is_empty() {
            if self.held.len() >= STREAMS {
                self.held.pop_first();
            }
            self.held.insert(item.to_owned(), rest);
        }
        self.text(&text).unwrap_or(text)
    }

    /// Where what is held back begins: never within a value, whose parts would not be known again.
    fn cut(&self, text: &str) -> usize {
        let cut = text.len() - self.hold(text);
        if cut == text.len() {
            return cut;
        }
        let over = self.kept.find(text.as_bytes()).into_iter().find(|h| h.start < cut && cut < h.end);
        let longest = self.kept.entries.iter().map(|e| e.len).max().unwrap_or(0);
        match over {
            // Values over one another without an end are not held back without one.
            Some(hit) if text.len() - hit.start > 4 * longest => hit.end,
            Some(hit) => hit.start,
            None => cut,
        }
    }

    /// How many bytes at the end may be the beginning of a value.
    fn hold(&self, text: &str) -> usize {
        let longest = self.kept.entries.iter().map(|e| e.len).max().unwrap_or(0);
        let from = text.len() - text.len().min(longest.saturating_sub(1));
        if self.values.is_empty() {
            // Only the last word, since what has a blank in it is rarely a secret.
            let word = text.rfind(char::is_whitespace).map_or(0, |i| i + 1);
            let word =
                (word.max(from)..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
            // A value that ends here is whole.
            let whole = self.kept.find(text.as_bytes()).last().is_some_and(|h| h.end == text.len());
            return if whole { 0 } else { text.len() - word };
        }
        let begins = |i: &usize| {
            let end = &text.as_bytes()[*i..];
            self.values.iter().any(|v| {
                let v = v.expose_secret().as_bytes();
                v.len() > end.len() && v.starts_with(end)
            })
        };
        (from..text.len()).find(begins).map_or(0, |i| text.len() - i)
    }
}

/// A value in a text.
struct Hit<'a> {
    start: usize,
    end: usize,
    name: &'a str,
}

impl Kept {
    fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(bytes).finalize().into()
    }

    /// All values in a text, in order, none over another; of two at the same place the longer.
    fn find(&self, text: &[u8]) -> Vec<Hit<'_>> {
        let mut lengths: Vec<usize> = self.entries.iter().map(|e| e.len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut hits: Vec<Hit<'_>> = Vec::new();
        for len in lengths.into_iter().filter(|len| *len <= text.len()) {
            for (start, rolling) in windows(self.base, text, len) {
                let fits = |e: &&Entry| e.len == len && e.rolling == rolling;
                let Some(_) = self.entries.iter().find(fits) else { continue };
                let digest = self.digest(&text[start..start + len]);
                if let Some(e) = self.entries.iter().find(|e| e.len == len && e.digest == digest) {
                    hits.push(Hit { start, end: start + len, name: &e.name });
                }
            }
        }
        hits.sort_by_key(|h| (h.start, std::cmp::Reverse(h.end)));
        let mut end = 0;
        // One that begins within another and goes on beyond it would leave its rest in the open: joined.
        let mut out: Vec<Hit<'_>> = Vec::new();
        for hit in hits {
            match out.last_mut() {
                Some(last) if hit.start < end => last.end = last.end.max(hit.end),
                _ => out.push(hit),
            }
            end = out.last().map_or(0, |h| h.end);
        }
        out
    }
}
