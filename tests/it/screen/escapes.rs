//! The only bytes that fracta may write to a terminal, as a strict reader.

/// What the reader found that is allowed, but worth knowing.
#[derive(Debug, Default)]
pub struct Found {
    /// Texts for the clipboard (base64), in order.
    pub clipboard: Vec<String>,
    /// Colour or any other attribute was set.
    pub styled: bool,
    /// A colour was set.
    pub coloured: bool,
}

/// Reads all that a screen wrote. Until the alternate screen is left for good: no control character
/// stands outside of the sequences that fracta makes, and no sequence is of any other kind.
pub fn read(raw: &[u8]) -> Result<Found, String> {
    let text = std::str::from_utf8(raw).map_err(|e| format!("not UTF-8: {e}"))?;
    let end = text.rfind("\x1b[?1049l").unwrap_or(text.len());
    let mut found = Found::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        let wrong = |what: &str| {
            let near: String = rest.chars().take(40).collect();
            Err(format!("{what} at byte {at}: {near:?}"))
        };
        if c == '\x1b' {
            let Some(len) = sequence(rest, &mut found) else { return wrong("a sequence") };
            rest = &rest[len..];
            continue;
        }
        // What fracta says when the terminal is given back ends its lines.
        let line_end = at > end && matches!(c, '\r' | '\n');
        if c.is_control() && !line_end {
            return wrong("a control character");
        }
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
        if turns {
            return wrong("a character that turns or breaks the line");
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(found)
}

/// The length of an allowed sequence at the beginning of `s`.
fn sequence(s: &str, found: &mut Found) -> Option<usize> {
    const KEYBOARD: [&str; 2] = ["\x1b[>1u", "\x1b[<1u"];
    if let Some(k) = KEYBOARD.iter().find(|k| s.starts_with(**k)) {
        return Some(k.len());
    }
    if let Some(clip) = s.strip_prefix("\x1b]52;c;") {
        let end = clip.find('\x07')?;
        let code = &clip[..end];
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        if !code.bytes().all(base64) {
            return None;
        }
        found.clipboard.push(code.to_owned());
        return Some(s.len() - clip.len() + end + 1);
    }
    let body = s.strip_prefix("\x1b[")?;
    let end = body.find(|c: char| !(c.is_ascii_digit() || ";:?".contains(c)))?;
    let params = &body[..end];
    let last = body[end..].chars().next()?;
    let allowed = match last {
        'h' | 'l' => ["?2026", "?1049", "?25", "?2004", "?1004"].contains(&params),
        'm' => {
            found.styled |= !matches!(params, "" | "0");
            found.coloured |= colours(params);
            !params.contains('?')
        }
        'A'..='H' | 'J' | 'K' | 'd' => !params.contains('?'),
        _ => false,
    };
    allowed.then_some(2 + end + 1)
}

/// Do the parameters of an SGR set a colour? (39, 49 and 59 set none.)
fn colours(params: &str) -> bool {
    params
        .split([';', ':'])
        .any(|p| matches!(p.parse::<u16>(), Ok(30..=38 | 40..=48 | 58 | 90..=97 | 100..=107)))
}

#[test]
fn the_reader_is_strict() {
    let good =
        "\x1b[?1049h\x1b[?2026h\x1b[2;3Hä\x1b[38;5;1m日\x1b[0m\x1b[K\x1b]52;c;QQ==\x07\x1b[?1049lbye\r\n";
    let found = read(good.as_bytes()).unwrap();
    assert_eq!(found.clipboard, ["QQ=="]);
    assert!(found.coloured && found.styled);
    assert!(!read(b"\x1b[1;39;49m").unwrap().coloured);
    for bad in [
        "\x1b]8;;http://x\x1b\\",
        "\x1b]0;t\x07",
        "\x1bP1$r\x1b\\",
        "\x1bc",
        "\x1b[6n",
        "\x1b[?1000h",
        "\x1b[21t",
        "\x07",
        "a\rb",
        "\t",
        "\u{9b}1m",
        "\u{7f}",
        "\u{202e}",
        "\u{2066}",
        "\x1b]52;c;\x1b\x07",
        "\x1b[2;1r",
        "a\r\n\x1b[?1049l",
    ] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(read(b"\x9b1m").is_err());
}
