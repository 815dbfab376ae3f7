use fracta::control::wire::{Code, Said, Watch};
use fracta::event::{Decision, Delivery};
use fracta::runtime::Mode;
use fracta::session::state::State;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::tui::keymap::{Key, KeyMap};
use crate::tui::list::Row;
use crate::tui::model::{Level, Link, Options, Stream};
use crate::tui::msg::Failure;
use crate::tui::overlay::Overlay;
use crate::tui::testing::{agent, asking, messages, runtime};
use crate::tui::theme::Theme;
use crate::tui::view;

pub fn model(w: u16, h: u16) -> Model {
    let mut m = Model::new(
        &Options::default(),
        KeyMap::default(),
        Theme::default_ansi(),
        jiff::tz::TimeZone::UTC,
        "/p/.fracta/control.sock".to_owned(),
    );
    m.size = (w, h);
    m.now = "2026-11-22T15:00:00Z".parse().unwrap();
    m
}

/// A model with a list and known runtimes.
pub fn with(agents: Vec<fracta::control::wire::Agent>) -> Model {
    let mut m = model(120, 30);
    update(&mut m, Msg::Watch(Watch::Agents { agents }));
    update(
        &mut m,
        Msg::Runtimes(Ok(vec![runtime("codex", Ok(())), runtime("claude", Err("not by Claude".to_owned()))])),
    );
    m
}

pub fn press(m: &mut Model, keys: &[&str]) -> Vec<Effect> {
    let mut out = vec![];
    for k in keys {
        let key = Key::parse(k).unwrap_or_else(|| panic!("{k}"));
        out.extend(update(m, Msg::Key(KeyEvent::new(key.code, key.mods))));
    }
    out
}

fn type_text(m: &mut Model, text: &str) -> Vec<Effect> {
    text.chars()
        .flat_map(|c| update(m, Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))))
        .collect()
}

pub fn selected(m: &Model) -> &str {
    m.list.selected().map_or("", |a| a.name.as_str())
}

pub fn note(m: &Model) -> &str {
    m.note.as_ref().map_or("", |n| n.text.as_str())
}

pub fn failure(code: Code, text: &str) -> Failure {
    Failure { code: Some(code), text: text.to_owned() }
}

#[test]
fn the_first_list_selects_opens_and_asks_for_runtimes() {
    let mut m = model(120, 30);
    let e = update(&mut m, Msg::Watch(Watch::Agents { agents: vec![agent("a", State::Idle)] }));
    assert_eq!(m.link, Link::Up);
    assert_eq!(e, [Effect::Runtimes, Effect::Open { session: "s-a".into(), after: None }]);
    // A narrow screen shows the list only: nothing is read until the session is.
    let mut m = model(80, 24);
    let e = update(&mut m, Msg::Watch(Watch::Agents { agents: vec![agent("a", State::Idle)] }));
    assert_eq!(e, [Effect::Runtimes]);
    assert_eq!(press(&mut m, &["enter"]), [Effect::Open { session: "s-a".into(), after: None }]);
}

#[test]
fn what_needs_a_person_is_on_top() {
    let m = with(vec![
        agent("done", State::Completed),
        agent("idle", State::Idle),
        agent("run", State::Running),
        agent("failed", State::Failed),
        asking(agent("ask", State::Waiting), "p", "ls"),
    ]);
    let rows: Vec<&str> = m
        .list
        .rows()
        .iter()
        .map(|r| match r {
            Row::Heading(g, _) => g.title(),
            Row::Agent(s) => s.as_str(),
        })
        .collect();
    assert_eq!(
        rows,
        ["needs you", "s-ask", "s-failed", "working", "s-run", "idle", "s-idle", "done", "s-done"]
    );
    assert_eq!(selected(&m), "ask");
}

#[test]
fn the_selection_stays_on_its_agent() {
    let mut m = with(vec![agent("a", State::Idle), agent("b", State::Idle), agent("c", State::Idle)]);
    press(&mut m, &["j"]);
    assert_eq!(selected(&m), "b");
    update(
        &mut m,
        Msg::Watch(Watch::Agent { agent: Box::new(asking(agent("b", State::Waiting), "p", "x")) }),
    );
    assert_eq!(selected(&m), "b", "it moved to the top, and the selection with it");
    assert_eq!(m.list.selected_row(), Some(1));
    let all = ["c", "a", "b"].map(|n| agent(n, State::Idle)).to_vec();
    update(&mut m, Msg::Watch(Watch::Agents { agents: all }));
    assert_eq!(selected(&m), "b");
    update(&mut m, Msg::Watch(Watch::Gone { name: "b".parse().unwrap(), session: "s-b".into() }));
    assert_eq!(selected(&m), "c", "its neighbour");
    update(&mut m, Msg::Watch(Watch::Agents { agents: vec![] }));
    assert_eq!(selected(&m), "");
    assert_eq!(m.focus, Focus::List);
}

