//! `${NAME}` in values: kept as written, expanded where a value is used.
//!
//! `${NAME}` is the variable, `${NAME:-default}` the default where it is unset or empty (the default is taken
//! as it stands, up to the next `}`), `$${` a literal `${`. A `$` elsewhere is itself. What a variable holds
//! is not looked at again, and nothing expanded is ever kept: not in a configuration, not in its `Debug`.

use std::fmt;

use serde::{Deserialize, Deserializer};

use super::diagnostic::Place;

/// Longest result of an expansion, bytes. A small file could else ask for gigabytes.
const MAX_EXPANDED: usize = 1024 * 1024;

/// A variable of this process's environment; the usual source for [`Text::expand`].
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Why a value of the configuration cannot be used. Never holds an expanded value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}{}: {message}", at(*.line, *.column))]
pub struct ConfigError {
    /// Path of the key.
    pub key: String,
    /// In `fracta.yaml`, from 1; none for values that come from no file.
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub message: String,
}

fn at(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column} of the configuration)"),
        _ => String::new(),
    }
}

/// A string value as it is written, with its key and place. `Debug` shows the key only, since people
/// write secrets where they should not.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    raw: String,
    key: String,
    place: Option<Place>,
}

impl Text {
    /// A value that comes from no file.
    pub fn new(key: impl Into<String>, raw: impl Into<String>) -> Self {
        Self { raw: raw.into(), key: key.into(), place: None }
    }

    pub(super) fn placed(key: &str, raw: &str, place: Place) -> Self {
        Self { raw: raw.to_owned(), key: key.to_owned(), place: Some(place) }
    }

    /// As written, `${…}` and all.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Path of the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    /// False: [`Self::expand`] gives [`Self::raw`] whatever the environment is.
    pub fn has_variables(&self) -> bool {
        self.raw.contains("${")
    }

    /// The value, with variables from `env` (mostly [`process_env`]).
    ///
    /// # Errors
    /// A variable is not set and has no default; the form is wrong; the result is over 1 MiB.
    pub fn expand(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
        let mut out = String::new();
        for part in parts(&self.raw) {
            match part.map_err(|m| self.error(m))? {
                Part::Plain(text) => out.push_str(text),
                Part::Variable { name, default } => match (env(name), default) {
                    (Some(value), None) => out.push_str(&value),
                    (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
                    (_, Some(default)) => out.push_str(default),
                    (None, None) => return Err(self.error(unset(name))),
                },
            }
            if out.len() > MAX_EXPANDED {
                return Err(self.error("longer than 1 MiB once its variables are expanded".to_owned()));
            }
        }
        Ok(out)
    }

    /// Names of variables that `env` lacks and that have no default.
    pub(super) fn unset(&self, env: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let missing = parts(&self.raw).filter_map(|p| match p {
            Ok(Part::Variable { name, default: None }) if env(name).is_none() => Some(unset(name)),
            _ => None,
        });
        missing.collect()
    }

    /// What is wrong with the form, whatever the environment holds.
    pub(super) fn malformed(raw: &str) -> Option<String> {
        if raw.contains('\0') {
            return Some("holds a NUL character, which no program can be given".to_owned());
        }
        parts(raw).find_map(Result::err)
    }

    pub(super) fn error(&self, message: String) -> ConfigError {
        ConfigError {
            key: self.key.clone(),
            line: self.place.map(|p| p.line),
            column: self.place.map(|p| p.column),
            message,
        }
    }
}

fn unset(name: &str) -> String {
    format!("the environment variable {name} is not set: set it, or write ${{{name}:-default}}")
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({})", self.key)
    }
}

enum Part<'a> {
    Plain(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
}

/// The parts of a value. After an error there are none.
fn parts(raw: &str) -> impl Iterator<Item = Result<Part<'_>, String>> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix("$${") {
            rest = after;
            return Some(Ok(Part::Plain("${")));
        }
        if let Some(after) = rest.strip_prefix("${") {
            let part = variable(after);
            rest = part.as_ref().map_or("", |(_, after)| after);
            return Some(part.map(|(part, _)| part));
        }
        // Up to the next `${` or `$${`; at least one character, so that this ends.
        let end = rest.find("${").map_or(rest.len(), |i| if rest[..i].ends_with('$') { i - 1 } else { i });
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Ok(Part::Plain(text)))
    })
}

/// What follows `${`.
fn variable(text: &str) -> Result<(Part<'_>, &str), String> {
    let (inside, after) =
        text.split_once('}').ok_or("`${` without its `}`; write `$${` for a literal `${`")?;
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !valid {
        // What is there is not shown: it may be a piece of a secret.
        return Err(
            "`${` without a variable's name; write ${NAME} or ${NAME:-default}, and `$${` for a literal `${`"
                .to_owned(),
        );
    }
    Ok((Part::Variable { name, default }, after))
}

/// Key under which the walker puts a value's place beside it; see [`Placed`].
pub(super) const PLACED: [&str; 4] = ["raw", "key", "line", "column"];

/// A value as the walker hands it to serde, which knows no places; or a bare value.
#[derive(Deserialize)]
#[serde(untagged)]
enum Placed<T> {
    At(At<T>),
    Bare(T),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At<T> {
    raw: T,
    key: String,
    line: usize,
    column: usize,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match Placed::<String>::deserialize(d)? {
            Placed::At(At { raw, key, line, column }) => {
                Text { raw, key, place: Some(Place { line, column }) }
            }
            Placed::Bare(raw) => Text::new("", raw),
        })
    }
}

