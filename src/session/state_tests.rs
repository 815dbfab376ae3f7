use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{Decision, arbitrary};

/// Folds bodies of the turn `t`.
fn fold(bodies: impl IntoIterator<Item = Body>) -> SessionState {
    let mut s = SessionState::default();
    for body in bodies {
        let seq = s.last_seq + 1;
        s.apply(&event(seq, Some("t"), body));
    }
    s
}

fn event(seq: u64, turn: Option<&str>, body: Body) -> Event {
    let ts = jiff::Timestamp::from_second(seq as i64).unwrap();
    Event { seq, ts, agent: "a".into(), session: "s".into(), turn: turn.map(str::to_owned), raw: None, body }
}

fn started() -> Body {
    Body::SessionStarted { runtime: "codex".into(), model: Some("m".into()), resume_token: Some("k".into()) }
}

fn wants(id: &str) -> Body {
    Body::ApprovalRequested {
        approval: id.into(),
        what: "run rm".into(),
        command: Some("rm -r x".into()),
        cwd: None,
        diff: None,
        questions: Some(json!([1])),
    }
}

fn answered(id: &str) -> Body {
    Body::ApprovalResolved { approval: id.into(), decision: Decision::Approved, by: "person".into() }
}

fn completed(outcome: Outcome, error: Option<&str>) -> Body {
    Body::TurnCompleted { outcome, error: error.map(str::to_owned) }
}

fn delta(text: &str) -> Body {
    Body::MessageDelta { item: "m".into(), role: Role::Assistant, text: text.into() }
}

fn command(text: &str) -> Body {
    Body::CommandStarted { item: "c".into(), command: text.into(), cwd: None }
}

#[test]
fn a_turn_from_start_to_end() {
    let s = fold([started()]);
    assert_eq!((s.state, s.runtime.as_deref(), s.model.as_deref()), (State::Idle, Some("codex"), Some("m")));
    assert_eq!(s.resume_token.as_deref(), Some("k"));
    let s = fold([started(), Body::TurnStarted {}]);
    assert_eq!((s.state, s.turn.as_deref(), s.turns), (State::Running, Some("t"), 1));
    assert_eq!(s.turn_started_at.unwrap().as_second(), 2);
    let s = fold([started(), Body::TurnStarted {}, completed(Outcome::Interrupted, None)]);
    assert_eq!((s.state, s.turn, s.reason), (State::Idle, None, None));
}

#[test]
fn a_session_that_starts_in_a_turn_goes_on_running() {
    let s = fold([Body::TurnStarted {}, started()]);
    assert_eq!((s.state, s.runtime.as_deref()), (State::Running, Some("codex")));
}

#[test]
fn a_failed_turn_is_seen_until_the_next() {
    let failed = [started(), Body::TurnStarted {}, completed(Outcome::Failed, Some("no credit"))];
    let s = fold(failed.clone());
    assert_eq!(
        (s.state, s.reason.as_deref(), s.activity.as_str()),
        (State::Failed, Some("no credit"), "no credit")
    );
    let s = fold(failed.into_iter().chain([Body::TurnStarted {}]));
    assert_eq!((s.state, s.reason, s.turns), (State::Running, None, 2));
}

#[test]
fn approvals_make_a_turn_wait() {
    let mut all = vec![started(), Body::TurnStarted {}, wants("1"), wants("2"), wants("1")];
    let s = fold(all.clone());
    assert_eq!((s.state, s.pending.len(), s.activity.as_str()), (State::Waiting, 2, "wants: run rm"));
    assert_eq!((s.pending[0].id.as_str(), s.pending[0].questions.clone()), ("1", Some(json!([1]))));
    all.push(answered("1"));
    assert_eq!(fold(all.clone()).state, State::Waiting);
    all.push(answered("2"));
    assert_eq!(fold(all.clone()).state, State::Running);
    all.extend([wants("3"), completed(Outcome::Completed, None)]);
    let s = fold(all);
    assert_eq!((s.state, s.pending.len()), (State::Idle, 0));
}

#[test]
fn an_approval_outside_of_a_turn_is_kept_but_nothing_waits() {
    let s = fold([started(), wants("1")]);
    assert_eq!((s.state, s.pending.len()), (State::Idle, 1));
    let s = fold([started(), wants("1"), answered("1")]);
    assert_eq!((s.state, s.pending.len()), (State::Idle, 0));
}

