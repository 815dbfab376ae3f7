use fracta::control::wire::Watch;
use fracta::session::state::State;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::*;
use crate::tui::effects::Worker;
use crate::tui::keymap::Key;
use crate::tui::msg::Msg;
use crate::tui::screen::Screen;
use crate::tui::testing::{Fake, agent, asking, messages, runtime};
use crate::tui::theme::Theme;
use crate::tui::update::tests::model;
use crate::tui::update::{after_layout, update};

fn render(m: &mut Model) -> Buffer {
    layout(m);
    let mut buf = Buffer::empty(Rect::new(0, 0, m.size.0, m.size.1));
    draw(m, &mut buf);
    buf
}

fn text(m: &mut Model) -> String {
    let buf = render(m);
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut row = String::new();
        let mut skip = 0;
        for x in 0..buf.area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let s = buf[(x, y)].symbol();
            skip = width(s).saturating_sub(1);
            row.push_str(s);
        }
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

fn press(m: &mut Model, keys: &[&str]) {
    for k in keys {
        let key = Key::parse(k).unwrap();
        update(m, Msg::Key(KeyEvent::new(key.code, key.mods)));
    }
}

fn fleet(w: u16, h: u16) -> Model {
    let mut m = model(w, h);
    let mut broken = agent("broken", State::Failed);
    broken.reason = Some("exit code 2: unexpected argument".to_owned());
    broken.unread = 12;
    let mut wide = agent("wide", State::Idle);
    wide.activity = "日本語 👩‍👩‍👧 é done".to_owned();
    let mut claude = agent("docs", State::Running);
    claude.runtime = "claude".to_owned();
    let agents = vec![
        asking(agent("fix-login", State::Waiting), "p1", "rm -rf target"),
        broken,
        claude,
        wide,
        agent("old", State::Completed),
    ];
    update(&mut m, Msg::Watch(Watch::Agents { agents }));
    update(
        &mut m,
        Msg::Runtimes(Ok(vec![runtime("codex", Ok(())), runtime("claude", Err("not by Claude".to_owned()))])),
    );
    m
}

#[test]
fn the_list_at_80_columns() {
    insta::assert_snapshot!("list_80x24", text(&mut fleet(80, 24)));
}

#[test]
fn list_and_session_side_by_side() {
    insta::assert_snapshot!("both_120x30", text(&mut fleet(120, 30)));
    insta::assert_snapshot!("both_200x50", text(&mut fleet(200, 50)));
}

#[test]
fn one_area_at_a_time_at_40_columns() {
    let mut m = fleet(40, 12);
    insta::assert_snapshot!("list_40x12", text(&mut m));
    press(&mut m, &["enter"]);
    insta::assert_snapshot!("session_40x12", text(&mut m));
}

#[test]
fn overlays() {
    let mut m = fleet(80, 24);
    press(&mut m, &["?"]);
    insta::assert_snapshot!("help_80x24", text(&mut m));
    press(&mut m, &["esc", "s"]);
    insta::assert_snapshot!("spawn_80x24", text(&mut m));
    press(&mut m, &["esc", "r"]);
    insta::assert_snapshot!("runtimes_80x24", text(&mut m));
    press(&mut m, &["esc", "ctrl-k"]);
    insta::assert_snapshot!("kill_80x24", text(&mut m));
}

#[test]
fn quiet_disconnected_and_gone_look_different() {
    let mut m = model(80, 24);
    assert!(text(&mut m).contains("connecting…"));
    let mut m = fleet(80, 24);
    let quiet = text(&mut m);
    assert!(!quiet.contains("disconnected"));
    update(&mut m, Msg::LinkLost("no control plane answers".to_owned()));
    let lost = text(&mut m);
    assert!(lost.contains("disconnected, trying again: no c"), "{lost}");
    assert!(lost.contains("fix-login"), "what was known stays");
    press(&mut m, &["enter"]);
    let session = "s-fix-login".to_owned();
    update(&mut m, Msg::StreamLost { session: session.clone(), why: None, gone: false });
    assert!(text(&mut m).contains("stream broken"));
    update(&mut m, Msg::StreamLost { session, why: None, gone: true });
    assert!(text(&mut m).contains("gone"));
}