#[test]
fn moving_opens_each_session_once_and_goes_on_where_it_was() {
    let mut m = with(vec![agent("a", State::Idle), agent("b", State::Idle)]);
    update(&mut m, Msg::Events { session: "s-a".into(), events: messages("a", 3) });
    assert_eq!(press(&mut m, &["j"]), [Effect::Open { session: "s-b".into(), after: None }]);
    let back = press(&mut m, &["up"]);
    assert_eq!(back, [Effect::Open { session: "s-a".into(), after: Some(3) }]);
    assert!(press(&mut m, &["up"]).is_empty(), "already at the top");
}

#[test]
fn kept_transcripts_are_bounded() {
    let names: Vec<String> = (0..20).map(|n| format!("a{n:02}")).collect();
    let mut m = with(names.iter().map(|n| agent(n, State::Idle)).collect());
    for _ in 0..20 {
        press(&mut m, &["j"]);
    }
    assert!(m.sessions.len() <= 4);
    assert_eq!(m.sessions.last().unwrap().id, "s-a19");
}

#[test]
fn enter_steers_a_stream_turn_and_says_otherwise() {
    let mut m = with(vec![agent("a", State::Running)]);
    press(&mut m, &["i"]);
    type_text(&mut m, "go qn:/");
    let e = press(&mut m, &["enter"]);
    let say = |steer| Effect::Say { name: "a".into(), session: "s-a".into(), text: "go qn:/".into(), steer };
    assert_eq!(e, [say(true)]);
    assert!(m.input.is_empty());

    for change in [0, 1, 2] {
        let mut a = agent("a", State::Running);
        match change {
            0 => a.mode = Mode::Batch,
            1 => a.runtime = "claude".into(),
            _ => a.state = State::Idle,
        }
        let mut m = with(vec![a]);
        press(&mut m, &["i"]);
        type_text(&mut m, "go qn:/");
        assert_eq!(press(&mut m, &["enter"]), [say(false)], "{change}");
    }
}

#[test]
fn an_unknown_capability_is_no_capability() {
    let mut a = agent("a", State::Running);
    a.runtime = "other".into();
    let m = with(vec![a.clone()]);
    assert!(matches!(m.route(&a), crate::tui::model::Route::Say(why) if why.contains("not known")));
}

#[test]
fn results_are_said_as_they_are() {
    for (delivery, level, words) in [
        (Delivery::Queued, Level::Info, "queued"),
        (Delivery::Accepted, Level::Good, "accepted"),
        (Delivery::Rejected, Level::Bad, "refused"),
        (Delivery::Unconfirmed, Level::Bad, "not confirmed"),
    ] {
        let mut m = with(vec![agent("a", State::Running)]);
        let said = Said { message: "m".into(), delivery, reason: Some("because".into()) };
        update(
            &mut m,
            Msg::Said {
                name: "a".into(),
                session: "s-a".into(),
                text: "t".into(),
                steer: false,
                result: Ok(said),
            },
        );
        assert!(note(&m).contains(words) && note(&m).contains("because"), "{}", note(&m));
        assert_eq!(m.note.as_ref().unwrap().level, level);
        assert_eq!(m.input.is_empty(), delivery != Delivery::Rejected);
    }
}

#[test]
fn a_text_that_did_not_go_out_comes_back() {
    let mut m = with(vec![agent("a", State::Idle), agent("b", State::Idle)]);
    let lost = |s: &str, text: &str| Msg::Said {
        name: s.into(),
        session: format!("s-{s}"),
        text: text.into(),
        steer: false,
        result: Err(failure(Code::Conflict, "no")),
    };
    update(&mut m, lost("a", "mine"));
    assert_eq!(m.input.lines(), ["mine"]);
    update(&mut m, lost("a", "other"));
    assert_eq!(m.input.lines(), ["mine"], "what is being typed is not overwritten");
    update(&mut m, lost("b", "for b"));
    press(&mut m, &["j"]);
    assert_eq!(m.input.lines(), ["for b"]);
    press(&mut m, &["k"]);
    assert_eq!(m.input.lines(), ["mine"], "each agent has its own draft");
}

