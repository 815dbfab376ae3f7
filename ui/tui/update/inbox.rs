//! Keys in the list of all requests. They act on the request in focus, and on no other.

use fracta::control::wire::Answer;
use fracta::event::Decision;
use ratatui::crossterm::event::KeyCode;

use super::actions;
use crate::tui::inbox::{Inbox, choices};
use crate::tui::keymap::{Action, Key, Scope};
use crate::tui::model::{Focus, Level, Model};
use crate::tui::msg::Effect;
use crate::tui::overlay::Overlay;
use crate::tui::prompt::{Kind, Prompt};

pub fn open(model: &mut Model) -> Vec<Effect> {
    let mut inbox = Inbox::default();
    inbox.settle(&model.list);
    model.overlay = Some(Overlay::Inbox(inbox));
    vec![]
}

pub fn key(model: &mut Model, key: Key) -> Vec<Effect> {
    let page = isize::try_from(model.size.1 / 4).unwrap_or(1).max(1);
    let action = model.keys.lookup(Scope::Screen, key);
    let Some(Overlay::Inbox(inbox)) = &mut model.overlay else { return vec![] };
    inbox.settle(&model.list);
    match (action, key.code) {
        (Some(Action::Down), _) => inbox.step(&model.list, 1),
        (Some(Action::Up), _) => inbox.step(&model.list, -1),
        (Some(Action::PageDown), _) => inbox.step(&model.list, page),
        (Some(Action::PageUp), _) => inbox.step(&model.list, -page),
        (Some(Action::Top), _) => inbox.step(&model.list, isize::MIN),
        (Some(Action::Bottom), _) => inbox.step(&model.list, isize::MAX),
        (Some(Action::Approve), _) => return answer(model, Decision::Approved),
        (Some(Action::Deny), _) => return answer(model, Decision::Denied),
        (Some(Action::Input), _) | (_, KeyCode::Enter | KeyCode::Right) => return go(model),
        (Some(Action::Redraw), _) => return vec![Effect::Redraw],
        (Some(Action::Back | Action::Quit | Action::Inbox), _) => model.overlay = None,
        (Some(Action::Command), _) => model.prompt = Some(Prompt::new(Kind::Command, "")),
        (_, KeyCode::Char(c @ '1'..='9')) => return choose(model, c as usize - '1' as usize),
        _ => model.note(Level::Info, format!("{key} does nothing here; enter opens the request, esc closes")),
    }
    vec![]
}

/// The request in focus; where it waits no more, that is said and nothing is sent.
fn focused(model: &mut Model) -> Option<(String, String, fracta::session::state::PendingApproval)> {
    let Some(Overlay::Inbox(inbox)) = &model.overlay else { return None };
    if let Some((agent, request)) = inbox.waiting(&model.list) {
        return Some((agent.session.clone(), agent.name.to_string(), request.clone()));
    }
    let text = match &inbox.focus {
        Some(f) => {
            format!("{}: this request waits no more (answered, or its turn ended); nothing was sent", f.name)
        }
        None => "nothing waits for an answer".to_owned(),
    };
    model.note(Level::Bad, text);
    None
}

fn answer(model: &mut Model, decision: Decision) -> Vec<Effect> {
    let Some((_, name, request)) = focused(model) else { return vec![] };
    if request.questions.is_some() && decision == Decision::Approved {
        if choices(&request).is_empty() {
            return go(model);
        }
        model.note(Level::Info, "this is a question: choose by number, or enter to type the answer");
        return vec![];
    }
    send(model, name, Answer { approval: Some(request.id), decision, answers: None })
}

fn choose(model: &mut Model, n: usize) -> Vec<Effect> {
    let Some((_, name, request)) = focused(model) else { return vec![] };
    let Some(label) = choices(&request).into_iter().nth(n) else {
        model.note(Level::Info, format!("{name}: there is no choice {}", n + 1));
        return vec![];
    };
    let answers = Some(actions::answers(request.questions.as_ref(), &label));
    send(model, name, Answer { approval: Some(request.id), decision: Decision::Approved, answers })
}

fn send(model: &mut Model, name: String, answer: Answer) -> Vec<Effect> {
    model.note(Level::Info, format!("{name}: answering…"));
    vec![Effect::Answer { name, answer }]
}

