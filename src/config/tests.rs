//! The rules of fracta.yaml, one by one.

mod auth;
mod example;
mod finding;
mod hostile;
mod rules;

use std::ffi::OsStr;
use std::path::Path;

use super::diagnostic::{Diagnostic, LoadError, Severity};
use super::load::{self, Loaded};
use crate::runtime::Adapters;

/// With fracta's own adapters.
fn load_with(file: Option<&Path>, cwd: &Path, path: Option<&OsStr>) -> Result<Loaded, LoadError> {
    load::load_with(file, cwd, path, Adapters::default())
}

/// Loads a text as `/…/fracta.yaml`, with nothing on PATH. Findings come without the folder.
fn load(text: &str) -> Result<(Loaded, Vec<String>), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("fracta.yaml"), text).unwrap();
    let shown = |all: Vec<Diagnostic>| -> Vec<String> {
        let prefix = format!("{}/", dir.path().display());
        all.iter().map(|d| d.to_string().replace(&prefix, "")).collect()
    };
    match load_with(None, dir.path(), None) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|d| d.severity == Severity::Warning));
            let warnings = shown(loaded.warnings.clone());
            Ok((loaded, warnings))
        }
        Err(e) => {
            assert!(e.diagnostics.iter().any(|d| d.severity == Severity::Error));
            Err(shown(e.diagnostics))
        }
    }
}

/// The errors (and warnings) of a text that must have some.
fn errors(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => panic!("no error in:\n{text}"),
        Err(all) => all,
    }
}

fn good(text: &str) -> Loaded {
    match load(text) {
        Ok((loaded, warnings)) => {
            assert_eq!(warnings, Vec::<String>::new());
            loaded
        }
        Err(all) => panic!("{}\nin:\n{text}", all.join("\n")),
    }
}
