use fracta::event::{
    Body as Fact, Change, Decision, Delivery, Event, Outcome, Plan, PlanStatus, PlanStep, Role, Usage,
};
use fracta::session::state::State;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;

mod props;

fn event(seq: u64, body: Fact) -> Event {
    let ts = jiff::Timestamp::from_millisecond(1_700_000_000_000 + seq as i64 * 1500).unwrap();
    Event { seq, ts, agent: "a".into(), session: "s".into(), turn: Some("t1".into()), raw: None, body }
}

fn fold(bodies: impl IntoIterator<Item = Fact>) -> Transcript {
    let mut t = Transcript::new(&Theme::mono());
    for (n, body) in bodies.into_iter().enumerate() {
        t.apply(&event(n as u64 + 1, body));
    }
    t
}

fn buffer(t: &Transcript, width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    t.draw(area, &mut buf, true);
    buf
}

fn rows(t: &Transcript, width: u16, height: u16) -> Vec<String> {
    let buf = buffer(t, width, height);
    let row = |y| {
        let (mut out, mut x) = (String::new(), 0);
        while x < width {
            let symbol = buf[(x, y)].symbol();
            out += symbol;
            x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
        }
        out.trim_end().to_owned()
    };
    (0..height).map(row).collect()
}

fn screen(t: &mut Transcript, width: u16, height: u16) -> String {
    t.layout(width, height);
    rows(t, width, height).join("\n").trim_end().to_owned() + "\n"
}

fn say(item: &str, text: &str) -> Fact {
    Fact::MessageDelta { item: item.into(), role: Role::Assistant, text: text.into() }
}

fn said(item: &str, text: &str) -> Fact {
    Fact::MessageCompleted { item: item.into(), role: Role::Assistant, text: text.into() }
}

fn output(item: &str, text: &str) -> Fact {
    Fact::CommandOutput { item: item.into(), text: text.into() }
}

fn run(item: &str, command: &str) -> Fact {
    Fact::CommandStarted { item: item.into(), command: command.into(), cwd: Some("/w".into()) }
}

fn ran(item: &str, command: &str, exit_code: Option<i64>) -> Fact {
    Fact::CommandCompleted {
        item: item.into(),
        command: command.into(),
        cwd: Some("/w".into()),
        text: None,
        exit_code,
    }
}

fn ask(id: &str) -> Fact {
    Fact::ApprovalRequested {
        approval: id.into(),
        what: "run a command outside the sandbox".into(),
        command: Some("rm -rf \x1b]0;build\x07\u{202e}".into()),
        cwd: Some("/w".into()),
        diff: None,
        questions: None,
    }
}

fn everything() -> Vec<Fact> {
    vec![
        Fact::SessionStarted { runtime: "codex".into(), model: Some("m-1".into()), resume_token: None },
        Fact::UserMessage {
            item: "u".into(),
            text: "Fix the login".into(),
            delivery: Delivery::Queued,
            steer: false,
            reason: None,
        },
        Fact::TurnStarted {},
        Fact::UserMessage {
            item: "u".into(),
            text: "Fix the login".into(),
            delivery: Delivery::Accepted,
            steer: false,
            reason: None,
        },
        Fact::ReasoningDelta {
            item: "r".into(),
            text: "**Looking around** the house\n\nmore thoughts".into(),
        },
        Fact::PlanUpdated(Plan {
            steps: vec![PlanStep { text: "read".into(), status: PlanStatus::Pending }],
        }),
        run("c", "cargo test"),
        output("c", &(1..=20).map(|n| format!("line {n}\n")).collect::<String>()),
        ran("c", "cargo test", Some(101)),
        Fact::ToolStarted {
            item: "x".into(),
            name: "grep".into(),
            input: serde_json::json!({"pattern": "login"}),
        },
        Fact::ToolCompleted {
            item: "x".into(),
            name: "grep".into(),
            input: serde_json::json!({"pattern": "login"}),
            output: serde_json::json!("src/login.rs:1"),
            error: Some("permission denied".into()),
        },
        Fact::FileChanged {
            item: "f".into(),
            path: "src/login.rs".into(),
            change: Change::Modified,
            diff: Some("@@ -1 +1 @@\n-old\n+new\n".into()),
        },
        Fact::PlanUpdated(Plan {
            steps: vec![PlanStep { text: "read".into(), status: PlanStatus::Completed }],
        }),
        ask("a1"),
        Fact::Step { n: 3, limit: 50 },
        say("m", "Done: see `src/login.rs`."),
        Fact::Usage(Usage {
            input_tokens: 1234,
            cached_tokens: 0,
            output_tokens: 56,
            cost_usd: None,
            total: false,
        }),
        Fact::Warning { text: "slow".into() },
        Fact::Gap { text: "3 lines lost".into() },
        Fact::Raw { text: "{\"odd\":1}".into() },
        Fact::TurnCompleted { outcome: Outcome::Failed, error: Some("no more money".into()) },
        Fact::SessionEnded { state: State::Failed, reason: Some("exit 1".into()) },
    ]
}

