//! Writing one line of text into the screen. Every text that is not ours passes through here, and so
//! through [`fracta::text::line`] (law 2).

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Writes `text` at column `x` of the first row of `area`, cut at its edge. Returns the column after it.
pub fn put(buf: &mut Buffer, area: Rect, x: u16, text: &str, style: Style) -> u16 {
    put_at(buf, area, x, 0, text, style)
}

/// As [`put`], in row `y` of `area`.
pub fn put_at(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(buf.area);
    if x >= area.width || y >= area.height {
        return x;
    }
    let room = usize::from(area.width - x);
    let text = fracta::text::line(text);
    let (end, _) = buf.set_stringn(area.x + x, area.y + y, text, room, style);
    end - area.x
}

/// Writes `text` so that it ends `margin` columns left of the right edge.
pub fn put_right(buf: &mut Buffer, area: Rect, margin: u16, text: &str, style: Style) {
    let w = u16::try_from(width(text)).unwrap_or(u16::MAX);
    let x = area.width.saturating_sub(margin).saturating_sub(w);
    put(buf, area, x, text, style);
}

/// Columns of a text on the screen.
pub fn width(text: &str) -> usize {
    fracta::text::line(text).width()
}

/// The text cut to `room` columns, with `…` where something is left out.
pub fn fit(text: &str, room: usize) -> String {
    let text = fracta::text::line(text);
    if text.width() <= room {
        return text.into_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for g in text.graphemes(true) {
        let w = g.width();
        if used + w + 1 > room {
            break;
        }
        used += w;
        out.push_str(g);
    }
    if room > 0 {
        out.push('…');
    }
    out
}

/// How many bytes of `head` to leave out so that its end fits into `room` columns.
pub fn skip_for(head: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, g) in head.grapheme_indices(true).rev() {
        used += g.width();
        if used > room {
            return at + g.len();
        }
    }
    0
}

/// A text broken into rows of `room` columns at spaces, where there are any.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut rows = Vec::new();
    for part in fracta::text::block(text).lines() {
        let mut row = String::new();
        let mut used = 0;
        for word in part.split_word_bounds() {
            let w = word.width();
            if used + w > room && used > 0 {
                rows.push(std::mem::take(&mut row).trim_end().to_owned());
                used = 0;
                if word.trim().is_empty() {
                    continue;
                }
            }
            if w > room {
                for g in word.graphemes(true) {
                    if used + g.width() > room {
                        rows.push(std::mem::take(&mut row));
                        used = 0;
                    }
                    row.push_str(g);
                    used += g.width();
                }
            } else {
                row.push_str(word);
                used += w;
            }
        }
        rows.push(row);
    }
    rows
}

/// A command without the shell that some runtimes put around it (`/bin/bash -lc '…'`), for rows that
/// have no room for it. What is no such wrapper, or ends before its quote does, stays as it is but for
/// the quote that is missing; who decides on a command finds it whole in its card.
pub fn unwrapped(command: &str) -> Cow<'_, str> {
    let inner = || {
        let (shell, rest) = command.split_once(' ')?;
        let name = shell.rsplit('/').next()?;
        let (flag, script) = rest.split_once(' ')?;
        if !matches!(name, "sh" | "bash" | "zsh" | "dash") || !matches!(flag, "-c" | "-lc") {
            return None;
        }
        unquoted(script)
    };
    inner().map_or(Cow::Borrowed(command), Cow::Owned)
}

/// One word as a shell reads it; none where there is a second one. A quote may be left open by a cut.
fn unquoted(word: &str) -> Option<String> {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '\\') => out.extend(chars.next()),
            (Some('"'), '\\') if chars.peek().is_some_and(|n| "\"\\$`".contains(*n)) => {
                out.extend(chars.next())
            }
            (None, c) if c.is_whitespace() => return None,
            (_, c) => out.push(c),
        }
    }
    (!out.trim().is_empty()).then_some(out)
}

/// Steps of a turn against their limit, as a bar and in figures. 0: no limit.
pub fn gauge(n: u32, limit: u32) -> String {
    const CELLS: u32 = 5;
    if limit == 0 {
        return format!("step {n}");
    }
    // The last cell fills with the last step only.
    let full = if n >= limit { CELLS } else { (n.saturating_mul(CELLS) / limit).min(CELLS - 1) };
    let bar: String = (0..CELLS).map(|i| if i < full { '▰' } else { '▱' }).collect();
    format!("{bar} {n}/{limit}")
}

/// A number of tokens in at most five columns.
pub fn tokens(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..100_000 => format!("{}.{}k", n / 1_000, n % 1_000 / 100),
        100_000..1_000_000 => format!("{}k", n / 1_000),
        1_000_000..100_000_000 => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitting_counts_columns_not_characters() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("x", 0), "");
    }

    #[test]
    fn a_shell_around_a_command_is_left_out() {
        for (whole, bare) in [
            ("/bin/bash -lc 'git tag v0.2.0'", "git tag v0.2.0"),
            ("bash -lc \"grep '^pub' \\\"a b\\\" \\$x\"", "grep '^pub' \"a b\" $x"),
            ("/bin/bash -lc 'touch \"$(printf '\"'na')\\\"; ls\"", "touch \"$(printf 'na')\"; ls"),
            ("/bin/zsh -c ls", "ls"),
            ("/bin/bash -lc 'cut off here", "cut off here"),
        ] {
            assert_eq!(unwrapped(whole), bare);
        }
        // No wrapper, more than a script, nothing in it: all of it is shown.
        for whole in
            ["ls -l", "/bin/bash -lc 'a' b", "/bin/bash -x 'a'", "mybash -lc 'a'", "sh -c ''", "bash", ""]
        {
            assert_eq!(unwrapped(whole), whole);
        }
    }

    #[test]
    fn wrapping_keeps_every_word() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\nb", 9), ["a", "b"]);
    }

    #[test]
    fn the_gauge_is_full_at_the_limit_only() {
        for (n, limit, bar) in [
            (0, 20, "▱▱▱▱▱ 0/20"),
            (5, 20, "▰▱▱▱▱ 5/20"),
            (19, 20, "▰▰▰▰▱ 19/20"),
            (21, 20, "▰▰▰▰▰ 21/20"),
            (3, 0, "step 3"),
        ] {
            assert_eq!(gauge(n, limit), bar);
        }
    }

    #[test]
    fn tokens_stay_narrow() {
        for (n, s) in [(0, "0"), (999, "999"), (12_345, "12.3k"), (456_789, "456k"), (3_210_000, "3.2M")] {
            assert_eq!(tokens(n), s);
        }
    }

    #[test]
    fn a_long_line_scrolls_to_its_end() {
        assert_eq!(skip_for("abcdef", 3), 3);
        assert_eq!(skip_for("日本", 3), 3);
        assert_eq!(skip_for("ab", 3), 0);
    }
}
