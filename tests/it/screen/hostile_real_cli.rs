//! Law 2: whatever an agent says, runs, names or fails with, the terminal gets fracta's own sequences only.

use super::escapes;
use super::pty::Screen;
use crate::plane_support::{Plane, Setup};

/// Clipboard, link, title, device string, reset, query, C1 (as characters), lone carriage return, bell,
/// backspace, delete, characters that turn the line or break it.
const EVIL: &str = "A\x1b]52;c;QUFBQQ==\x07B\x1b]8;;http://x.invalid\x1b\\C\x1b]0;title\x07D\x1bP$q\x1b\\E\x1bcF\x1b[6nG\x1b[2J\
                    \u{9b}31mH\u{9d}52;c;QUFB\u{9c}I\rJ\x07K\x08L\x7fM\u{202e}N\u{2066}O\u{200f}P\u{2028}Q\u{85}R\x1b[?1000hS\x0eT";
/// The same kind of things as a shell prints them, raw C1 bytes too.
const PRINTF: &str = r"printf 'run\033]52;c;QUFBQQ==\007a\033]8;;http://x.invalid\033\\b\033Pq\033\\c\233\061md\235e\rf\016g\033c\342\200\256h\302\233i shown\n'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_words_reach_no_terminal() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let contract = format!(
        "fracta:think **Plan {EVIL}**\\n\\nthought\nfracta:say said {EVIL} and `code {EVIL}`\\n\\n```{EVIL}\\nblock {EVIL}\\n```\\n\\n- [link {EVIL}](http://x/{EVIL})\\n\\n\nfracta:run {PRINTF}\n\
         fracta:run touch \"$(printf 'na\\033]52;c;QUFB\\007me\\342\\200\\256x')\"; ls\nfracta:plan first {EVIL}|second\nfracta:patch notes.txt <<line {EVIL}\nfracta:say over now"
    );
    p.spawn_agent("evil", "stream", &contract).await;
    p.spawn_agent("failing", "stream", &format!("fracta:fail 400 wrong {EVIL} request")).await;
    let mut s = Screen::open(&p, &[], 120, 50);
    p.wait_event("evil", |e| e["kind"] == "turn.completed").await;
    s.command("diff evil");
    s.wait_text("diff of evil against");
    s.wait_text("notes.txt");
    s.keys("\x1b");
    s.wait_for(|t| !t.contains("diff of evil"));
    for agent in ["evil", "failing"] {
        s.keys("/");
        s.keys(agent);
        s.keys("\r");
        s.wait_row(&["▌", agent]);
        s.keys("\r");
        // The list says "over now" before the transcript is read: only a card shows that it is there.
        if agent == "evil" {
            s.wait_row(&["•", "over now"]);
        } else {
            s.wait_text("─ turn failed");
        }
        // All cards unfolded, from the end to the beginning.
        s.keys("z");
        s.wait_text("] card");
        s.keys("G");
        for _ in 0..8 {
            s.keys("\x02");
        }
        if agent == "evil" {
            s.wait_text("more below");
        }
        s.keys("g");
        s.wait_row(&["›", "fracta:"]);
        s.keys("h");
        s.wait_text("enter open");
        // A key that came together with esc would be another key; an idle screen draws for esc alone.
        let mark = s.mark();
        s.keys("\x1b");
        s.wait_bytes(mark, |b| !b.is_empty());
    }
    for (columns, rows) in [(60, 20), (20, 8), (120, 50)] {
        s.resize(columns, rows);
        s.wait_for(|t| t.contains("fracta"));
    }
    s.keys("q");
    let (ok, raw) = s.finish();
    assert!(ok);
    let found = escapes::read(&raw).unwrap();
    assert!(found.clipboard.is_empty(), "nobody copied anything");
}