/// To the session of the request: its card, or the input where it asks for words.
fn go(model: &mut Model) -> Vec<Effect> {
    let Some((session, name, request)) = focused(model) else { return vec![] };
    model.list.select(&session);
    model.overlay = None;
    model.focus = Focus::Session;
    model.wanted = Some((session, request.id.clone()));
    if request.questions.is_some() {
        model.focus = Focus::Input;
        model.answering = Some(request.id);
        model.note(Level::Info, format!("{name}: type the answers, one a line, and send them"));
    }
    vec![]
}

/// This screen's answer arrived.
pub fn answered(model: &mut Model, name: &str, id: &str, decision: Decision) {
    if let Some(Overlay::Inbox(inbox)) = &mut model.overlay
        && let Some(f) = inbox.focus.as_mut().filter(|f| f.name == name && f.id == id)
    {
        f.outcome = Some(if decision == Decision::Approved { "approved" } else { "denied" });
    }
}

#[cfg(test)]
mod tests {
    use fracta::control::wire::{Agent, Answered, Code, Watch};
    use fracta::session::state::State;
    use serde_json::json;

    use super::super::tests::{failure, note, press, selected, with};
    use super::super::update;
    use super::*;
    use crate::tui::msg::Msg;
    use crate::tui::testing::{agent, asking};

    fn two() -> Model {
        let a = asking(asking(agent("a", State::Waiting), "a1", "rm one"), "a2", "rm two");
        let mut b = asking(agent("b", State::Waiting), "b1", "ls");
        // Asked before all others.
        b.pending_approvals[0].since = Some("2026-11-22T14:00:00Z".parse().unwrap());
        with(vec![a, b, agent("c", State::Idle)])
    }

    fn put(m: &mut Model, a: Agent) {
        update(m, Msg::Watch(Watch::Agent { agent: Box::new(a) }));
    }

    fn approve(name: &str, id: &str, decision: Decision) -> Effect {
        let answer = Answer { approval: Some(id.into()), decision, answers: None };
        Effect::Answer { name: name.into(), answer }
    }

    #[test]
    fn keys_answer_the_request_in_focus_and_no_other() {
        let mut m = two();
        assert_eq!(m.list.requests(), 3);
        assert_eq!(press(&mut m, &["A", "a"]), [approve("b", "b1", Decision::Approved)]);
        assert_eq!(press(&mut m, &["j", "j", "x"]), [approve("a", "a2", Decision::Denied)]);
        assert_eq!(press(&mut m, &["k", "a"]), [approve("a", "a1", Decision::Approved)]);
        // No other key of the screen acts on anything from here.
        assert_eq!(press(&mut m, &["ctrl-k", "m", "d", "s"]), []);
        assert!(matches!(m.overlay, Some(Overlay::Inbox(_))));
    }

    #[test]
    fn what_waits_no_more_is_said_and_the_next_one_is_left_alone() {
        let mut m = two();
        press(&mut m, &["A"]);
        put(&mut m, agent("b", State::Running));
        assert_eq!(press(&mut m, &["a"]), [], "answered elsewhere: the key falls on nothing");
        assert!(note(&m).contains("b: this request waits no more"), "{}", note(&m));
        assert_eq!(press(&mut m, &["j", "a"]), [approve("a", "a1", Decision::Approved)]);
        // Once left it is out of the list.
        let Some(Overlay::Inbox(inbox)) = &m.overlay else { panic!() };
        assert_eq!(inbox.entries(&m.list).len(), 2);

        // The server knows better than a list that is a moment old.
        let result = Err(failure(Code::NotFound, "a waits for no approval a1 (answered or withdrawn?)"));
        update(&mut m, Msg::Answered { name: "a".into(), decision: Decision::Approved, result });
        assert!(note(&m).contains("not answered: a waits for no approval a1"), "{}", note(&m));
    }

    #[test]
    fn its_own_answer_stays_in_sight_until_the_focus_moves() {
        let mut m = two();
        press(&mut m, &["A", "a"]);
        let result = Ok(Answered { approval: "b1".into(), decision: Decision::Approved });
        update(&mut m, Msg::Answered { name: "b".into(), decision: Decision::Approved, result });
        put(&mut m, agent("b", State::Running));
        let Some(Overlay::Inbox(inbox)) = &m.overlay else { panic!() };
        assert_eq!(inbox.focus.as_ref().unwrap().outcome, Some("approved"));
        assert_eq!(press(&mut m, &["a"]), [], "pressed twice, it answers nothing else");
        // A new request moves nothing under the key.
        put(&mut m, asking(agent("c", State::Waiting), "c1", "new"));
        assert_eq!(press(&mut m, &["a"]), []);
    }