#[test]
fn the_prompt_says_what_enter_does_and_why() {
    let mut m = fleet(120, 30);
    assert!(text(&mut m).contains("steer · goes into the running turn"));
    press(&mut m, &["j", "j"]);
    assert_eq!(m.list.selected().unwrap().name.as_str(), "docs");
    assert!(text(&mut m).contains("say · goes out when the turn ends: not by Claude"));
    press(&mut m, &["j"]);
    assert!(text(&mut m).contains("say · starts a turn"));
}

#[test]
fn help_says_why_a_key_does_nothing() {
    let mut m = fleet(120, 60);
    press(&mut m, &["j", "?"]);
    let t = text(&mut m);
    assert!(t.contains("approve the pending request  (now: nothing waits for an answer)"), "{t}");
    for (e, _) in m.keys.entries() {
        assert!(t.contains(e.help), "{} is in the help", e.name);
    }
}

#[test]
fn the_list_of_requests() {
    let mut m = fleet(80, 24);
    let mut a = asking(agent("patcher", State::Waiting), "p1", "");
    a.pending_approvals[0].command = None;
    a.pending_approvals[0].diff =
        Some("--- a/x\n+++ b/x\n@@ -1 +1,20 @@\n-old\n".to_owned() + &"+new\n".repeat(20));
    update(&mut m, Msg::Watch(Watch::Agent { agent: Box::new(a) }));
    press(&mut m, &["A"]);
    insta::assert_snapshot!("requests_80x24", text(&mut m));
    press(&mut m, &["j"]);
    let t = text(&mut m);
    assert!(t.contains("+new") && t.contains("more rows: enter opens all of it"), "{t}");
    update(&mut m, Msg::Watch(Watch::Agent { agent: Box::new(agent("patcher", State::Running)) }));
    assert!(text(&mut m).contains("waits no more"));
}

#[test]
fn steps_are_a_gauge_while_the_turn_runs() {
    for w in [80, 120, 200] {
        let mut a = agent("stepper", State::Running);
        a.step = Some((15, 20));
        let mut m = fleet(w, 30);
        update(&mut m, Msg::Watch(Watch::Agent { agent: Box::new(a.clone()) }));
        assert!(text(&mut m).contains("▰▰▰▱▱ 15/20"), "{}", text(&mut m));
        a.state = State::Idle;
        update(&mut m, Msg::Watch(Watch::Agent { agent: Box::new(a) }));
        let t = text(&mut m);
        let row = t.lines().find(|l| l.contains("stepper")).unwrap();
        assert!(!row.contains("15/20"), "{row}");
    }
}

