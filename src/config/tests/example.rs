//! `fracta.example.yaml` and `assets/fracta.schema.json` say what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::diagnostic::Problem;
use super::super::schema::definition;
use super::super::walk::Walk;
use super::super::{load, yaml};
use super::good;
use crate::config::{Config, Kubernetes, json_schema};
use crate::runtime::Adapters;

fn example() -> String {
    std::fs::read_to_string(file("fracta.example.yaml")).unwrap()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// With every setting live: `#` before something that is no space is taken away.
fn uncommented() -> String {
    let live = |line: &str| {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        match text.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{indent}{setting}"),
            _ => line.to_owned(),
        }
    };
    example().lines().map(|l| live(l) + "\n").collect()
}

/// Every key that the schema knows: its path, with `*` for names and items, and `Type.key`, since a type that
/// several places share need be shown in one of them only. Deprecated keys are left out.
type Keys = BTreeMap<String, String>;

fn schema_keys(root: &Value, schema: &Value, owner: &str, path: &str, out: &mut Keys) {
    let Some(mut object) = schema.as_object() else { return };
    let mut owner = owner;
    if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
        object = definition(root, reference).unwrap();
        owner = reference;
    }
    for alternative in object.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        schema_keys(root, alternative, owner, path, out);
    }
    for (key, schema) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if schema.get("deprecated").is_none() {
            let path = format!("{path}.{key}");
            out.insert(path.clone(), format!("{owner}.{key}"));
            schema_keys(root, schema, owner, &path, out);
        }
    }
    for key in ["additionalProperties", "items"] {
        if let Some(schema) = object.get(key).filter(|s| s.is_object()) {
            schema_keys(root, schema, owner, &format!("{path}.*"), out);
        }
    }
}

/// The path of [`schema_keys`] that a path of a file is an instance of.
fn generalise(path: &str, keys: &Keys) -> Option<String> {
    let mut patterns = vec![String::new()];
    for part in path.replace('[', ".").replace(']', "").split('.') {
        patterns = patterns.iter().flat_map(|p| [format!("{p}.{part}"), format!("{p}.*")]).collect();
        patterns.retain(|p| keys.keys().any(|k| k == p || k.starts_with(&format!("{p}."))));
    }
    patterns.into_iter().find(|p| keys.contains_key(p))
}

#[test]
fn as_it_stands_it_changes_nothing() {
    assert_eq!(good(&example()).config, Config::default());
}

#[test]
fn every_key_is_in_it_and_every_setting_loads() {
    let text = uncommented();
    let loaded = good(&text);
    assert_eq!(loaded.config.runtimes().count(), Adapters::default().names().len());
    let schema = json_schema();
    let mut keys = Keys::new();
    schema_keys(&schema, &schema, "", "", &mut keys);
    assert!(keys.len() > 100, "{}", keys.len());
    let mut walk = Walk::new(&schema);
    walk.root(&yaml::parse(&text, &mut Vec::new()).unwrap());
    let there = walk.spots.keys().filter_map(|path| keys.get(&generalise(path, &keys)?));
    let there: BTreeSet<&String> = there.collect();
    let missing: BTreeSet<&String> = keys.values().filter(|key| !there.contains(key)).collect();
    assert!(missing.is_empty(), "not in fracta.example.yaml: {missing:?}");
}

#[test]
fn defaults_that_it_names_are_true() {
    let text = uncommented();
    let schema = json_schema();
    let mut walk = Walk::new(&schema);
    let tree = yaml::parse(&text, &mut Vec::new()).unwrap();
    let value = walk.root(&tree);
    let mut checked = 0;
    for (number, line) in text.lines().enumerate().filter(|(_, l)| l.ends_with("# default")) {
        let at_line = |s: &super::super::walk::Spot| s.value.line == number + 1;
        // Where a map starts on its first key's line, the key is the longer path.
        let paths = walk.spots.iter().filter(|(_, s)| at_line(s)).map(|(path, _)| path);
        let path = paths.max_by_key(|p| p.len()).unwrap_or_else(|| panic!("{line}"));
        let pointer = format!("/{}", path.replace('.', "/"));
        let mut written = value.pointer(&pointer).unwrap();
        if let Some(raw) = written.get("raw") {
            written = raw;
        }
        assert_eq!(*written, default_of(&schema, path), "{path}");
        checked += 1;
    }
    assert_eq!(checked, example().matches("# default\n").count());
    assert!(checked >= 14, "{checked}");
}

/// The default of a key, from the types.
fn default_of(schema: &Value, path: &str) -> Value {
    match path {
        "runtime.kubernetes.namespace" => return json!(Kubernetes::NAMESPACE),
        "logging.file" => {
            let layout = crate::paths::Layout::new("/r");
            return json!(layout.log_file().strip_prefix("/r").unwrap());
        }
        _ => {}
    }
    let mut at = vec![schema];
    for part in path.split('.') {
        at = at.into_iter().flat_map(|s| resolve(schema, s)).collect();
        at = at
            .into_iter()
            .filter_map(|s| s.get("properties").and_then(|p| p.get(part)).or(s.get("additionalProperties")))
            .collect();
    }
    at.into_iter().find_map(|s| s.get("default")).unwrap_or_else(|| panic!("no default of {path}")).clone()
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return resolve(root, root.pointer(&reference[1..]).unwrap());
    }
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(any) => any.iter().flat_map(|s| resolve(root, s)).collect(),
        None => vec![schema],
    }
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let path = file("assets/fracta.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&json_schema()).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(committed, json_schema(), "regenerate it: UPDATE_SCHEMA=1 cargo nextest run committed_schema");
}

/// Every construct that the schema uses is one that the walk understands.
#[test]
fn the_walk_knows_all_words_of_the_schema() {
    const KNOWN: &[&str] = &[
        "$ref",
        "$defs",
        "$schema",
        "title",
        "description",
        "default",
        "deprecated",
        "format",
        "type",
        "enum",
        "const",
        "oneOf",
        "anyOf",
        "properties",
        "additionalProperties",
        "patternProperties",
        "required",
        "items",
        "minItems",
        "minimum",
        "maximum",
    ];
    fn visit(schema: &Value) {
        let Some(object) = schema.as_object() else { return };
        for (word, value) in object {
            assert!(KNOWN.contains(&word.as_str()), "{word}");
            match word.as_str() {
                "properties" | "$defs" => value.as_object().unwrap().values().for_each(visit),
                "anyOf" | "oneOf" => value.as_array().unwrap().iter().for_each(visit),
                "items" | "additionalProperties" => visit(value),
                "type" if value == "integer" => assert!(object.contains_key("format"), "{object:?}"),
                _ => {}
            }
        }
    }
    visit(&json_schema());
}

#[test]
fn defaults_alone_are_no_problem() {
    let parsed = load::parse("{}", Adapters::default());
    assert!(parsed.is_ok_and(|p| !p.warnings.iter().any(Problem::is_error)));
}
