//! Plausible words for a model that has none.

const SENTENCES: &[&str] = &[
    "The parser reads one record at a time, so memory stays flat however long the file is.",
    "Each reading carries its station and a value in tenths of a degree, which avoids rounding.",
    "Errors name the line they came from; a person can open the file and see it at once.",
    "I would keep the summary a pure function: it takes readings and gives numbers, nothing else.",
    "Tests cover an empty file, one reading, and a station that appears twice.",
    "The command line is thin on purpose, since everything worth testing lives in the library.",
    "A missing value is not zero, so it is skipped and counted apart.",
    "Sorting by station makes the output stable, which keeps diffs small.",
];

/// Exactly `words` words of prose in paragraphs of a few sentences.
pub(super) fn words(words: usize) -> String {
    words_from(0, words)
}

/// The same, begun with another sentence.
pub(super) fn words_from(first: usize, words: usize) -> String {
    let mut out = String::new();
    let mut n = 0;
    for (i, sentence) in SENTENCES.iter().cycle().skip(first).enumerate() {
        for word in sentence.split(' ') {
            if n == words {
                return out;
            }
            if n > 0 {
                out.push_str(if i % 4 == 0 && sentence.starts_with(word) { "\n\n" } else { " " });
            }
            out.push_str(word);
            n += 1;
        }
    }
    out
}

/// A short answer in Markdown to a prompt without directives.
pub(super) fn answer(prompt: &str) -> String {
    let topic: String = prompt.split_whitespace().take(12).collect::<Vec<_>>().join(" ");
    format!(
        "## About it\n\nYou asked: *{topic}*\n\n- The place to change is `src/lib.rs`.\n- One test covers it.\n\n\
         ```rust\nlet summary = summarise(&readings);\n```\n\nTell me if you want more.\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn prose_has_as_many_words_as_asked_for() {
        for n in [0, 1, 13, 200, 1000] {
            assert_eq!(super::words(n).split_whitespace().count(), n);
        }
    }
}