#[test]
fn mono_has_no_colour_and_the_selection_can_still_be_seen() {
    let mut m = fleet(120, 30);
    m.theme = Theme::mono();
    let buf = render(&mut m);
    assert!(buf.content().iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    let reversed = ratatui::style::Modifier::REVERSED;
    assert!(buf.content().iter().any(|c| c.modifier.contains(reversed)));
}

#[test]
fn every_size_and_overlay_draws() {
    for keys in
        [&[][..], &["enter"], &["i"], &["?"], &["s"], &["r"], &["d"], &["ctrl-k"], &["A"], &[":"], &["/"]]
    {
        let mut m = fleet(80, 24);
        press(&mut m, keys);
        for (w, h) in
            (0..30).flat_map(|w| (0..16).map(move |h| (w, h))).chain([(99, 24), (100, 3), (300, 90)])
        {
            update(&mut m, Msg::Resize(w, h));
            render(&mut m);
        }
    }
}

#[test]
fn a_long_list_keeps_the_selection_in_sight() {
    for (w, h) in [(80, 24), (120, 30), (40, 12), (120, 16)] {
        let mut m = model(w, h);
        let agents = (0..300).map(|n| agent(&format!("agent-{n:03}"), State::Idle)).collect();
        update(&mut m, Msg::Watch(Watch::Agents { agents }));
        for key in ["j", "pagedown", "G", "k", "pageup", "g"] {
            for _ in 0..13 {
                press(&mut m, &[key]);
                let name = m.list.selected().unwrap().name.to_string();
                let t = text(&mut m);
                let line = t.lines().find(|l| l.starts_with('▌')).unwrap_or_default();
                assert!(line.contains(&name[..8]), "{name} at {w}x{h}: {t}");
            }
        }
    }
}

#[test]
fn an_unchanged_model_costs_no_byte() {
    let mut m = fleet(120, 30);
    press(&mut m, &["i"]);
    let mut screen = Screen::new();
    let mut paint = |m: &mut Model| {
        layout(m);
        screen.paint(m.size, |b| draw(m, b)).unwrap().len()
    };
    assert!(paint(&mut m) > 0);
    assert_eq!(paint(&mut m), 0);
    m.now = "2026-11-22T15:20:00Z".parse().unwrap();
    assert_eq!(paint(&mut m), 0, "the clock alone changes nothing");
    update(&mut m, Msg::Key(KeyEvent::new(Key::parse("x").unwrap().code, KeyModifiers::NONE)));
    let one = paint(&mut m);
    assert!((1..400).contains(&one), "a letter is a small frame: {one}");
}

/// A model on a real client; messages are pumped until something is true.
struct Bench {
    model: Model,
    worker: Worker,
    rx: tokio::sync::mpsc::Receiver<Msg>,
}

impl Bench {
    fn new(fake: &Fake) -> Self {
        let (tx, rx) = tokio::sync::mpsc::channel(64);
        Self { model: model(120, 30), worker: Worker::new(fake.client(), None, tx), rx }
    }

    fn apply(&mut self, msg: Msg) {
        for e in update(&mut self.model, msg) {
            self.worker.start(e);
        }
        layout(&mut self.model);
        for e in after_layout(&mut self.model) {
            self.worker.start(e);
        }
    }

    async fn until(&mut self, what: impl Fn(&Model) -> bool) {
        while !what(&self.model) {
            let msg = self.rx.recv().await.unwrap();
            self.apply(msg);
        }
    }

    fn press(&mut self, keys: &[&str]) {
        for k in keys {
            let key = Key::parse(k).unwrap();
            self.apply(Msg::Key(KeyEvent::new(key.code, key.mods)));
        }
    }
}

fn last_seq(m: &Model) -> u64 {
    m.shown().map_or(0, |s| s.transcript.last_seq())
}

#[tokio::test]
async fn against_a_control_plane() {
    let fake = Fake::start(vec![asking(agent("a", State::Waiting), "p1", "ls"), agent("b", State::Idle)]);
    for e in messages("a", 700) {
        fake.plane.emit(e);
    }
    let mut b = Bench::new(&fake);
    b.until(|m| last_seq(m) == 700 && m.shown().unwrap().stream == crate::tui::model::Stream::Live).await;
    assert_eq!(b.model.shown().unwrap().transcript.first_seq(), Some(201), "the last page only");
    fake.plane.called("seen s-a {\"seq\":700}").await;
    // Live events follow without gap or repeat.
    fake.plane.emit(messages("a", 701).pop().unwrap());
    b.until(|m| last_seq(m) == 701).await;
    // The page before, when scrolled to the top.
    b.press(&["enter", "g"]);
    b.until(|m| m.shown().unwrap().transcript.first_seq() == Some(1)).await;
    // Verbs and their results.
    b.press(&["a"]);
    let call = fake.plane.called("approvals a").await;
    assert!(call.contains("p1") && call.contains("approved"), "{call}");
    b.until(|m| m.list.selected().is_some_and(|a| a.pending_approvals.is_empty())).await;
    b.press(&["i", "h", "i", "enter"]);
    assert!(fake.plane.called("steer a").await.contains("hi"));
    b.until(|m| m.note.as_ref().is_some_and(|n| n.text.contains("accepted"))).await;
    let refusal = fracta::control::wire::Problem {
        code: fracta::control::wire::Code::Conflict,
        message: "2 commits are not merged".to_owned(),
    };
    fake.plane.refuse.lock().unwrap().insert("kill".to_owned(), refusal);
    b.press(&["esc", "ctrl-k", "y"]);
    b.until(|m| m.note.as_ref().is_some_and(|n| n.text.contains("2 commits") && n.text.contains(":kill! a")))
        .await;
    fake.plane.refuse.lock().unwrap().clear();
    b.press(&["ctrl-k", "y"]);
    b.until(|m| m.list.len() == 1).await;
    assert_eq!(b.model.list.selected().unwrap().name.as_str(), "b");
    b.press(&["d"]);
    b.until(|m| matches!(&m.overlay, Some(crate::tui::overlay::Overlay::Diff(p)) if p.diff.is_some())).await;
    assert!(text(&mut b.model).contains("+new"));
}

#[tokio::test]
async fn holding_a_key_asks_for_the_last_session_only() {
    let names: Vec<String> = (0..30).map(|n| format!("a{n:02}")).collect();
    let fake = Fake::start(names.iter().map(|n| agent(n, State::Idle)).collect());
    let mut b = Bench::new(&fake);
    b.until(|m| m.list.len() == 30).await;
    for _ in 0..29 {
        b.press(&["j"]);
    }
    b.until(|m| m.shown().is_some_and(|s| s.id == "s-a29" && s.stream == crate::tui::model::Stream::Live))
        .await;
    let calls = fake.plane.calls.lock().unwrap();
    let asked: Vec<&String> =
        calls.iter().filter(|c| c.starts_with("events") && c.contains("follow=true")).collect();
    assert!(asked.len() <= 2, "no storm: {asked:?}");
}

#[tokio::test]
async fn a_lost_control_plane_is_said_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.sock");
    let fake = Fake::at(path.clone(), vec![agent("a", State::Idle)]);
    let mut b = Bench::new(&fake);
    b.until(|m| m.link == Link::Up).await;
    drop(fake);
    b.until(|m| matches!(m.link, Link::Lost(_))).await;
    std::fs::remove_file(&path).unwrap();
    let _again = Fake::at(path, vec![agent("a", State::Idle), agent("new", State::Idle)]);
    b.until(|m| m.link == Link::Up && m.list.len() == 2).await;
}