    #[test]
    fn questions_are_answered_by_a_number_or_in_words() {
        let mut a = asking(agent("a", State::Waiting), "q1", "");
        a.pending_approvals[0].questions = Some(json!({"questions": [
            {"question": "Which?", "options": [{"label": "Left"}, {"label": "Right"}]}
        ]}));
        let mut other = a.pending_approvals[0].clone();
        other.id = "q2".into();
        other.questions = Some(json!([{"id": "why", "question": "Why?"}]));
        a.pending_approvals.push(other);
        let mut m = with(vec![a]);
        assert_eq!(press(&mut m, &["A", "a"]), [], "a question is no yes or no");
        assert!(note(&m).contains("choose by number"), "{}", note(&m));
        assert_eq!(press(&mut m, &["3"]), []);
        assert!(note(&m).contains("no choice 3"), "{}", note(&m));
        let sent = press(&mut m, &["2"]);
        let answer = |id: &str, answers| Answer {
            approval: Some(id.into()),
            decision: Decision::Approved,
            answers: Some(answers),
        };
        assert_eq!(sent, [Effect::Answer { name: "a".into(), answer: answer("q1", json!({"0": "Right"})) }]);
        // The other has no choices: enter leads to the input, which answers that one.
        press(&mut m, &["j", "enter"]);
        assert_eq!((m.focus, m.overlay.is_none()), (Focus::Input, true));
        let sent = press(&mut m, &["o", "k", "enter"]);
        assert_eq!(sent, [Effect::Answer { name: "a".into(), answer: answer("q2", json!({"why": "ok"})) }]);
    }

    #[test]
    fn enter_goes_to_the_card() {
        let mut m = two();
        press(&mut m, &["A", "j", "enter"]);
        assert_eq!((selected(&m), m.focus, m.overlay.is_none()), ("a", Focus::Session, true));
        assert_eq!(m.wanted, Some(("s-a".into(), "a1".into())), "until the card is there");
        let body = fracta::event::Body::ApprovalRequested {
            approval: "a1".into(),
            what: "run".into(),
            command: None,
            cwd: None,
            diff: None,
            questions: None,
        };
        let events = vec![crate::tui::testing::event("a", 1, body)];
        update(&mut m, Msg::Events { session: "s-a".into(), events });
        assert_eq!((m.wanted.as_ref(), m.shown().unwrap().transcript.focused_approval()), (None, Some("a1")));
    }

    #[test]
    fn nothing_waits() {
        let mut m = with(vec![agent("a", State::Idle)]);
        assert_eq!(press(&mut m, &["A", "a", "j", "1", "enter"]), []);
        assert!(note(&m).contains("nothing waits"), "{}", note(&m));
        press(&mut m, &["esc"]);
        assert!(m.overlay.is_none());
    }

    #[test]
    fn a_spawn_that_the_runtime_cannot_do_is_refused_before_it_is_sent() {
        let mut m = with(vec![]);
        let problem = |m: &Model| match &m.overlay {
            Some(Overlay::Spawn(f)) => f.problem.clone().unwrap_or_default(),
            _ => "closed".into(),
        };
        let mut all = m.runtimes.clone().unwrap();
        all[0].capabilities.as_mut().unwrap().stream = false;
        all[1].path = None;
        update(&mut m, Msg::Runtimes(Ok(all)));
        press(&mut m, &["s", "x", "tab", "tab", "right", "right"]);
        assert_eq!(press(&mut m, &["ctrl-s"]), []);
        assert_eq!(problem(&m), "codex has no stream mode; choose batch");
        press(&mut m, &["shift-tab", "right", "right"]);
        assert_eq!(press(&mut m, &["ctrl-s"]), []);
        assert_eq!(problem(&m), "claude is not installed; install it: npm install claude");
    }

    #[test]
    fn keys_before_anything_is_read_say_why_they_do_nothing() {
        let mut m = with(vec![agent("a", State::Idle)]);
        for key in ["]", "z", "space", "k", "y"] {
            press(&mut m, &["enter"]);
            m.focus = Focus::Session;
            press(&mut m, &[key]);
            assert!(note(&m).contains("still being read"), "{key}: {}", note(&m));
        }
        update(&mut m, Msg::Live { session: "s-a".into() });
        press(&mut m, &["]"]);
        assert!(!note(&m).contains("still being read"));
    }
}
