//! Names and ids.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of an agent: 1 to 63 of `a-z`, `0-9`, `-`, starting and ending with a letter or digit, so
/// that it is a valid Kubernetes name and branch suffix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AgentName(String);

/// Why a name was refused, with one that would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "agent name {given:?} is not valid: use 1 to 63 of a-z, 0-9 and -, starting and ending with a letter or digit{}",
    suggestion.as_ref().map(|s| format!("; try {s:?}")).unwrap_or_default()
)]
pub struct BadName {
    pub given: String,
    pub suggestion: Option<String>,
}

impl AgentName {
    /// Longest name.
    pub const MAX: usize = 63;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn valid(s: &str) -> bool {
        let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let b = s.as_bytes();
        b.len() <= Self::MAX
            && edge(b.first())
            && edge(b.last())
            && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
    }

    /// The nearest valid name, or none if nothing of the text can be kept.
    fn suggest(s: &str) -> Option<String> {
        let mut out = String::new();
        for c in s.chars() {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                out.push(c);
            } else if !out.ends_with('-') {
                out.push('-');
            }
        }
        let mut out = out.trim_matches('-').to_owned();
        out.truncate(Self::MAX);
        let out = out.trim_end_matches('-').to_owned();
        (!out.is_empty()).then_some(out)
    }
}

impl std::str::FromStr for AgentName {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        if Self::valid(s) {
            Ok(Self(s.to_owned()))
        } else {
            Err(BadName { given: s.to_owned(), suggestion: Self::suggest(s) })
        }
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AgentName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = String::deserialize(d)?;
        s.parse().map_err(serde::de::Error::custom)
    }
}

/// A new random id: `prefix-` and 12 lower-case letters and digits without look-alikes (about 60 bits).
pub fn random(prefix: &str) -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut bytes = [0u8; 12];
    getrandom::fill(&mut bytes)?;
    let tail: String = bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect();
    Ok(format!("{prefix}-{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_valid() {
        for ok in ["a", "0", "fix-login", "a-b-c", &"x".repeat(63)] {
            assert_eq!(ok.parse::<AgentName>().unwrap().as_str(), ok);
        }
    }

    #[test]
    fn names_that_are_refused_with_a_suggestion() {
        for (bad, suggestion) in [
            ("Fix Login!", Some("fix-login")),
            ("-a-", Some("a")),
            ("a/../b", Some("a-b")),
            ("", None),
            ("---", None),
            ("é", None),
        ] {
            let e = bad.parse::<AgentName>().unwrap_err();
            assert_eq!(e.suggestion.as_deref(), suggestion, "{bad:?}");
            if let Some(s) = e.suggestion {
                s.parse::<AgentName>().unwrap();
            }
        }
        let long = "y".repeat(64).parse::<AgentName>().unwrap_err();
        assert_eq!(long.suggestion.unwrap().len(), 63);
    }

    #[test]
    fn ids_differ() {
        let a = random("s").unwrap();
        assert!(a.starts_with("s-") && a.len() == 14);
        assert_ne!(a, random("s").unwrap());
    }
}