#[test]
fn the_selected_row_has_one_style() {
    for theme in [Theme::default_ansi(), Theme::mono()] {
        let mut m = fleet(120, 30);
        m.theme = theme;
        let buf = render(&mut m);
        let list = areas(&m).list;
        let bars: Vec<u16> = (list.y..list.bottom()).filter(|y| buf[(0, *y)].symbol() == "▌").collect();
        assert_eq!(bars.len(), 3, "name, facts, activity");
        for (x, y) in bars.into_iter().flat_map(|y| (1..list.width).map(move |x| (x, y))) {
            let mut style = buf[(x, y)].style();
            style.add_modifier.remove(ratatui::style::Modifier::BOLD);
            let want = ratatui::buffer::Cell::EMPTY.style().patch(theme.selection);
            assert_eq!(style, want, "{x} {y}");
        }
    }
}

#[test]
fn the_row_of_a_request_begins_with_its_command() {
    let mut m = model(120, 30);
    let asks = asking(agent("a", State::Waiting), "p1", "/bin/bash -lc 'rm -rf target'");
    update(&mut m, Msg::Watch(Watch::Agents { agents: vec![asks.clone()] }));
    let shown = text(&mut m);
    assert!(shown.contains("▲ $ rm -rf target  run a command"), "{shown}");
    assert!(!shown.contains("/bin/bash"), "{shown}");
    let mut long = asks;
    long.pending_approvals[0].command = Some("x".repeat(200));
    update(&mut m, Msg::Watch(Watch::Agents { agents: vec![long] }));
    let shown = text(&mut m);
    assert!(shown.lines().any(|l| l.contains("xxx…") && l.contains("a approve")), "{shown}");
    assert!(!shown.contains("run a command"), "{shown}");
}
