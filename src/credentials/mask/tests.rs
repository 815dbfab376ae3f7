use super::*;
use crate::event::{Body, Fact, Role};

const KEY: &str = "sk-abcdef0123456789";

fn mask(values: &[&str]) -> Mask {
    let known: Vec<_> =
        values.iter().enumerate().map(|(i, v)| (format!("k{i}"), SecretString::from(*v))).collect();
    Mask::new(&known).unwrap().0
}

/// The same after a restart: from what was written down.
fn reloaded(mask: &Mask) -> Mask {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.json");
    std::fs::write(&path, mask.to_json()).unwrap();
    Mask::load(&path)
}

#[test]
fn values_are_replaced_by_their_names_wherever_they_are() {
    let m = mask(&[KEY, "other-value"]);
    for m in [reloaded(&m), m] {
        assert_eq!(
            m.text(&format!("{KEY} é{KEY}{KEY}x other-value")).unwrap(),
            "[secret k0] é[secret k0][secret k0]x [secret k1]"
        );
        assert_eq!(m.text("nothing here, sk-abcdef012345678 neither"), None);
        assert_eq!(m.text(""), None);
    }
}

#[test]
fn of_values_over_one_another_nothing_is_left() {
    let m = mask(&["abcdefgh-ijklmnop", "ijklmnop-qrstuvwx", "bcdefgh-"]);
    assert_eq!(m.text("<abcdefgh-ijklmnop-qrstuvwx>").unwrap(), "<[secret k0]>");
}

#[test]
fn nothing_of_a_value_is_written_down() {
    let json = mask(&[KEY]).to_json();
    assert!(!json.contains("sk-") && !json.contains("abcdef"), "{json}");
    assert_ne!(json, mask(&[KEY]).to_json(), "salted");
}

#[test]
fn short_values_are_told_and_not_masked() {
    let (m, short) = Mask::new(&[("pin".to_owned(), "1234567".into())]).unwrap();
    assert!(m.is_empty());
    assert_eq!(short, ["pin"]);
}