#[test]
fn approve_and_deny_answer_the_first_request() {
    let mut m = with(vec![asking(agent("a", State::Waiting), "p1", "ls")]);
    let Effect::Answer { name, answer } = &press(&mut m, &["a"])[0] else { panic!() };
    assert_eq!(
        (name.as_str(), answer.approval.as_deref(), answer.decision),
        ("a", Some("p1"), Decision::Approved)
    );
    let Effect::Answer { answer, .. } = &press(&mut m, &["x"])[0] else { panic!() };
    assert_eq!(answer.decision, Decision::Denied);
    let mut m = with(vec![agent("a", State::Running)]);
    assert!(press(&mut m, &["a", "x"]).is_empty());
    assert!(note(&m).contains("nothing waits"));
}

#[test]
fn questions_are_answered_by_the_input() {
    let mut a = asking(agent("a", State::Waiting), "q1", "");
    a.pending_approvals[0].questions = Some(serde_json::json!([{"id": "db"}, {"id": "port"}]));
    let mut m = with(vec![a]);
    assert!(press(&mut m, &["a"]).is_empty(), "yes alone is no answer");
    assert_eq!(m.focus, Focus::Input);
    type_text(&mut m, "postgres");
    press(&mut m, &["alt-enter"]);
    type_text(&mut m, "5432");
    let Effect::Answer { answer, .. } = &press(&mut m, &["enter"])[0] else { panic!() };
    assert_eq!(answer.approval.as_deref(), Some("q1"));
    assert_eq!(answer.answers, Some(serde_json::json!({"db": "postgres", "port": "5432"})));
}

#[test]
fn what_cannot_be_undone_asks_first() {
    for (key, word, effect) in [
        ("ctrl-x", "ending", Effect::Abort { name: "a".into() }),
        ("ctrl-k", "killing", Effect::Kill { name: "a".into(), force: false }),
        ("m", "merging", Effect::Merge { name: "a".into() }),
    ] {
        let mut m = with(vec![agent("a", State::Running)]);
        assert!(press(&mut m, &[key]).is_empty());
        assert!(matches!(m.overlay, Some(Overlay::Confirm(_))), "{key}");
        assert!(press(&mut m, &["enter"]).is_empty(), "enter is no yes");
        assert!(m.overlay.is_none());
        assert_eq!(press(&mut m, &[key, "y"]), [effect]);
        assert!(note(&m).contains(word));
    }
    let mut m = with(vec![agent("a", State::Idle)]);
    press(&mut m, &["ctrl-x"]);
    assert!(m.overlay.is_none() && note(&m).contains("no turn runs"));
}

#[test]
fn a_refused_kill_offers_force() {
    let mut m = with(vec![agent("a", State::Idle)]);
    let e = failure(Code::Conflict, "3 commits are not merged");
    update(&mut m, Msg::Killed { name: "a".into(), result: Err(e) });
    assert!(note(&m).contains("3 commits") && note(&m).contains(":kill! a"), "{}", note(&m));
    press(&mut m, &[":"]);
    type_text(&mut m, "kill! a");
    press(&mut m, &["enter"]);
    assert_eq!(press(&mut m, &["y"]), [Effect::Kill { name: "a".into(), force: true }]);
}

#[test]
fn commands_do_what_the_keys_do() {
    let run = |line: &str| {
        let mut m = with(vec![asking(agent("a", State::Running), "p1", "ls")]);
        press(&mut m, &[":"]);
        type_text(&mut m, line);
        let e = press(&mut m, &["enter"]);
        (e, m)
    };
    assert_eq!(run("q").0, [Effect::Quit]);
    assert!(
        matches!(&run("say hi there").0[..], [Effect::Say { text, steer: false, .. }] if text == "hi there")
    );
    assert!(matches!(&run("steer hi").0[..], [Effect::Say { steer: true, .. }]));
    assert!(
        matches!(&run("approve").0[..], [Effect::Answer { answer, .. }] if answer.approval.as_deref() == Some("p1"))
    );
    assert!(
        matches!(&run("deny p9").0[..], [Effect::Answer { answer, .. }] if answer.approval.as_deref() == Some("p9"))
    );
    assert_eq!(run("diff").0, [Effect::Diff { name: "a".into() }]);
    assert!(matches!(run("abort").1.overlay, Some(Overlay::Confirm(_))));
    assert!(matches!(run("merge a").1.overlay, Some(Overlay::Confirm(_))));
    assert_eq!(run("runtimes").0, [Effect::Runtimes]);
    assert_eq!(run("theme mono").1.theme, Theme::mono());
    assert!(
        matches!(&run("spawn b --runtime codex do it").0[..], [Effect::Spawn(s)] if s.contract.as_deref() == Some("do it"))
    );
    for (bad, says) in [
        ("kil", "did you mean :kill"),
        ("theme x", "default, mono"),
        ("diff nobody", "nobody"),
        ("say", "usage"),
    ] {
        let (e, m) = run(bad);
        assert!(e.is_empty() && note(&m).contains(says), "{bad}: {}", note(&m));
    }
}

