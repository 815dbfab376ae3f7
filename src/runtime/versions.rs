//! Which versions of the CLIs fracta was tried with: `assets/clis.txt`, which the tests install from too.

use super::CliInfo;

/// The table, as the tests and their script read it.
pub const TABLE: &str = include_str!("../../assets/clis.txt");

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// The adapter's name.
    pub cli: &'static str,
    pub version: &'static str,
    /// Of npm.
    pub package: &'static str,
    /// What the tests do with it: `main`, `newest`, `older` or `recorded`.
    pub role: &'static str,
}

/// All versions, each CLI's oldest first.
pub fn all() -> impl Iterator<Item = Tried> {
    TABLE.lines().filter(|l| !l.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        let mut word = || words.next();
        Some(Tried { cli: word()?, version: word()?, package: word()?, role: word()? })
    })
}

/// What a person should know about a version that was never tried. None where it lies between the
/// oldest and the newest that were, and for an adapter that has no lines in the table.
pub fn note(adapter: &str, cli: &CliInfo) -> Option<String> {
    let tried: Vec<Tried> = all().filter(|t| t.cli == adapter).collect();
    let (oldest, newest, package) = (tried.first()?.version, tried.last()?.version, tried.last()?.package);
    let range = format!("fracta was tried with {oldest} to {newest}");
    let Some(version) = cli.version.as_deref() else {
        return Some(format!("this {adapter} tells no version; {range}"));
    };
    match numbers(version).as_slice() {
        [] => Some(format!("{adapter} tells a version that cannot be read ({version:?}); {range}")),
        v if v < numbers(oldest).as_slice() => Some(format!(
            "{adapter} {version} is older than any that was tried, and may not work ({range}); \
             npm install -g {package} brings the newest"
        )),
        v if v > numbers(newest).as_slice() => Some(format!(
            "{adapter} {version} is newer than any that was tried ({range}); \
             if something does not work, try npm install -g {package}@{newest}"
        )),
        _ => None,
    }
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map_while(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Adapters, adapter};

    fn noted(cli: &str, version: &str) -> Option<String> {
        let info = CliInfo { version: Some(version.to_owned()), ..CliInfo::default() };
        adapter(cli).unwrap().version_note(&info)
    }

    #[test]
    fn the_table_is_in_order_and_has_what_is_promised() {
        for cli in Adapters::default().names() {
            let rows: Vec<Tried> = all().filter(|t| t.cli == cli).collect();
            assert!(
                rows.windows(2).all(|w| numbers(w[0].version) < numbers(w[1].version)),
                "{cli}: {rows:?}"
            );
            assert_eq!(rows.iter().filter(|t| t.role == "main").count(), 1, "{cli}");
            assert!(rows.iter().filter(|t| t.role == "older").count() >= 2, "{cli}");
            let hint = adapter(cli).unwrap().install_hint();
            assert!(rows.iter().all(|t| hint.ends_with(t.package)), "{cli}: {hint}");
        }
        let roles = ["main", "newest", "older", "recorded"];
        assert!(all().all(|t| adapter(t.cli).is_some() && roles.contains(&t.role)));
    }

    #[test]
    fn versions_that_were_never_tried_are_noted_for_each_cli() {
        for cli in Adapters::default().names() {
            let rows: Vec<Tried> = all().filter(|t| t.cli == cli).collect();
            for row in &rows {
                assert_eq!(noted(cli, row.version), None);
            }
            let (oldest, newest) = (rows[0].version, rows[rows.len() - 1].version);
            let note = noted(cli, "0.0.1").unwrap();
            assert!(note.contains(&format!("{cli} 0.0.1 is older")), "{note}");
            assert!(note.contains(&format!("{oldest} to {newest}")), "{note}");
            let note = noted(cli, "99.0.0-alpha.1").unwrap();
            assert!(note.contains(&format!("{cli} 99.0.0-alpha.1 is newer")), "{note}");
            assert!(noted(cli, "unknown").unwrap().contains("cannot be read"));
            assert!(adapter(cli).unwrap().version_note(&CliInfo::default()).unwrap().contains("no version"));
        }
        // Not by the order of letters, and a version between two that were tried is inside.
        assert_eq!(noted("opencode", "1.2.0"), None);
        assert_eq!(noted("codex", "0.130.0"), None);
        assert!(noted("codex", "0.99.0").unwrap().contains("older"));
        assert_eq!(note("nobody", &CliInfo::default()), None, "an adapter without lines has no range");
    }
}
