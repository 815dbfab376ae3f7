use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::arbitrary;

fn encoded(event: &Event) -> String {
    let mut out = Vec::new();
    line(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn sample(body: Body) -> Event {
    Event {
        seq: 12,
        ts: "2026-11-22T09:00:00.123Z".parse().unwrap(),
        agent: "a".into(),
        session: "s1".into(),
        turn: Some("t".into()),
        raw: Some(345),
        body,
    }
}

proptest! {
    #[test]
    fn every_event_reads_back_as_it_was(event in arbitrary::event()) {
        let text = encoded(&event);
        prop_assert_eq!(parse(text.as_bytes()).unwrap(), event.clone());
        prop_assert_eq!(parse(text.trim_end().as_bytes()).unwrap(), event.clone());
        // The plain way, as other programs read it.
        prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn lines_are_harmless(event in arbitrary::event()) {
        let text = encoded(&event);
        let inner = text.strip_suffix('\n').unwrap();
        prop_assert!(!inner.chars().any(|c| c.is_control() || hidden(c)), "{:?}", inner);
        prop_assert!(is_clean(inner.as_bytes()));
        prop_assert_eq!(seq_of(inner.as_bytes()), Some(event.seq));
        let kind = serde_json::from_str::<Value>(inner).unwrap()["kind"].as_str().unwrap().to_owned();
        prop_assert!(is_known(&kind), "{}", kind);
    }

    #[test]
    fn times_are_written_as_jiff_writes_them(ms in -62_167_219_200_000i64..253_402_207_200_000) {
        let ts = Timestamp::from_millisecond(ms).unwrap();
        let mut out = Vec::new();
        time(ts, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{ts:.3}"));
    }

    #[test]
    fn junk_is_an_error_and_not_a_panic(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse(&junk).is_err());
        let _ = (seq_of(&junk), is_clean(&junk));
    }
}

#[test]
fn the_line_is_as_the_design_says() {
    let body =
        Body::MessageDelta { item: "m".into(), role: crate::event::Role::Assistant, text: "hi\n".into() };
    assert_eq!(
        encoded(&sample(body)),
        "{\"seq\":12,\"ts\":\"2026-11-22T09:00:00.123Z\",\"agent\":\"a\",\"session\":\"s1\",\"turn\":\"t\",\
         \"raw\":345,\"kind\":\"message.delta\",\"item\":\"m\",\"role\":\"assistant\",\"text\":\"hi\\n\"}\n"
    );
}

#[test]
fn what_steers_a_terminal_is_escaped_and_the_rest_is_not() {
    let text =
        "\x1b[31m\x7f\u{9b}m\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}ü漢😀";
    let line = encoded(&sample(Body::Warning { text: text.into() }));
    let shown = "\\u001b[31m\\u007f\\u009bm\\u00ad\\u061c\\u200b\\u200f\\u2028\\u202e\\u2066\\ufeff\\udb40\\udc41ü漢😀";
    assert!(line.contains(shown), "{line}");
}

#[test]
fn keys_and_names_are_escaped_too() {
    let mut event = sample(Body::ToolStarted {
        item: "i".into(),
        name: "n".into(),
        input: serde_json::json!({ "k\u{202e}": 1 }),
    });
    event.agent = "a\u{7f}".into();
    let line = encoded(&event);
    assert!(line.contains("k\\u202e") && line.contains("a\\u007f"), "{line}");
}

#[test]
fn a_kind_from_the_future_is_kept_as_raw() {
    let line = b"{\"seq\":7,\"ts\":\"2026-11-22T09:00:00.123Z\",\"agent\":\"a\",\"session\":\"s\",\"kind\":\"dream\",\"x\":1}\n";
    let event = parse(line).unwrap();
    assert_eq!(event.seq, 7);
    let text = String::from_utf8(line.trim_ascii_end().to_vec()).unwrap();
    assert_eq!(event.body, Body::Raw { text });
    let wrong = b"{\"seq\":7,\"ts\":\"2026-11-22T09:00:00.123Z\",\"agent\":\"a\",\"session\":\"s\",\"kind\":\"step\",\"n\":-1}";
    assert!(parse(wrong).is_err(), "a known kind with wrong fields is no event");
}

#[test]
fn times_are_cut_to_the_millisecond() {
    let ts: Timestamp = "2026-11-22T09:00:00.123987654Z".parse().unwrap();
    assert_eq!(millis(ts).to_string(), "2026-11-22T09:00:00.123Z");
    let event = Event { ts, ..sample(Body::TurnStarted {}) };
    assert_eq!(parse(encoded(&event).as_bytes()).unwrap().ts, millis(ts));
}

#[test]
fn damaged_starts_have_no_number() {
    for bad in
        ["", "{\"seq\":", "{\"seq\":,", "{\"seq\":12}", "{\"seq\":99999999999999999999,", "{\"seq\":-1,"]
    {
        assert_eq!(seq_of(bad.as_bytes()), None, "{bad}");
    }
}
