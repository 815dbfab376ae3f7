//! Holds a YAML tree against the JSON Schema and collects everything that does not fit. What fits comes out as
//! a JSON value that serde makes the typed configuration of; string values carry their key and place along.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::diagnostic::{Place, Problem, did_you_mean, item, join, list, quote};
use super::expand::{PLACED, Text};
use super::schema::definition;
use super::yaml::{Data, Entry, Node};

/// Where a key and its value are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub key: Place,
    pub value: Place,
}

/// What a walk found.
pub(super) struct Walk<'s> {
    schema: &'s Value,
    pub problems: Vec<Problem>,
    /// By path, for every known key.
    pub spots: HashMap<String, Spot>,
    /// Every string value that may hold variables.
    pub texts: Vec<Text>,
}

type Schema = Map<String, Value>;

/// One form that a value may have: a schema without `$ref` and `anyOf`, and the name of its definition.
struct Form<'s> {
    name: &'s str,
    schema: &'s Schema,
}

impl<'s> Walk<'s> {
    pub fn new(schema: &'s Value) -> Self {
        Self { schema, problems: Vec::new(), spots: HashMap::new(), texts: Vec::new() }
    }

    /// Walks the whole file. Null where nothing of it can be used.
    pub fn root(&mut self, node: &Rc<Node>) -> Value {
        if !matches!(node.data, Data::Map(_)) {
            let message = format!("a configuration is a map of keys, here is {}", node.describe());
            self.problems.push(Problem::error(Some(node.place), "", message));
            return Value::Null;
        }
        self.value(node, self.schema, "").unwrap_or(Value::Null)
    }

    fn value(&mut self, node: &Node, schema: &'s Value, path: &str) -> Option<Value> {
        let mut forms = Vec::new();
        self.forms(schema, "", &mut forms);
        if forms.is_empty() {
            return Some(Value::Null);
        }
        match forms.iter().find(|f| f.takes(node)) {
            Some(form) => self.form(node, form, path),
            None => {
                let hint = forms.iter().find_map(|f| f.hint(node));
                // What belongs where free text is expected may be a secret: a numeric token without quotes.
                let secret = forms.iter().any(|f| f.name == "Text");
                let here = if secret { node.kind().to_owned() } else { node.describe() };
                self.error(node, path, format!("expected {}, here is {here}", expected(&forms)), hint);
                None
            }
        }
    }

    fn error(&mut self, node: &Node, path: &str, message: String, hint: Option<String>) {
        self.problems.push(Problem::error(Some(node.place), path, message).hint(hint));
    }

