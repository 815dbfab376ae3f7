//! Markdown to lines. Links are shown as text and address, never as a terminal's hyperlink: what a
//! link says and where it goes must both be seen.

use fracta::text;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use unicode_width::UnicodeWidthStr;

use super::wrap::{Ink, Line, Tone};

/// Deepest nesting of lists and quotes that is indented.
const MAX_DEPTH: usize = 8;

/// Lines of a piece of Markdown. `open`: more of it comes, so that half a mark at its end must not
/// turn everything round for a moment.
pub fn render(source: &str, open: bool) -> Vec<Line> {
    let tidied;
    let source = if open {
        tidied = tidy(source);
        tidied.as_str()
    } else {
        source
    };
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut page = Page::default();
    Parser::new_ext(source, options).for_each(|e| page.event(e));
    page.flush();
    page.lines
}

/// Closes emphasis that is still open at the end, and hides a last line that is only the start of a mark.
fn tidy(source: &str) -> String {
    let mut source = source;
    let last = source.rfind('\n').map_or(0, |n| n + 1);
    let mark =
        |c: char| matches!(c, '-' | '=' | '#' | '*' | '+' | '`' | '~' | '|' | '>' | '.' | ')' | ' ' | ':');
    if last > 0 && source[last..].chars().all(|c| mark(c) || c.is_ascii_digit()) {
        source = &source[..last];
    }
    let paragraph = source.rfind("\n\n").map_or(0, |n| n + 2);
    let mut out = source.to_owned();
    if source[paragraph..].matches('`').count() % 2 == 1 {
        out.push('`');
    } else if source[paragraph..].matches("**").count() % 2 == 1 {
        match source.strip_suffix("**") {
            Some(rest) => out.truncate(rest.len()),
            None => {
                out.truncate(source.trim_end_matches([' ', '*']).len());
                out.push_str("**");
            }
        }
    }
    out
}

#[derive(Default)]
struct Page {
    lines: Vec<Line>,
    spans: Vec<(Ink, String)>,
    /// Prefixes of the lists and quotes around, outermost first.
    around: Vec<Around>,
    heading: bool,
    bold: usize,
    italic: usize,
    strike: usize,
    code: bool,
    /// Addresses of the open links and where their text starts in `spans`.
    links: Vec<(String, usize)>,
    /// The items' numbers of the open lists.
    lists: Vec<Option<u64>>,
    table: Option<Vec<Vec<String>>>,
    /// A block has ended inside a list item or quote: the next one there needs a blank row.
    gap: bool,
}