#[test]
fn quotes_and_lines_are_known_in_json_and_one_by_one() {
    let m = mask(&["a\"b\\c-12345", "first-line-of-a-key\nsecond-line-of-a-key"]);
    let raw = serde_json::json!({"x": "a\"b\\c-12345"}).to_string();
    assert_eq!(m.text(&raw).unwrap(), r#"{"x":"[secret k0]"}"#);
    assert_eq!(m.text("> second-line-of-a-key").unwrap(), "> [secret k1]");
}

fn delta(item: &str, text: &str) -> Fact {
    Fact::from(Body::MessageDelta { item: item.to_owned(), role: Role::Assistant, text: text.to_owned() })
}

/// What is shown of a stream that comes in these pieces.
fn stream(m: &mut Mask, pieces: &[&str]) -> Vec<String> {
    let mut shown = Vec::new();
    for piece in pieces {
        let mut fact = delta("i", piece);
        m.fact(&mut fact);
        let Body::MessageDelta { text, .. } = fact.body else { panic!() };
        shown.push(text);
    }
    shown
}

#[test]
fn a_value_cut_in_pieces_is_found() {
    for at in 1..KEY.len() {
        let (a, b) = KEY.split_at(at);
        let (first, second) = (format!("it is {a}"), format!("{b}, you see"));
        let mut m = mask(&[KEY]);
        let mut after = reloaded(&m);
        for m in [&mut m, &mut after] {
            let shown = stream(m, &[&first, &second]);
            assert_eq!(shown[0], "it is ", "{at}");
            assert!(shown.concat().starts_with("it is [secret k0], you "), "{at}: {shown:?}");
        }
    }
    let letters: Vec<String> = format!("<{KEY}>").chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(stream(&mut mask(&[KEY]), &letters).concat(), "<[secret k0]>");
}

#[test]
fn the_end_of_a_value_that_could_begin_one_again_does_not_uncover_it() {
    // Each ends as it begins, so that its end looks like the beginning of the next.
    for value in ["sk-abcdefghijks", "abcX-abcX-abc", "aabaabaabaa"] {
        let text = format!("it is {value} {value}{value}, you see.");
        let whole = mask(&[value]).text(&text).unwrap();
        for at in 0..text.len() {
            for width in [1, 2, 5, value.len()] {
                let end = (at + width).min(text.len());
                let shown = stream(&mut mask(&[value]), &[&text[..at], &text[at..end], &text[end..]]);
                assert_eq!(shown.concat(), whole, "{value} cut at {at} and {end}");
            }
        }
    }
    // Nor does a word that goes on behind a value with a blank, where the values are not in memory.
    let mut after = reloaded(&mask(&["open sesame"]));
    assert_eq!(stream(&mut after, &["open sesamebar", " yes"]).concat(), "[secret k0]bar ");
    // What is held back stays bounded, also where a value lies over itself again and again.
    let mut m = mask(&["aaaaaaaa"]);
    assert!(
        !stream(&mut m, &["a".repeat(200).as_str()]).concat().contains('a'.to_string().repeat(8).as_str())
    );
    assert!(m.held.values().all(|h| h.len() <= 32), "{:?}", m.held);
}

#[test]
fn text_that_is_no_beginning_is_not_held_back() {
    let pieces = ["one s", "k", "-", "zz two", " three"];
    assert_eq!(stream(&mut mask(&[KEY]), &pieces), ["one ", "", "", "sk-zz two", " three"]);
    // Without the values the last word waits, and no more than a value is long.
    let mut after = reloaded(&mask(&[KEY]));
    let long = "x".repeat(100);
    let shown = stream(&mut after, &["one tw", "o three", &long]);
    assert_eq!(shown[..2], ["one ", "two "]);
    assert_eq!(shown[2].len(), "three".len() + 100 - (KEY.len() - 1));
}

#[test]
fn streams_do_not_mix_and_the_completed_text_is_whole() {
    let mut m = mask(&[KEY]);
    let (a, b) = KEY.split_at(5);
    let mut one = delta("1", a);
    let mut two = delta("2", b);
    m.fact(&mut one);
    m.fact(&mut two);
    assert_eq!((one, two), (delta("1", ""), delta("2", b)), "the end of another item is no continuation");
    let text = format!("x {KEY}");
    let mut done = Fact::from(Body::MessageCompleted { item: "1".into(), role: Role::Assistant, text });
    m.fact(&mut done);
    let Body::MessageCompleted { text, .. } = done.body else { panic!() };
    assert_eq!(text, "x [secret k0]");
    assert!(m.held.is_empty());
    for i in 0..1000 {
        m.fact(&mut delta(&format!("s{i}"), a));
    }
    assert_eq!(m.held.len(), STREAMS, "bounded");
}

#[test]
fn values_inside_of_tools_and_approvals_are_found() {
    let mut m = mask(&[KEY]);
    let secret = || serde_json::json!({KEY: ["a", {"b": format!("-{KEY}-")}], "n": 1});
    let mut fact = Fact::from(Body::ToolCompleted {
        item: "i".into(),
        name: "t".into(),
        input: secret(),
        output: secret(),
        error: Some(KEY.to_owned()),
    });
    m.fact(&mut fact);
    let shown = format!("{fact:?}");
    assert!(!shown.contains(KEY) && shown.matches("[secret k0]").count() == 5, "{shown}");
}

#[test]
fn every_kind_of_event_is_masked() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    runner
        .run(&crate::event::arbitrary::body(), |body| {
            // Every text of any event gets the value.
            let mut value = serde_json::to_value(&body).unwrap();
            plant(&mut value, "");
            let Ok(planted) = serde_json::from_value::<Body>(value) else { return Ok(()) };
            let mut m = mask(&[KEY]);
            let mut fact = Fact::from(planted);
            m.fact(&mut fact);
            let shown = serde_json::to_string(&fact.body).unwrap();
            prop_assert!(!shown.contains(KEY), "{}", shown);
            Ok(())
        })
        .unwrap();
}

/// Puts the value into every text but names and ids, which are the runtime's or fracta's own.
fn plant(value: &mut serde_json::Value, key: &str) {
    use serde_json::Value;
    const NAMES: [&str; 14] = [
        "kind",
        "item",
        "role",
        "outcome",
        "change",
        "status",
        "delivery",
        "state",
        "approval",
        "decision",
        "by",
        "runtime",
        "resume_token",
        "name",
    ];
    match value {
        Value::String(text) if !NAMES.contains(&key) => text.push_str(KEY),
        Value::Array(items) => items.iter_mut().for_each(|v| plant(v, key)),
        Value::Object(map) => map.iter_mut().for_each(|(k, v)| plant(v, k)),
        _ => {}
    }
}
