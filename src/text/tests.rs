use proptest::prelude::*;

use super::*;

/// What must never reach a terminal.
fn forbidden(c: char, newlines: bool) -> bool {
    (c.is_control() && !(newlines && c == '\n')) || is_attack(c) || is_invisible(c)
}

#[track_caller]
fn assert_harmless(text: &str, newlines: bool) {
    if let Some(c) = text.chars().find(|c| forbidden(*c, newlines)) {
        panic!("{:04X} in {text:?}", u32::from(c));
    }
}

#[test]
fn plain_text_is_borrowed() {
    for text in ["", "plain", "grüße, 世界 👩‍👩‍👧 ❤️ 1️⃣ é e\u{301} میخواهم"]
    {
        assert!(matches!(line(text), Cow::Borrowed(_)), "{text}");
        assert!(matches!(exact(text), Cow::Borrowed(_)), "{text}");
        assert!(is_clean(text));
    }
    let long = "0123456789 the quick brown fox\n".repeat(100);
    assert!(matches!(block(&long), Cow::Borrowed(_)));
    assert!(!is_clean(&long));
}

#[test]
fn whole_sequences_are_dropped() {
    for sequence in [
        "\x1b[31m",
        "\x1b[0;38;5;1m",
        "\x1b[?1049h",
        "\x1b[2 q",
        "\u{9b}2J",
        "\x1b]0;title\x07",
        "\x1b]52;c;aGk=\x1b\\",
        "\u{9d}52;c;aGk=\u{9c}",
        "\x1bPq#0\x1b\\",
        "\u{90}x\u{9c}",
        "\x1b_G\x1b\\",
        "\x1b^pm\x1b\\",
        "\x1bXsos\x1b\\",
        "\x1bc",
        "\x1b(0",
        "\x1b#8",
    ] {
        assert_eq!(line(&format!("a{sequence}b")), "ab", "{sequence:?}");
        assert_eq!(block(&format!("{sequence}b")), "b", "{sequence:?}");
    }
    assert_eq!(line("\x1b]8;;http://x\x07link\x1b]8;;\x07"), "link");
}

#[test]
fn broken_sequences_are_shown_and_hide_nothing() {
    assert_eq!(line("a\x1b"), "a␛");
    assert_eq!(line("a\x1b[31"), "a␛[31");
    assert_eq!(line("\x1b]0;rm -rf ~"), "␛]0;rm -rf ~");
    assert_eq!(line("\x1b]0;x\x1b[31mred"), "␛]0;xred");
    assert_eq!(line("\x1b[3é"), "␛[3é");
    assert_eq!(line("\u{9b}"), "⟨U+009B⟩");
    assert_eq!(line("\x1b]a\x18b\x07"), "␛]a␘b␇");
}

#[test]
fn exact_drops_nothing() {
    assert_eq!(exact("ls \x1b];rm -rf ~\x07"), "ls ␛];rm -rf ~␇");
    assert_eq!(exact("a\u{200b}b\r\nc"), "a⟨U+200B⟩b␍\nc");
    assert_eq!(exact("safe \rrm"), "safe ␍rm");
    assert_eq!(exact("rm x\x08\x08\x08ls"), "rm x␈␈␈ls");
    assert_eq!(exact_line("a\nb\u{e0041}"), "a␊b⟨U+E0041⟩");
}

#[test]
fn line_breaks_tabs_and_overstrike() {
    assert_eq!(block("a\r\nb\rc\n"), "a\nb\nc\n");
    assert_eq!(line("a\r\nb"), "a␍␊b");
    assert_eq!(block("a\tb\n\tc\n世\td"), "a   b\n    c\n世  d");
    assert_eq!(block("N\x08NA\x08A _\x08x"), "NA x");
    assert_eq!(block("ab\x08c\x08"), "ab␈c␈");
}

#[test]
fn attacks_are_visible_and_the_invisible_goes() {
    assert_eq!(line("a\u{202e}b\u{2066}c"), "a⟨U+202E⟩b⟨U+2066⟩c");
    assert_eq!(block("a\u{2028}b\u{fffe}\u{fffa}"), "a⟨U+2028⟩b⟨U+FFFE⟩⟨U+FFFA⟩");
    assert_eq!(line("a\u{200b}\u{feff}\u{ad}\u{e0041}\u{2060}b"), "ab");
    assert_eq!(line("a\u{200d}b\u{fe0f}\u{e0101}"), "ab");
    assert_eq!(line("☺\u{fe0f}\u{fe0f}"), "☺\u{fe0f}");
}