    /// Flattens `$ref` and `anyOf`. Definitions do not refer to themselves.
    fn forms(&self, schema: &'s Value, name: &'s str, out: &mut Vec<Form<'s>>) {
        let Some(object) = schema.as_object() else { return };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or("");
            if let Some(target) = definition(self.schema, reference) {
                self.forms_of(target, name, out);
            }
        } else {
            self.forms_of(object, name, out);
        }
    }

    fn forms_of(&self, object: &'s Schema, name: &'s str, out: &mut Vec<Form<'s>>) {
        match object.get("anyOf").and_then(Value::as_array) {
            Some(any) => any.iter().for_each(|s| self.forms(s, name, out)),
            None => out.push(Form { name, schema: object }),
        }
    }

    fn form(&mut self, node: &Node, form: &Form<'s>, path: &str) -> Option<Value> {
        match (form.name, &node.data) {
            (_, Data::Null) => Some(Value::Null),
            ("Text" | "Quantity", _) => self.text(node, path),
            ("Native", _) => {
                let raw = self.native(node, path)?;
                Some(placed(raw, path, node.place))
            }
            (_, Data::Bool(b)) => Some(json!(b)),
            (_, Data::Int(n)) => self.integer(node, *n, form, path),
            (_, Data::Number(_)) => self.native(node, path),
            (_, Data::Text(word)) => self.word(node, word, form, path),
            (_, Data::List(items)) => self.list(node, items, form, path),
            (_, Data::Map(entries)) => self.map(node, entries, form, path),
        }
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<Value> {
        let raw = match &node.data {
            Data::Text(text) => text.clone(),
            Data::Int(n) => n.to_string(),
            Data::Number(text) => text.clone(),
            _ => return None,
        };
        if let Some(message) = Text::malformed(&raw) {
            self.error(node, path, message, None);
            return None;
        }
        self.texts.push(Text::placed(path, &raw, node.place));
        Some(placed(Value::String(raw), path, node.place))
    }

    /// A piece in a shape of others: anything JSON can say.
    fn native(&mut self, node: &Node, path: &str) -> Option<Value> {
        Some(match &node.data {
            Data::Null => Value::Null,
            Data::Bool(b) => json!(b),
            Data::Int(n) => json!(n),
            Data::Number(text) => match text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                Some(n) => Value::Number(n),
                None => {
                    self.error(node, path, format!("{text} is no number here"), None);
                    return None;
                }
            },
            Data::Text(raw) => {
                self.text(node, path)?;
                Value::String(raw.clone())
            }
            Data::List(items) => {
                let all = items.iter().enumerate().filter_map(|(i, n)| self.native(n, &item(path, i)));
                Value::Array(all.collect())
            }
            Data::Map(entries) => {
                let all = entries
                    .iter()
                    .filter_map(|e| Some((e.key.clone(), self.native(&e.value, &join(path, &e.key))?)));
                Value::Object(all.collect())
            }
        })
    }

    fn integer(&mut self, node: &Node, n: i64, form: &Form<'s>, path: &str) -> Option<Value> {
        let (min, max) = form.range();
        if n < min || n > max {
            let message = format!("expected {}, here is the number {n}", form.words());
            self.error(node, path, message, None);
            return None;
        }
        Some(json!(n))
    }

    fn word(&mut self, node: &Node, word: &str, form: &Form<'s>, path: &str) -> Option<Value> {
        let words = form.choices();
        if words.contains(&word) {
            return Some(json!(word));
        }
        let message = format!("{} is none of {}", quote(word), list(words.iter().copied()));
        self.error(node, path, message, did_you_mean(word, words.iter().copied()));
        None
    }

    fn list(&mut self, node: &Node, items: &[Rc<Node>], form: &Form<'s>, path: &str) -> Option<Value> {
        let min = form.schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < min {
            self.error(node, path, "the list is empty".to_owned(), None);
            return None;
        }
        let schema = form.schema.get("items")?;
        let all = items.iter().enumerate().filter_map(|(i, n)| {
            let path = item(path, i);
            self.spots.insert(path.clone(), Spot { key: n.place, value: n.place });
            self.value(n, schema, &path)
        });
        Some(Value::Array(all.collect()))
    }

    fn map(&mut self, node: &Node, entries: &[Entry], form: &Form<'s>, path: &str) -> Option<Value> {
        let properties = form.schema.get("properties").and_then(Value::as_object);
        let additional = form.schema.get("additionalProperties");
        let free = form.schema.contains_key("patternProperties");
        let mut out = Map::new();
        for entry in entries {
            if free && entry.key.starts_with("x-") {
                continue;
            }
            let path = join(path, &entry.key);
            let known = properties.and_then(|p| p.get(&entry.key));
            let Some(schema) = known.or(additional.filter(|a| a.is_object())) else {
                self.unknown(entry, properties, &path);
                continue;
            };
            self.spots.insert(path.clone(), Spot { key: entry.place, value: entry.value.place });
            self.deprecated(entry, schema, &path);
            match self.value(&entry.value, schema, &path) {
                // A key without a value is as if it were not there; a named thing without one is all defaults.
                Some(Value::Null) if known.is_some() => {}
                Some(Value::Null) => drop(out.insert(entry.key.clone(), json!({}))),
                Some(value) => drop(out.insert(entry.key.clone(), value)),
                None => {}
            }
        }
        let required = form.schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let mut whole = true;
        for name in required.filter_map(Value::as_str).filter(|name| !out.contains_key(*name)) {
            whole = false;
            if !entries.iter().any(|e| e.key == name) {
                self.error(node, path, format!("the key {name:?} is missing"), None);
            }
        }
        whole.then_some(Value::Object(out))
    }

    fn unknown(&mut self, entry: &Entry, properties: Option<&Schema>, path: &str) {
        let known = || properties.into_iter().flatten().map(|(k, _)| k.as_str());
        let hint =
            did_you_mean(&entry.key, known()).or_else(|| Some(format!("known here: {}", list(known()))));
        self.problems.push(Problem::error(Some(entry.place), path, "unknown key").hint(hint));
    }

    fn deprecated(&mut self, entry: &Entry, schema: &Value, path: &str) {
        if schema.get("deprecated") == Some(&Value::Bool(true)) {
            let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let text = text.strip_prefix("Deprecated: ").unwrap_or(text).trim_end_matches('.');
            self.problems.push(Problem::warning(Some(entry.place), path, format!("deprecated: {text}")));
        }
    }
}