enum Around {
    Quote,
    /// The bullet, and whether it was drawn.
    Item(String, bool),
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(t) if self.code => self.code_text(&t),
            // Entities are decoded only now: `&#27;` is an escape, so what is said is cleaned again.
            Event::Text(t) | Event::InlineHtml(t) => self.say(None, &t),
            Event::Html(t) => {
                for l in t.lines() {
                    self.say(Some(Tone::Dim), l);
                    self.flush();
                }
            }
            Event::Code(t) | Event::InlineMath(t) | Event::DisplayMath(t) => self.say(Some(Tone::Code), &t),
            Event::FootnoteReference(t) => self.say(Some(Tone::Dim), &format!("[{t}]")),
            Event::SoftBreak => self.say(None, " "),
            Event::HardBreak if self.table.is_some() => self.say(None, " "),
            Event::HardBreak => self.flush(),
            Event::Rule => {
                self.say(Some(Tone::Dim), "────────");
                self.flush();
            }
            Event::TaskListMarker(done) => self.say(Some(Tone::Accent), if done { "✓ " } else { "○ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.between(),
            Tag::Heading { level, .. } => {
                self.between();
                self.heading = true;
                // Levels differ also without colour.
                if level > HeadingLevel::H2 {
                    self.italic += 1;
                }
            }
            Tag::BlockQuote(_) => {
                self.flush();
                self.around.push(Around::Quote);
            }
            Tag::CodeBlock(kind) => {
                self.between();
                self.flush();
                self.code = true;
                if let CodeBlockKind::Fenced(lang) = kind
                    && !lang.is_empty()
                    && self.around.is_empty()
                {
                    self.gap = false;
                }
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                let bullet = match self.lists.last_mut() {
                    Some(Some(n)) => {
                        let bullet = format!("{n}. ");
                        *n = n.saturating_add(1);
                        bullet
                    }
                    _ => "• ".to_owned(),
                };
                self.gap = false;
                self.around.push(Around::Item(bullet, false));
            }
            Tag::Table(_) => {
                self.flush();
                self.table = Some(Vec::new());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(t) = &mut self.table {
                    t.push(Vec::new());
                }
            }
            Tag::Strong => self.bold += 1,
            Tag::Emphasis => self.italic += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((dest_url.into_string(), self.spans.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => {
                self.flush();
                self.gap = true;
            }
            TagEnd::Heading(level) => {
                self.flush();
                self.heading = false;
                if level > HeadingLevel::H2 {
                    self.italic = self.italic.saturating_sub(1);
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.flush();
                self.around.pop();
                self.gap = false;
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
            }
            TagEnd::CodeBlock => {
                self.code = false;
                self.gap = true;
            }
            TagEnd::TableCell => {
                let cell: String = self.spans.drain(..).map(|(_, s)| s).collect();
                if let Some(row) = self.table.as_mut().and_then(|t| t.last_mut()) {
                    row.push(cell);
                }
            }
            TagEnd::Table => self.end_table(),
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            _ => {}
        }
    }

    fn say(&mut self, tone: Option<Tone>, said: &str) {
        let inside = if self.heading {
            Tone::Heading
        } else if self.links.is_empty() {
            Tone::Text
        } else {
            Tone::Link
        };
        let ink = Ink {
            tone: tone.unwrap_or(inside),
            bold: self.bold > 0,
            italic: self.italic > 0,
            strike: self.strike > 0,
        };
        self.spans.push((ink, text::line(said).into_owned()));
    }

    fn code_text(&mut self, code: &str) {
        for l in text::block(code).lines() {
            self.spans.push((Tone::Code.into(), format!("  {l}")));
            self.put(true);
        }
    }

    fn end_link(&mut self) {
        let Some((url, from)) = self.links.pop() else { return };
        let shown: String =
            self.spans.get(from..).unwrap_or_default().iter().map(|(_, s)| s.as_str()).collect();
        let url = text::exact_line(&url).into_owned();
        if shown != url {
            self.spans.push((Tone::Dim.into(), format!(" ({url})")));
        }
    }

    /// A blank row between blocks of one list item or quote.
    fn between(&mut self) {
        self.flush();
        if std::mem::take(&mut self.gap) {
            self.put(false);
        }
    }

    fn flush(&mut self) {
        if !self.spans.is_empty() {
            self.put(false);
        }
    }

    /// Ends the line, with the prefixes of what is around it.
    fn put(&mut self, hard: bool) {
        let mut line = Line { spans: std::mem::take(&mut self.spans), hard, ..Line::default() };
        for around in self.around.iter_mut().take(MAX_DEPTH) {
            let dim = Ink::from(Tone::Dim);
            match around {
                Around::Quote => {
                    line.first.push((dim, "│ ".to_owned()));
                    line.rest.push((dim, "│ ".to_owned()));
                }
                Around::Item(bullet, drawn) => {
                    let space = " ".repeat(bullet.width());
                    let ink = Ink::from(Tone::Accent);
                    line.first.push((ink, if *drawn { space.clone() } else { bullet.clone() }));
                    line.rest.push((ink, space));
                    *drawn = true;
                }
            }
        }
        self.lines.push(line);
    }

    fn end_table(&mut self) {
        let rows = self.table.take().unwrap_or_default();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| s.width().min(40)).max().unwrap_or(0))
            .collect();
        for (n, row) in rows.iter().enumerate() {
            for (c, width) in widths.iter().enumerate() {
                let cell = row.get(c).map_or("", String::as_str);
                let last = c + 1 == columns;
                let pad = if last { 0 } else { width.saturating_sub(cell.width()) };
                let tone = if n == 0 { Tone::Strong } else { Tone::Text };
                self.spans.push((tone.into(), format!("{cell}{}", " ".repeat(pad))));
                if !last {
                    self.spans.push((Tone::Dim.into(), " │ ".to_owned()));
                }
            }
            self.put(true);
            if n == 0 {
                let rule: Vec<String> = widths.iter().map(|w| "─".repeat(*w)).collect();
                self.spans.push((Tone::Dim.into(), rule.join("─┼─")));
                self.put(true);
            }
        }
        self.gap = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::cards::wrap::wrap;

    fn show(source: &str, width: usize, open: bool) -> String {
        let mut rows = Vec::new();
        render(source, open).iter().for_each(|l| wrap(l, width, &mut rows));
        rows.iter().map(|r| r.text.trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn all_of_it() {
        let source = "# Title\nSome **bold** and `code` in a [link](http://x.y/z) of <http://a.b>.\n\n\
            1. one\n2. two which is long enough\n   - deep\n\n     more\n\n> quoted\n> on\n\n\
            | a | bb |\n|---|---|\n| 1 | 世界 |\n\n- [x] done\n\n```rs\nfn x() {}\n```\n";
        insta::assert_snapshot!(show(source, 30, false), @r#"
    Title
    Some bold and code in a link
    (http://x.y/z) of http://a.b.
    1. one
    2. two which is long enough
       • deep

         more
    │ quoted on
    a │ bb
    ──┼─────
    1 │ 世界
    • ✓ done
      fn x() {}
    "#);
    }

    #[test]
    fn entities_cannot_smuggle() {
        let shown = show("a&#27;[31mb &#x202e;c [t](http://x/&#27;]0;)", 80, false);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }

    #[test]
    fn half_a_mark_does_not_flicker() {
        assert_eq!(show("some **bold", 40, true), "some bold\n");
        assert_eq!(show("some **", 40, true), "some\n");
        assert_eq!(show("some `co", 40, true), "some co\n");
        assert_eq!(show("text\n-", 40, true), "text\n");
        assert_eq!(show("text\n``", 40, true), "text\n");
    }
}