#[test]
fn marks_are_bounded_and_have_a_base() {
    let zalgo = format!("a{}b", "\u{301}".repeat(50));
    assert_eq!(line(&zalgo), format!("a{}b", "\u{301}".repeat(8)));
    assert_eq!(block("\u{301}x\n\u{301}"), "◌\u{301}x\n◌\u{301}");
    let chain = "👩\u{200d}".repeat(50);
    assert_eq!(line(&chain).matches('\u{200d}').count(), 44);
}

#[test]
fn a_stream_holds_what_is_split() {
    let mut s = Stream::default();
    assert_eq!(s.push("a\x1b[3"), "a");
    assert_eq!(s.push("1mb\r"), "b");
    assert_eq!(s.push("\nc\x1b]0;"), "\nc");
    assert_eq!(s.finish(), "␛]0;");
    let mut s = Stream::default();
    s.push("\x1b]");
    let mut shown = 0;
    for _ in 0..100 {
        shown += s.push(&"x".repeat(100)).len();
        assert!(s.held.len() <= MAX_HELD);
    }
    assert!(shown > 5000, "an unfinished sequence must not swallow the text: {shown}");
}

#[test]
fn summaries() {
    assert_eq!(summary("one\n two\tthree", 40), "one two three");
    assert_eq!(summary("one two three", 8), "one two…");
    assert_eq!(summary("one two", 7), "one two");
    assert_eq!(summary("abcdef", 3), "ab…");
    assert_eq!(summary("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", 2), "👩‍👩‍👧…");
    assert_eq!(summary("", 3), "");
    let long = "word ".repeat(10_000);
    assert!(summary(&long, 10).chars().count() <= 10);
}

/// Text rich in what is dangerous.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\x1b[".to_owned()),
        Just("\x1b]".to_owned()),
        Just("\x1b\\".to_owned()),
        Just("\x07".to_owned()),
        Just("\r".to_owned()),
        Just("\n".to_owned()),
        Just("\t".to_owned()),
        Just("\x08".to_owned()),
        Just("\u{9b}".to_owned()),
        Just("\u{9d}".to_owned()),
        Just("\u{9c}".to_owned()),
        Just("\u{200d}".to_owned()),
        Just("\u{fe0f}".to_owned()),
        Just("👩".to_owned()),
        Just("\u{301}".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("\u{e0041}".to_owned()),
        Just("\u{e0101}".to_owned()),
        Just("क".to_owned()),
        Just("世".to_owned()),
        Just("a".to_owned()),
        Just("_".to_owned()),
        Just("31m".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|v| v.concat())
}

#[test]
fn a_mark_after_a_streamed_line_break_has_no_base() {
    let mut s = Stream::default();
    assert_eq!(s.push("x\n") + &s.push("\u{301}") + &s.finish(), block("x\n\u{301}"));
}

proptest! {
    #[test]
    fn output_is_harmless(text in prop_oneof![hostile(), any::<String>()]) {
        assert_harmless(&line(&text), false);
        assert_harmless(&block(&text), true);
        assert_harmless(&exact(&text), true);
        assert_harmless(&exact_line(&text), false);
        assert_harmless(&summary(&text, 20), false);
    }

    #[test]
    fn cleaning_twice_is_cleaning_once(text in hostile()) {
        for f in [line, block, exact, exact_line] {
            let once = f(&text).into_owned();
            let twice = f(&once);
            prop_assert_eq!(&once, &twice);
        }
        prop_assert!(is_clean(&line(&text)));
    }

    #[test]
    fn bytes_become_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_harmless(&clean_bytes(&bytes), true);
    }

    #[test]
    fn printable_ascii_is_untouched(text in "[ -~]{0,200}") {
        prop_assert!(matches!(line(&text), Cow::Borrowed(t) if t == text));
    }

    #[test]
    fn a_stream_says_what_the_whole_says(text in hostile(), cuts in prop::collection::vec(0usize..40, 0..6)) {
        let text = text.replace('_', "x");
        let chars: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(chars.len())).collect();
        cuts.push(chars.len());
        cuts.sort_unstable();
        let (mut s, mut out, mut from) = (Stream::default(), String::new(), 0);
        for cut in cuts {
            out += &s.push(&chars[from..cut].iter().collect::<String>());
            from = cut;
        }
        out += &s.finish();
        prop_assert_eq!(out, block(&text));
    }
}
