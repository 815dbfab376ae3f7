//! Lines of a unified diff.

use super::wrap::{Line, Tone};

/// A line of a diff, coloured by its first character.
pub fn line(text: &str) -> Line {
    let text = text.trim_end_matches('\n');
    let tone = if text.starts_with("+++") || text.starts_with("---") {
        Tone::Dim
    } else if text.starts_with('+') {
        Tone::Added
    } else if text.starts_with('-') {
        Tone::Removed
    } else if text.starts_with("@@") {
        Tone::Hunk
    } else {
        Tone::Text
    };
    Line::new(tone, text).hard()
}

/// Lines added and removed.
pub fn counts(diff: &str) -> (usize, usize) {
    let is = |l: &&str, c: char, head: &str| l.starts_with(c) && !l.starts_with(head);
    let count = |c, head| diff.lines().filter(|l| is(l, c, head)).count();
    (count('+', "+++"), count('-', "---"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_colours() {
        let diff = "--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-old\n+new\n+more\n same\n";
        assert_eq!(counts(diff), (2, 1));
        let tones: Vec<_> = diff.lines().map(|l| line(l).spans[0].0.tone).collect();
        use Tone::*;
        assert_eq!(tones, [Dim, Dim, Hunk, Removed, Added, Added, Text]);
    }
}
