//! Whatever a file holds: no panic, no bomb, every place within the file, nothing raw on the terminal.

use proptest::prelude::*;

use super::super::diagnostic::Problem;
use super::super::load::{decode, parse};
use super::errors;
use crate::runtime::Adapters;

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let problems: Vec<Problem> = match decode(bytes.to_vec()) {
        Ok(text) => match parse(&text, Adapters::default()) {
            Ok(parsed) => parsed.warnings,
            Err(all) => {
                prop_assert!(all.iter().any(Problem::is_error), "refused without an error");
                all
            }
        },
        Err(problem) => vec![problem],
    };
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // A lone carriage return ends a line in YAML.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    for p in problems {
        prop_assert!(!p.message.contains("please report"), "{}", p.message);
        if let Some(place) = p.place {
            prop_assert!(
                place.line >= 1 && place.line <= lines.len(),
                "line {} of {}",
                place.line,
                lines.len()
            );
            let width = lines[place.line - 1].chars().count();
            prop_assert!(
                place.column >= 1 && place.column <= width + 1,
                "column {} of {width}",
                place.column
            );
        }
        let shown = p.into_diagnostic(std::path::Path::new("f")).to_string();
        prop_assert!(!shown.contains(char::is_control), "{shown:?}");
    }
    Ok(())
}

/// Pieces that fracta.yaml is made of, and pieces that break it.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "agents",
        "agent_runtimes",
        "claude",
        "codex",
        "adapter",
        "command",
        "model",
        "env",
        "auth",
        "credentials",
        "profiles",
        "auth_origins",
        "type",
        "runtime",
        "kubernetes",
        "tolerations",
        "ui",
        "keys",
        "notify",
        "mouse",
        "mcp_servers",
        "url",
        "runtimes",
        "hosts",
        "default_runtime",
        "x-a",
        "resources",
        "limits",
        "true",
        "null",
        "~",
        "1",
        "-3",
        "1e9",
        ".inf",
        "0x1F",
        "0o7",
        "${A}",
        "${",
        "$${",
        "<<",
        "&a ",
        "*a",
        "!t ",
        "!!str ",
        "? ",
        "- ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "#",
        "'",
        "\"",
        "|\n",
        ">-\n",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\t",
        "\r",
        "\u{1b}[2J",
        "\u{85}",
        "\u{2028}",
        "é",
        "\u{0}",
    ];
    prop_oneof![
        4 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        3 => Just(": ".to_owned()),
        3 => (0usize..8).prop_map(|n| format!("\n{}", " ".repeat(n))),
        1 => ".{0,4}",
    ]
}

/// Well-formed flow YAML out of known keys, so that the walk gets deep.
fn tree() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("'${A:-b}'".to_owned()),
        Just("claude".to_owned()),
        Just("command_output".to_owned()),
        Just("2.5".to_owned()),
        Just("http://h".to_owned()),
    ];
    let keys = [
        "agents",
        "agent_runtimes",
        "claude",
        "command",
        "model",
        "model_tiers",
        "heavy",
        "env",
        "auth_binding",
        "type",
        "auth",
        "credentials",
        "profiles",
        "auth_origins",
        "request",
        "url",
        "headers",
        "runtime",
        "kubernetes",
        "tolerations",
        "resources",
        "limits",
        "workspace",
        "git",
        "ui",
        "keys",
        "notify",
        "mcp_servers",
        "name",
        "secret_ref",
        "key",
        "valueFrom",
        "x-a",
        "hosts",
        "runtimes",
        "project",
        "allowed_tools",
        "assertions",
        "require_env",
        "default_binding",
        "max_running",
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(", "))),
            4 => prop::collection::btree_map(prop::sample::select(keys.to_vec()), inner, 0..5).prop_map(|m| {
                let all: Vec<String> = m.into_iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", all.join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes)?;
    }

    #[test]
    fn any_text_like_yaml(pieces in prop::collection::vec(piece(), 0..60)) {
        check(pieces.concat().as_bytes())?;
    }

    #[test]
    fn any_tree_of_known_keys(text in tree()) {
        check(text.as_bytes())?;
    }
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "x-a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n".to_owned();
    for i in 1..30 {
        let alias = format!("*a{}, ", i - 1).repeat(9);
        text.push_str(&format!("x-a{i}: &a{i} [{alias}]\n"));
    }
    assert!(errors(&text)[0].contains("more than 20000 values, counting each alias"), "{:?}", errors(&text));

    let mut merges = "x-b0: &b0 {a: 1, b: 2}\n".to_owned();
    for i in 1..300 {
        merges.push_str(&format!("x-b{i}: &b{i} {{<<: *b{}, k{i}: 1}}\n", i - 1));
    }
    assert!(errors(&merges)[0].contains("more than 20000 values"));
}

#[test]
fn depth_is_bounded() {
    for (open, close, column) in [("[", "]", 53), ("{a: ", "}", 194)] {
        let text = format!("x-a: {}1{}", open.repeat(200), close.repeat(200));
        let want = format!("fracta.yaml:1:{column}: error: nested deeper than 48 levels");
        assert_eq!(errors(&text), [want]);
    }
    let aliases = format!(
        "x-a: &a {}1{}\nx-b: &b {}*a{}\n",
        "[".repeat(40),
        "]".repeat(40),
        "[".repeat(40),
        "]".repeat(40)
    );
    assert!(errors(&aliases)[0].contains("nested deeper than 48 levels"));
    let block: String = (0..100).map(|i| format!("{}x-a:\n", " ".repeat(i))).collect();
    assert!(errors(&block)[0].contains("nested deeper than 48 levels"));
}

#[test]
fn errors_are_bounded_in_number_and_length() {
    let many: String = (0..5000).map(|i| format!("k{i}: 1\n")).collect();
    let all = errors(&many);
    assert_eq!(all.len(), 101);
    assert_eq!(all[100], "fracta.yaml: error: 4900 more problems are not shown");
    let long = format!("ui: {{notify: \"{}\"}}\n{}: 1\n", "a".repeat(100_000), "b".repeat(1000));
    assert!(errors(&long).iter().all(|line| line.len() < 400));
}

#[test]
fn what_is_shown_is_harmless() {
    let all =
        errors("\"\\e[2J\": 1\nui: {notify: \"\\e]0;x\\a\"}\nagents: {default_runtime: \"a\\u202eb\"}\n");
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|l| !l.contains(['\u{1b}', '\u{7}', '\u{202e}'])), "{all:?}");
    assert!(all[0].contains("\"\\u{1b}[2J\": unknown key"), "{}", all[0]);
}