impl Form<'_> {
    fn has_type(&self, name: &str) -> bool {
        match self.schema.get("type") {
            Some(Value::String(t)) => t == name,
            Some(Value::Array(types)) => types.iter().any(|t| t == name),
            _ => name == "string" && self.schema.contains_key("oneOf"),
        }
    }

    /// Whether the kind of the node is right; its value may still be wrong.
    fn takes(&self, node: &Node) -> bool {
        match &node.data {
            Data::Null => self.has_type("null"),
            Data::Bool(_) => self.has_type("boolean"),
            Data::Int(_) => self.has_type("integer") || self.has_type("number"),
            Data::Number(_) => self.has_type("number"),
            Data::Text(_) => self.has_type("string"),
            Data::List(_) => self.has_type("array"),
            Data::Map(_) => self.has_type("object"),
        }
    }

    /// The words of an enumeration.
    fn choices(&self) -> Vec<&str> {
        let one_of = self.schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let own = self.schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        let inner = one_of.flat_map(|s| {
            let listed = s.get("enum").and_then(Value::as_array).into_iter().flatten();
            listed.chain(s.get("const"))
        });
        own.chain(inner).filter_map(Value::as_str).collect()
    }

    /// Least and greatest whole number.
    fn range(&self) -> (i64, i64) {
        let bound = |name: &str| self.schema.get(name).and_then(Value::as_i64);
        (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX))
    }

    /// What is expected, in words.
    fn words(&self) -> String {
        let choices = self.choices();
        if !choices.is_empty() {
            return format!("one of {}", list(choices));
        }
        if self.has_type("integer") {
            return match self.range() {
                (i64::MIN, _) => "a whole number".to_owned(),
                (min, i64::MAX) => format!("a whole number from {min}"),
                (min, max) => format!("a whole number from {min} to {max}"),
            };
        }
        let kinds = [
            ("string", "text"),
            ("number", "a number"),
            ("boolean", "true or false"),
            ("array", "a list"),
            ("object", "a map"),
        ];
        let kinds: Vec<&str> = kinds.into_iter().filter(|(t, _)| self.has_type(t)).map(|(_, w)| w).collect();
        kinds.join(" or ")
    }

    /// How the value that is there might have been meant.
    fn hint(&self, node: &Node) -> Option<String> {
        match &node.data {
            Data::Int(_) | Data::Number(_) | Data::Bool(_) if self.name == "Text" => {
                Some("put it in quotes".to_owned())
            }
            Data::Null if self.name == "Text" => Some("write \"\" for an empty text".to_owned()),
            Data::Text(t) if self.has_type("integer") && t.parse::<i64>().is_ok() => {
                Some("leave the quotes away".to_owned())
            }
            Data::Text(t) if self.has_type("boolean") => match t.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("write true".to_owned()),
                "no" | "off" | "n" | "false" => Some("write false".to_owned()),
                _ => None,
            },
            Data::Text(t) if self.has_type("array") && t.len() <= 200 => {
                let words: Vec<String> = t.split_whitespace().map(|w| format!("{w:?}")).collect();
                Some(format!("write a list: [{}]", words.join(", ")))
            }
            _ => None,
        }
    }
}

fn expected(forms: &[Form<'_>]) -> String {
    let words: Vec<String> = forms.iter().map(Form::words).filter(|w| !w.is_empty()).collect();
    words.join(" or ")
}

/// A value with its key and place, as [`Text`] and [`super::Native`] read it.
fn placed(raw: Value, path: &str, place: Place) -> Value {
    let [raw_key, key, line, column] = PLACED;
    json!({raw_key: raw, key: path, line: place.line, column: place.column})
}