#[test]
fn commands_have_history_and_completion() {
    let mut m = with(vec![agent("alpha", State::Idle), agent("beta", State::Idle)]);
    for line in ["theme mono", "theme default"] {
        press(&mut m, &[":"]);
        type_text(&mut m, line);
        press(&mut m, &["enter"]);
    }
    press(&mut m, &[":", "up", "up"]);
    assert_eq!(m.prompt.as_ref().unwrap().text(), "theme mono");
    press(&mut m, &["down", "down"]);
    assert_eq!(m.prompt.as_ref().unwrap().text(), "");
    type_text(&mut m, "mer");
    press(&mut m, &["tab"]);
    type_text(&mut m, " be");
    press(&mut m, &["tab"]);
    assert_eq!(m.prompt.as_ref().unwrap().text(), "merge beta");
}

#[test]
fn the_filter_narrows_and_escape_widens() {
    let mut m = with(vec![agent("login", State::Idle), agent("docs", State::Running)]);
    press(&mut m, &["/"]);
    type_text(&mut m, "lgn");
    assert_eq!(m.list.rows().len(), 2);
    assert_eq!(selected(&m), "login");
    press(&mut m, &["esc"]);
    assert_eq!(m.list.rows().len(), 4);
    press(&mut m, &["/"]);
    type_text(&mut m, "docs");
    press(&mut m, &["enter"]);
    assert_eq!(m.list.filter(), "docs");
    press(&mut m, &["esc"]);
    assert_eq!(m.list.filter(), "");
}

#[test]
fn pasted_text_is_never_a_key() {
    let mut m = with(vec![agent("a", State::Idle)]);
    let e = update(&mut m, Msg::Paste("q\r\n:kill! a\r\ny\x1b[A\x07".into()));
    assert!(e.is_empty());
    assert_eq!(m.focus, Focus::Input);
    assert_eq!(m.input.lines(), ["q", ":kill! a", "y[A"]);
    assert!(m.overlay.is_none());
}

#[test]
fn the_form_starts_an_agent_or_says_why_not() {
    let mut m = with(vec![]);
    assert_eq!(press(&mut m, &["s"]), [Effect::Runtimes]);
    assert!(press(&mut m, &["ctrl-s"]).is_empty());
    let problem = |m: &Model| match &m.overlay {
        Some(Overlay::Spawn(f)) => f.problem.clone().unwrap_or_default(),
        _ => "closed".into(),
    };
    assert!(problem(&m).contains("name"));
    type_text(&mut m, "fix-it");
    press(&mut m, &["tab", "right", "right", "tab", "left", "tab", "right", "tab"]);
    type_text(&mut m, "line one");
    press(&mut m, &["enter"]);
    type_text(&mut m, "q");
    press(&mut m, &["tab"]);
    type_text(&mut m, "trunk");
    press(&mut m, &["tab", "right", "tab"]);
    let e = press(&mut m, &["enter", "enter"]);
    let [Effect::Spawn(s)] = &e[..] else { panic!("{e:?}") };
    assert_eq!(
        (s.name.as_str(), s.runtime.as_deref(), s.mode),
        ("fix-it", Some("claude"), Some(Mode::Stream))
    );
    assert_eq!((s.base.as_deref(), s.backend.as_deref()), (Some("trunk"), Some("local")));
    assert_eq!(s.tier, Some(fracta::control::wire::Tier::Heavy));
    assert_eq!(s.contract.as_deref(), Some("line one\nq"));
    update(&mut m, Msg::Spawned { name: "fix-it".into(), result: Err(failure(Code::Conflict, "taken")) });
    assert_eq!(problem(&m), "taken");
    let new = Box::new(agent("fix-it", State::Starting));
    let e = update(&mut m, Msg::Spawned { name: "fix-it".into(), result: Ok(new) });
    assert!(m.overlay.is_none() && selected(&m) == "fix-it");
    assert_eq!(e, [Effect::Open { session: "s-fix-it".into(), after: None }]);
}