#[test]
fn a_whole_session_at_eighty_columns() {
    insta::assert_snapshot!(screen(&mut fold(everything()), 80, 80), @r#"
    · session started · codex · m-1

    › Fix the login                                                         accepted

    ─ turn · step 3 of 50

    ~ thinking Looking around the house

    ≡ plan 1/1
      ✓ read

    $ cargo test                                                     exit 101 · 3.0s
      in /w
      … 8 more lines
      line 9
      line 10
      line 11
      line 12
      line 13
      line 14
      line 15
      line 16
      line 17
      line 18
      line 19
      line 20

    ◆ grep login                                                       failed · 1.5s
      src/login.rs:1
      permission denied

    ± edit src/login.rs                                                        +1 −1
      @@ -1 +1 @@
      -old
      +new

    ? run a command outside the sandbox                                waits for you
    ▌ $ rm -rf ␛]0;build␇⟨U+202E⟩
    ▌ in /w

    • Done: see src/login.rs.

    ! slow

    ⋯ something is missing here
      3 lines lost

    · raw {"odd":1}

    ─ turn failed                                               1.2k in 56 out · 27s
      no more money

    · session ended · failed · exit 1
    "#);
}

#[test]
fn a_whole_session_at_forty_columns() {
    insta::assert_snapshot!(screen(&mut fold(everything()), 40, 90), @r#"
    · session started · codex · m-1

    › Fix the login                 accepted

    ─ turn · step 3 of 50

    ~ thinking Looking around the house

    ≡ plan 1/1
      ✓ read

    $ cargo test             exit 101 · 3.0s
      in /w
      … 8 more lines
      line 9
      line 10
      line 11
      line 12
      line 13
      line 14
      line 15
      line 16
      line 17
      line 18
      line 19
      line 20

    ◆ grep login               failed · 1.5s
      src/login.rs:1
      permission denied

    ± edit src/login.rs                +1 −1
      @@ -1 +1 @@
      -old
      +new

    ? run a command outside the sandbox
    ▌ $ rm -rf ␛]0;build␇⟨U+202E⟩
    ▌ in /w
    ▌ waits for you

    • Done: see src/login.rs.

    ! slow

    ⋯ something is missing here
      3 lines lost

    · raw {"odd":1}

    ─ turn failed       1.2k in 56 out · 27s
      no more money

    · session ended · failed · exit 1
    "#);
}