#[test]
fn too_many_approvals_are_counted_as_gaps() {
    let s = fold([Body::TurnStarted {}].into_iter().chain((0..150).map(|i| wants(&i.to_string()))));
    assert_eq!((s.pending.len(), s.gaps), (100, 50));
}

#[test]
fn the_end_of_the_process_is_the_last_word() {
    let end = |state| Body::SessionEnded { state, reason: Some("exit code 2".into()) };
    let s = fold([Body::TurnStarted {}, wants("1"), end(State::Failed)]);
    assert_eq!((s.state, s.reason.as_deref()), (State::Failed, Some("exit code 2")));
    assert_eq!((s.turn, s.pending.len()), (None, 0));
    let s = fold([end(State::Stopped), completed(Outcome::Completed, None)]);
    assert_eq!(s.state, State::Stopped, "a late end of a turn makes nothing alive");
    assert_eq!(fold([end(State::Waiting)]).state, State::Unknown, "no turn runs in a process that is gone");
    assert_eq!(fold([end(State::Completed), started()]).state, State::Idle);
}

#[test]
fn the_end_of_another_turn_does_not_end_this_one() {
    let mut s = fold([started(), Body::TurnStarted {}]);
    s.apply(&event(3, Some("old"), completed(Outcome::Completed, None)));
    assert_eq!(s.state, State::Running);
    s.apply(&event(4, None, completed(Outcome::Completed, None)));
    assert_eq!(s.state, State::Idle);
}

#[test]
fn usage_adds_or_replaces() {
    let usage = |n, cost_usd, total| {
        Body::Usage(Usage { input_tokens: n, cached_tokens: 1, output_tokens: u64::MAX, cost_usd, total })
    };
    let s = fold([usage(5, Some(0.5), false), usage(6, Some(0.25), false), usage(1, None, false)]);
    assert_eq!((s.usage.input_tokens, s.usage.cached_tokens, s.usage.output_tokens), (12, 3, u64::MAX));
    assert_eq!(s.usage.cost_usd, Some(0.75));
    let s = fold([usage(5, Some(0.5), false), usage(9, None, true), usage(1, None, false)]);
    assert_eq!((s.usage.input_tokens, s.usage.cost_usd), (10, Some(0.5)));
}

#[test]
fn plan_step_and_gaps_are_kept() {
    let plan = Plan { steps: vec![PlanStep { text: "x".into(), status: crate::event::PlanStatus::Pending }] };
    let facts = [
        Body::PlanUpdated(plan.clone()),
        Body::Step { n: 2, limit: 9 },
        Body::Gap { text: "g".into() },
        Body::Raw { text: "r".into() },
    ];
    let s = fold(facts);
    assert_eq!((s.plan, s.step, s.gaps), (Some(plan), Some((2, 9)), 2));
    assert_eq!(fold([Body::Step { n: 2, limit: 9 }, Body::TurnStarted {}]).step, None);
}

#[test]
fn the_activity_is_the_last_line_being_written() {
    let shown = |deltas: &[&str]| fold(deltas.iter().map(|d| delta(d))).activity;
    assert_eq!(shown(&["Hel", "lo ", "you"]), "Hello you");
    assert_eq!(shown(&["one\ntw", "o"]), "two");
    assert_eq!(shown(&["one", " more\n"]), "one more");
    assert_eq!(shown(&["one", " more\n\n \n"]), "one more");
    assert_eq!(shown(&["one", " more\n\nlast\n"]), "last");
    assert_eq!(shown(&["one\n", "  ", "two"]), "two");
    assert_eq!(shown(&["one\n", "\n", "two"]), "two");
    assert_eq!(shown(&["a\x1b[31mb\u{202e}\tc"]), "a[31mb c");
    assert_eq!(shown(&[&"ü".repeat(500), "x"]), "ü".repeat(200));
}