#[test]
fn seen_is_said_only_at_the_end_and_once() {
    let mut a = agent("a", State::Running);
    (a.unread, a.last_seq) = (3, 3);
    let mut m = with(vec![a]);
    let events = |n: u64| Msg::Events { session: "s-a".into(), events: messages("a", n) };
    assert_eq!(update(&mut m, events(3)), [Effect::Seen { session: "s-a".into(), seq: 3 }]);
    assert!(update(&mut m, events(3)).is_empty());
    update(&mut m, Msg::Focus(false));
    assert!(update(&mut m, events(4)).is_empty(), "nobody looks");
    assert_eq!(update(&mut m, Msg::Focus(true)), [Effect::Seen { session: "s-a".into(), seq: 4 }]);
}

#[test]
fn the_page_before_is_asked_for_once() {
    let mut m = with(vec![agent("a", State::Idle)]);
    let tail: Vec<_> = messages("a", 600).split_off(100);
    update(&mut m, Msg::Events { session: "s-a".into(), events: tail });
    update(&mut m, Msg::Live { session: "s-a".into() });
    press(&mut m, &["l"]);
    view::layout(&mut m);
    assert!(after_layout(&mut m).is_empty(), "at the end");
    press(&mut m, &["g"]);
    view::layout(&mut m);
    assert_eq!(after_layout(&mut m), [Effect::Earlier { session: "s-a".into(), before: 101 }]);
    assert!(after_layout(&mut m).is_empty(), "on its way");
    let page = messages("a", 100);
    update(&mut m, Msg::Earlier { session: "s-a".into(), events: Ok(page) });
    assert_eq!(m.shown().unwrap().transcript.first_seq(), Some(1));
    view::layout(&mut m);
    assert!(after_layout(&mut m).is_empty(), "there is nothing before 1");
}

#[test]
fn streams_break_for_one_session_only() {
    let mut m = with(vec![agent("a", State::Idle), agent("b", State::Idle)]);
    press(&mut m, &["j"]);
    update(&mut m, Msg::Live { session: "s-b".into() });
    update(&mut m, Msg::StreamLost { session: "s-a".into(), why: Some("x".into()), gone: false });
    assert_eq!(m.shown().unwrap().stream, Stream::Live);
    update(&mut m, Msg::StreamLost { session: "s-b".into(), why: None, gone: true });
    assert_eq!(m.shown().unwrap().stream, Stream::Gone);
    update(&mut m, Msg::LinkLost("gone away".into()));
    assert_eq!(m.link, Link::Lost("gone away".into()));
    assert_eq!(m.list.len(), 2, "what was known stays on the screen");
}

#[test]
fn notifications_only_when_nobody_looks() {
    let ask = || {
        let agent = Box::new(asking(agent("a", State::Waiting), "p", "ls"));
        Msg::Watch(Watch::Agent { agent })
    };
    let mut m = with(vec![agent("a", State::Running)]);
    m.notify = true;
    assert!(update(&mut m, ask()).is_empty());
    let mut m = with(vec![agent("a", State::Running)]);
    m.notify = true;
    update(&mut m, Msg::Focus(false));
    assert_eq!(update(&mut m, ask()), [Effect::Notify("a: run a command".into())]);
    assert!(update(&mut m, ask()).is_empty(), "not again for the same");
    let mut m = with(vec![agent("a", State::Running)]);
    update(&mut m, Msg::Focus(false));
    assert!(update(&mut m, ask()).is_empty(), "off by default");
}

#[test]
fn copying_says_what_was_really_done() {
    let mut m = with(vec![agent("a", State::Idle)]);
    assert!(press(&mut m, &["y"]).is_empty());
    update(&mut m, Msg::Events { session: "s-a".into(), events: messages("a", 1) });
    assert!(matches!(&press(&mut m, &["y"])[..], [Effect::Copy(_)]));
    assert!(note(&m).contains("sent to the terminal's clipboard"));
}

#[test]
fn leaving_and_areas() {
    let mut m = with(vec![agent("a", State::Idle)]);
    for (key, focus) in [
        ("tab", Focus::Session),
        ("tab", Focus::Input),
        ("tab", Focus::List),
        ("shift-tab", Focus::Input),
        ("esc", Focus::Session),
        ("esc", Focus::List),
        ("enter", Focus::Session),
        ("h", Focus::List),
    ] {
        press(&mut m, &[key]);
        assert_eq!(m.focus, focus, "{key}");
    }
    assert_eq!(press(&mut m, &["ctrl-z"]), [Effect::Suspend]);
    assert_eq!(press(&mut m, &["q"]), [Effect::Quit]);
    press(&mut m, &["f5"]);
    assert!(note(&m).contains("f5") && note(&m).contains('?'));
}