impl schemars::JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Text; `${NAME}` and `${NAME:-default}` expand from the environment, `$${` is a literal `${`.",
        })
    }
}

/// An amount as Kubernetes writes it: `500m`, `2Gi`, or a bare number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Quantity(pub Text);

impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "description": "An amount as Kubernetes writes it: `500m`, `2Gi`, or a bare number.",
        })
    }
}

/// A piece in Kubernetes' own shape: kept as it is, strings unexpanded. `Debug` shows the key only.
#[derive(Clone, PartialEq)]
pub struct Native {
    raw: serde_json::Value,
    key: String,
    place: Option<Place>,
}

impl Native {
    /// As written.
    pub fn raw(&self) -> &serde_json::Value {
        &self.raw
    }

    /// Path of the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Line and column in the file, from 1.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place.map(|p| (p.line, p.column))
    }

    /// The piece with variables expanded in its string values.
    ///
    /// # Errors
    /// As [`Text::expand`]; the key is the inner one, the place is where the piece starts.
    pub fn expand(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<serde_json::Value, ConfigError> {
        let mut budget = MAX_EXPANDED;
        self.expand_value(&self.raw, &self.key, env, &mut budget)
    }

    fn expand_value(
        &self,
        value: &serde_json::Value,
        key: &str,
        env: &dyn Fn(&str) -> Option<String>,
        budget: &mut usize,
    ) -> Result<serde_json::Value, ConfigError> {
        use serde_json::Value;
        Ok(match value {
            Value::String(raw) => {
                let text = Text { raw: raw.clone(), key: key.to_owned(), place: self.place };
                let out = text.expand(env)?;
                *budget = budget.checked_sub(out.len()).ok_or_else(|| {
                    text.error("longer than 1 MiB once its variables are expanded".to_owned())
                })?;
                Value::String(out)
            }
            Value::Array(items) => {
                let expanded = items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| self.expand_value(item, &super::diagnostic::item(key, i), env, budget));
                Value::Array(expanded.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let expanded = map.iter().map(|(k, v)| {
                    Ok((k.clone(), self.expand_value(v, &super::diagnostic::join(key, k), env, budget)?))
                });
                Value::Object(expanded.collect::<Result<_, ConfigError>>()?)
            }
            other => other.clone(),
        })
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Native({})", self.key)
    }
}

impl<'de> Deserialize<'de> for Native {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match Placed::<serde_json::Value>::deserialize(d)? {
            Placed::At(At { raw, key, line, column }) => {
                Native { raw, key, place: Some(Place { line, column }) }
            }
            Placed::Bare(raw) => Native { raw, key: String::new(), place: None },
        })
    }
}

impl schemars::JsonSchema for Native {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Native".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "In Kubernetes' own shape, passed on as it is.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${A} $${ }".to_owned()),
            "BIG" => Some("x".repeat(100_000)),
            _ => None,
        }
    }

    fn expand(raw: &str) -> Result<String, String> {
        Text::new("k", raw).expand(&env).map_err(|e| e.to_string())
    }

    #[test]
    fn expands() {
        for (raw, want) in [
            ("", ""),
            ("plain $5 $A $ }", "plain $5 $A $ }"),
            ("${A}", "one"),
            ("a${A}b${A}", "aonebone"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${NOPE:-}", ""),
            ("${NOPE:-a:-b $x}", "a:-b $x"),
            ("${A:-d}", "one"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$$", "$$"),
            ("${TRICKY}", "${A} $${ }"),
            ("é${A}é", "éoneé"),
        ] {
            assert_eq!(expand(raw).as_deref(), Ok(want), "{raw}");
        }
    }

    #[test]
    fn errors_name_key_and_variable_but_no_value() {
        let text = Text::placed("a.b", "${A}-${NOPE}", Place { line: 3, column: 9 });
        assert_eq!(
            text.expand(&env).unwrap_err().to_string(),
            "a.b (line 3, column 9 of the configuration): the environment variable NOPE is not set: set it, or write ${NOPE:-default}"
        );
        for raw in ["${", "${A", "${}", "${1A}", "${A B}", "${A-b}", "${é}"] {
            assert!(Text::malformed(raw).is_some(), "{raw}");
            assert!(expand(raw).is_err(), "{raw}");
        }
        assert!(Text::malformed("a\0b").unwrap().contains("NUL"));
        assert_eq!(Text::malformed("$${ ${A:-} $"), None);
    }

    #[test]
    fn an_expansion_is_bounded() {
        assert!(expand(&"${BIG}".repeat(10)).is_ok());
        assert!(expand(&"${BIG}".repeat(11)).unwrap_err().contains("1 MiB"));
    }

    #[test]
    fn debug_shows_no_value() {
        let text = Text::new("auth.token", "hunter2");
        assert_eq!(format!("{text:?}"), "Text(auth.token)");
        let native: Native = serde_json::from_value(serde_json::json!({"a": "hunter2"})).unwrap();
        assert!(!format!("{native:?}").contains("hunter2"));
    }

    #[test]
    fn native_pieces_expand_inside() {
        let raw = serde_json::json!({"raw": {"a": ["${A}", 1], "b": {"c.d": "${NOPE}"}}, "key": "k", "line": 2, "column": 3});
        let native: Native = serde_json::from_value(raw).unwrap();
        let e = native.expand(&env).unwrap_err();
        assert_eq!((e.key.as_str(), e.line), ("k.b.\"c.d\"", Some(2)));
        let all = |_: &str| Some("v".to_owned());
        assert_eq!(native.expand(&all).unwrap(), serde_json::json!({"a": ["v", 1], "b": {"c.d": "v"}}));
    }
}