#[test]
fn markdown_in_a_message() {
    let source = "# Title\nSome **bold** and `code` in a [link](http://x.y/z).\n\n1. one\n2. two which is long enough\n   - deep\n\n\
        > quoted\n\n| a | bb |\n|---|---|\n| 1 | 世界 |\n\n```rs\nfn x() {\n\n}\n```\nend\n";
    // As it streams, and as a whole: the same.
    let mut streamed = fold(source.chars().map(|c| say("m", &c.to_string())).chain([said("m", source)]));
    let shown = screen(&mut streamed, 30, 40);
    assert_eq!(shown, screen(&mut fold([said("m", source)]), 30, 40));
    insta::assert_snapshot!(shown, @r#"
    • Title
      Some bold and code in a link
      (http://x.y/z).

      1. one
      2. two which is long enough
         • deep

      │ quoted

      a │ bb
      ──┼─────
      1 │ 世界

        fn x() {

        }

      end
    "#);
}

#[test]
fn completed_makes_good_what_deltas_missed() {
    let mut t = fold([say("m", "one "), said("m", "one two three")]);
    assert_eq!(screen(&mut t, 40, 5), "• one two three\n");
    // Without a start, and without an end.
    let mut t = fold([ran("c", "ls", Some(0)), output("d", "text")]);
    let want = "$ ls                              exit 0\n  in /w\n\n\
        $ (its start is not in this window)\n  text\n  running\n";
    assert_eq!(screen(&mut t, 40, 9), want);
}

#[test]
fn what_was_seen_is_ignored() {
    let mut t = Transcript::new(&Theme::mono());
    t.apply(&event(5, say("m", "a")));
    t.apply(&event(5, say("m", "b")));
    t.apply(&event(3, say("m", "c")));
    assert_eq!((t.first_seq(), t.last_seq(), t.focused_text().as_deref()), (Some(5), 5, Some("a")));
}

#[test]
fn an_approval_stands_until_it_is_answered() {
    let mut t = fold([ask("id-1"), said("m", "waiting")]);
    t.layout(60, 20);
    assert_eq!(t.focused_approval(), None);
    t.focus_approval("id-1");
    assert_eq!(t.focused_approval(), Some("id-1"));
    t.layout(60, 20);
    let shown = rows(&t, 60, 20).join("\n");
    assert!(shown.contains("$ rm -rf ␛]0;build␇⟨U+202E⟩"), "an approval hides nothing: {shown}");
    assert!(shown.contains("waits for you"));
    t.apply(&event(
        9,
        Fact::ApprovalResolved { approval: "id-1".into(), decision: Decision::Denied, by: "person".into() },
    ));
    t.layout(60, 20);
    assert_eq!(t.focused_approval(), None);
    assert!(rows(&t, 60, 20)[0].ends_with("denied by person"));
}

#[test]
fn folding_and_unfolding() {
    let text: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    let mut t = fold([run("c", "x"), output("c", &text), ran("c", "x", Some(0))]);
    let shown = screen(&mut t, 40, 50);
    assert!(shown.contains("… 18 more lines\n  line 19\n") && !shown.contains("line 18\n"), "{shown}");
    t.select_prev();
    t.toggle_fold();
    assert!(screen(&mut t, 40, 50).contains("line 1\n"));
    t.toggle_fold();
    assert!(!screen(&mut t, 40, 50).contains("line 18\n"));
    t.toggle_all();
    assert!(screen(&mut t, 40, 50).contains("line 18\n"));
}

#[test]
fn what_was_unfolded_is_scrolled_to_its_beginning() {
    let text: String = (1..=60).map(|n| format!("line {n}\n")).collect();
    let mut t = fold([said("m", "first"), run("c", "x"), output("c", &text), ran("c", "x", Some(0))]);
    t.layout(40, 20);
    t.toggle_all();
    let end = screen(&mut t, 40, 20);
    assert!(end.contains("line 60") && t.following(), "{end}");
    t.scroll_page(-1);
    assert!(!t.following());
    // 64 rows, of which 20 are below the second screen less a row of overlap.
    assert!(screen(&mut t, 40, 20).contains("line 41\n") && t.rows_below() == 19, "{}", t.rows_below());
    t.scroll_home();
    let top = screen(&mut t, 40, 20);
    assert!(top.starts_with("• first\n") && !t.following() && t.at_top(), "{top}");
}

#[test]
fn a_warning_outside_of_turns_is_one_line() {
    let text = "codex could not find a helper on PATH, and goes on to say so at length\nand in two lines";
    let mut t = fold([said("m", "hello")]);
    for (seq, turn) in [(2, None), (3, Some("t1".to_owned()))] {
        t.apply(&Event { turn, ..event(seq, Fact::Warning { text: text.into() }) });
    }
    let want = "• hello\n\n! codex could not find a helper on PATH,…\n\n! codex could not find a helper on PATH,\n  \
        and goes on to say so at length\n  and in two lines\n";
    assert_eq!(screen(&mut t, 42, 12), want);
    t.toggle_all();
    assert_eq!(screen(&mut t, 42, 12).matches("and in two lines").count(), 2);
}

#[test]
fn a_running_command_is_cut_off_with_its_turn() {
    let mut t = fold([run("c", "sleep"), Fact::TurnCompleted { outcome: Outcome::Interrupted, error: None }]);
    assert!(screen(&mut t, 40, 9).contains("cut off"));
}

#[test]
fn the_window_is_bounded() {
    let mut t = Transcript::new(&Theme::mono());
    t.layout(80, 24);
    for n in 1..=3000u64 {
        t.apply(&event(n, said(&format!("m{n}"), "text")));
    }
    assert_eq!((t.cards.len(), t.index.len(), t.first_seq(), t.last_seq()), (2000, 2000, Some(1001), 3000));
    for n in 3001..3100u64 {
        t.apply(&event(n, said(&format!("m{n}"), &"x".repeat(300_000))));
        assert!(t.bytes <= fold::MAX_BYTES + body::MAX_TEXT * 2);
    }
    assert!(t.cards.len() < 30 && t.cards.iter().all(|c| c.body.text.len() <= body::MAX_TEXT));
    // A view at the top of the window keeps its cards, up to twice as many.
    let mut t = fold((0..100).map(|n| said(&format!("m{n}"), "text")));
    t.layout(80, 24);
    t.scroll_home();
    for n in 101..=3900u64 {
        t.apply(&event(n, said(&format!("m{n}"), "text")));
    }
    assert_eq!((t.first_seq(), t.at_top(), t.following()), (Some(1), true, false));
    for n in 3901..=5000u64 {
        t.apply(&event(n, said(&format!("m{n}"), "text")));
    }
    assert!(t.cards.len() <= 4000);
}

#[test]
fn an_earlier_page_goes_before_and_meets_what_goes_on() {
    let all = [
        run("c", "make"),
        output("c", "one\n"),
        said("m", "hello"),
        output("c", "two\n"),
        ran("c", "make", Some(0)),
    ];
    let events: Vec<Event> = all.into_iter().enumerate().map(|(n, b)| event(n as u64 + 1, b)).collect();
    let mut t = Transcript::new(&Theme::mono());
    events[3..].iter().for_each(|e| t.apply(e));
    t.layout(40, 12);
    t.prepend(&events[..3]);
    assert_eq!((t.first_seq(), t.last_seq(), t.cards.len()), (Some(1), 5, 2));
    t.prepend(&events[..3]);
    assert_eq!(t.cards.len(), 2);
    let shown = screen(&mut t, 40, 12);
    assert!(shown.contains("exit 0 · 6.0s") && shown.contains("  one\n  two\n"), "{shown}");
}

#[test]
fn a_frame_costs_its_rows_and_a_delta_what_it_brings() {
    let mut t = fold((0..1500).map(|n| said(&format!("m{n}"), "some text\n\nmore of it")));
    t.layout(80, 24);
    let wrapped = t.cards.iter().filter(|c| c.wrapped.is_some()).count();
    assert!(wrapped <= 24, "{wrapped} cards wrapped for 24 rows");
    t.work.set(0);
    buffer(&t, 80, 24);
    assert_eq!(t.work.get(), 24);
    // A long message: each delta renders what is behind its last final block, not what is before.
    let mut t = Transcript::new(&Theme::mono());
    t.layout(80, 24);
    let mut before = 0;
    for n in 1..=2000u64 {
        t.apply(&event(n, say("m", "a paragraph of some words\n\n")));
        t.layout(80, 24);
        let now = t.cards[0].wrapped.as_ref().unwrap().rendered;
        assert!(now - before <= 3, "delta {n} rendered {} units", now - before);
        before = now;
    }
}

#[test]
fn scrolling_ends_at_both_ends() {
    let mut t = fold((0..50).map(|n| said(&format!("m{n}"), &format!("text {n}"))));
    t.layout(40, 10);
    assert!(t.following() && t.rows_below() == 0);
    t.scroll(-3);
    assert!(!t.following() && t.rows_below() == 3, "{}", t.rows_below());
    t.scroll(3);
    assert!(t.following());
    t.scroll(isize::MIN);
    assert!(t.at_top() && !t.following());
    assert_eq!(rows(&t, 40, 10)[0], "• text 0");
    assert_eq!(t.rows_below(), 99 - 10);
    t.scroll_page(1);
    assert_eq!(rows(&t, 40, 10)[1], "• text 5");
    t.scroll(isize::MAX);
    assert!(t.following());
    t.scroll_home();
    assert!(t.at_top());
    t.follow();
    assert_eq!(rows(&t, 40, 10)[9], "• text 49");
    (0..60).for_each(|_| t.select_prev());
    assert_eq!((t.selected, rows(&t, 40, 10)[0].as_str()), (Some(t.front), "• text 0"));
    (0..60).for_each(|_| t.select_next());
    assert!(t.following());
}

#[test]
fn sizes_down_to_nothing() {
    let mut t = fold(everything());
    for (w, h) in [(0, 0), (1, 1), (2, 3), (3, 1), (5, 2), (7, 40), (200, 1)] {
        t.layout(w, h);
        t.scroll(-2);
        t.toggle_all();
        t.layout(w, h);
        buffer(&t, w, h);
    }
}

#[test]
fn a_view_inside_a_growing_message_stays() {
    let text: String = (0..60).map(|n| format!("paragraph {n}\n\n")).collect();
    let mut t = fold([said("x", "before"), say("m", &text)]);
    t.layout(40, 10);
    t.scroll(-40);
    let before = rows(&t, 40, 10);
    for n in 10..40 {
        t.apply(&event(n, say("m", "and more\n\n")));
        t.layout(40, 10);
        assert_eq!(before, rows(&t, 40, 10));
    }
    // The start of the same message, from an earlier page, comes in above what is read.
    let mut t = Transcript::new(&Theme::mono());
    t.apply(&event(50, say("m", &text)));
    t.layout(40, 10);
    t.scroll(-40);
    let before = rows(&t, 40, 10);
    t.prepend(&[event(1, say("m", "one\n\ntwo\n\n"))]);
    t.layout(40, 10);
    assert_eq!(before, rows(&t, 40, 10));
    t.scroll_home();
    assert_eq!(rows(&t, 40, 10)[..3], ["• one", "", "  two"]);
}

#[test]
fn hostile_text_reaches_no_cell() {
    let bad =
        "x\x1b[2J\x1b]52;c;aGk=\x07 &#27;[31m &#x202e;y\u{202e}z\u{200b}\u{9b}1m [l](http://h/&#7;)\u{8}\0";
    let mut t = fold([
        said("m", bad),
        Fact::ReasoningDelta { item: bad.into(), text: bad.into() },
        run("c", bad),
        output("c", bad),
        Fact::ToolStarted { item: "x".into(), name: bad.into(), input: serde_json::json!({ bad: bad }) },
        Fact::FileChanged {
            item: "f".into(),
            path: bad.into(),
            change: Change::Added,
            diff: Some(bad.into()),
        },
        Fact::PlanUpdated(Plan { steps: vec![PlanStep { text: bad.into(), status: PlanStatus::Pending }] }),
        Fact::ApprovalRequested {
            approval: bad.into(),
            what: bad.into(),
            command: Some(bad.into()),
            cwd: Some(bad.into()),
            diff: Some(bad.into()),
            questions: Some(serde_json::json!([{ "question": bad, "options": [{ "label": bad }] }])),
        },
        Fact::ApprovalResolved { approval: bad.into(), decision: Decision::Denied, by: bad.into() },
        Fact::TurnCompleted { outcome: Outcome::Failed, error: Some(bad.into()) },
        Fact::SessionStarted { runtime: bad.into(), model: Some(bad.into()), resume_token: None },
        Fact::SessionEnded { state: State::Failed, reason: Some(bad.into()) },
        Fact::Error { text: bad.into(), retryable: None },
        Fact::Raw { text: bad.into() },
    ]);
    t.toggle_all();
    t.layout(100, 150);
    for cell in &buffer(&t, 100, 150).content {
        assert!(fracta::text::is_clean(cell.symbol()), "{:?}", cell.symbol());
    }
    assert!(t.cards.iter().all(|c| fracta::text::is_clean(&c.copied().replace('\n', ""))));
}

#[test]
fn focus_is_seen_without_colour() {
    let mut t = fold([said("m", "one\n\ntwo")]);
    t.select_next();
    t.layout(20, 5);
    let buf = buffer(&t, 20, 5);
    assert!(buf[(0, 0)].modifier.contains(ratatui::style::Modifier::REVERSED));
    assert_eq!((buf[(0, 0)].symbol(), buf[(0, 1)].symbol(), buf[(0, 2)].symbol()), ("•", "│", "│"));
}