#[test]
fn the_activity_follows_what_is_done() {
    let mut all = vec![Body::TurnStarted {}, delta("I will look\n"), command("\ncargo test\n--all")];
    assert_eq!(fold(all.clone()).activity, "$ cargo test");
    all.push(delta("Fine"));
    assert_eq!(fold(all.clone()).activity, "Fine");
    all.push(Body::ReasoningDelta { item: "r".into(), text: "hm".into() });
    assert_eq!(fold(all.clone()).activity, "thinking");
    all.push(Body::ToolStarted { item: "i".into(), name: "grep".into(), input: json!({}) });
    assert_eq!(fold(all.clone()).activity, "grep");
    all.push(completed(Outcome::Completed, None));
    assert_eq!(fold(all.clone()).activity, "Fine", "at the end: the last thing it said");
    all.push(Body::MessageCompleted { item: "m".into(), role: Role::User, text: "not the agent".into() });
    assert_eq!(fold(all).activity, "Fine");
}

#[test]
fn two_messages_at_once_do_not_mix() {
    let other = Body::MessageDelta { item: "n".into(), role: Role::Assistant, text: "B".into() };
    assert_eq!(fold([delta("A"), other]).activity, "B");
    let whole = Body::MessageCompleted { item: "m".into(), role: Role::Assistant, text: "x\ny\n\n".into() };
    assert_eq!(fold([delta("x\n"), whole]).activity, "y");
}

fn size(s: &SessionState) -> usize {
    serde_json::to_vec(s).unwrap().len()
}

#[test]
fn the_state_stays_small_whatever_is_said() {
    let huge = "h".repeat(1 << 20);
    let plan =
        Plan { steps: vec![PlanStep { text: huge.clone(), status: crate::event::PlanStatus::Pending }; 300] };
    let mut all = vec![
        Body::SessionStarted {
            runtime: huge.clone(),
            model: Some(huge.clone()),
            resume_token: Some(huge.clone()),
        },
        Body::TurnStarted {},
        Body::PlanUpdated(plan),
        delta(&huge),
        wants(&huge),
    ];
    let ask = Body::ApprovalRequested {
        approval: "1".into(),
        what: huge.clone(),
        command: Some(huge.clone()),
        cwd: Some(huge.clone()),
        diff: Some(huge.clone()),
        questions: Some(json!([huge])),
    };
    all.push(ask);
    let s = fold(all);
    assert_eq!((s.resume_token.clone(), s.pending.len(), s.gaps), (None, 1, 1));
    assert!(size(&s) < 2 << 20, "{}", size(&s));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_events_in_any_order_keep_the_promises(
        events in proptest::collection::vec((arbitrary::body(), proptest::option::of("[xy]"), 0u64..300), 0..120),
    ) {
        let mut s = SessionState::default();
        for (body, turn, seq) in events {
            let before = s.last_seq;
            s.apply(&event(seq, turn.as_deref(), body));
            prop_assert!(s.last_seq >= before);
            prop_assert_eq!(s.state == State::Waiting, s.turn.is_some() && !s.pending.is_empty());
            prop_assert_eq!(s.state.in_turn(), s.turn.is_some());
            prop_assert!(s.pending.len() <= MAX_PENDING);
            prop_assert!(s.activity.chars().count() <= MAX_ACTIVITY + 7);
            prop_assert!(!s.activity.chars().any(is_unseen), "{:?}", s.activity);
        }
    }

    #[test]
    fn a_replay_that_overlaps_changes_nothing_and_a_copy_goes_on_alike(
        bodies in proptest::collection::vec(arbitrary::body(), 1..60), at in 0usize..60,
    ) {
        let events: Vec<_> = (1..).zip(bodies).map(|(seq, b)| event(seq, Some("t"), b)).collect();
        let mut whole = SessionState::default();
        events.iter().for_each(|e| whole.apply(e));
        // A client gets the state at some point and then events, some of them twice.
        let mut part = SessionState::default();
        events.iter().take(at).for_each(|e| part.apply(e));
        let mut copy: SessionState = serde_json::from_slice(&serde_json::to_vec(&part).unwrap()).unwrap();
        events.iter().skip(at / 2).for_each(|e| copy.apply(e));
        prop_assert_eq!(copy, whole);
    }

    /// Cut into deltas in any way, a message ends with the same activity.
    #[test]
    fn deltas_may_be_cut_anywhere(text in "[ab \n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..8)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let parts = fold(cuts.windows(2).map(|w| delta(&text[w[0]..w[1]])));
        let whole = last_line(&text).map(|(_, l)| l.trim_start().to_owned()).unwrap_or_default();
        prop_assert_eq!(parts.activity.trim_end(), whole.trim_end());
    }
}
