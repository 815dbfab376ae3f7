use super::*;
use crate::event::{Decision, Role};
use crate::runtime::{CliInfo, Mode, Permissions};

const SES: &str = "ses_a";

fn stream(permissions: Permissions, limit: u32) -> Stream {
    Stream::new(&SessionSpec {
        runtime: "opencode".into(),
        command: vec!["opencode".into()],
        cli: CliInfo::default(),
        mode: Mode::Stream,
        model: Some("p/m/x".into()),
        permissions,
        cwd: "/w".into(),
        resume_token: None,
        run: 1,
        step_limit: limit,
    })
}

fn feed(s: &mut Stream, lines: &[Value]) -> Output {
    let mut out = Output::default();
    for v in lines {
        // The member `fracta` stands first in what the link writes.
        let line = match v.get("fracta") {
            Some(kind) => {
                let mut rest = v.clone();
                rest.as_object_mut().unwrap().remove("fracta");
                format!("{{\"fracta\":{kind},{}", rest.to_string().trim_start_matches('{'))
            }
            None => v.to_string(),
        };
        s.input(Input::Message(line.as_bytes()), &mut out);
    }
    out
}

fn http(id: &str, status: u16, body: Value) -> Value {
    json!({"fracta": "http", "id": id, "status": status, "body": body})
}

fn event(kind: &str, properties: Value) -> Value {
    json!({"type": kind, "properties": properties})
}

fn message(id: &str, role: &str, done: bool) -> Value {
    let time = if done { json!({"created": 1, "completed": 2}) } else { json!({"created": 1}) };
    event("message.updated", json!({"info": {"id": id, "sessionID": SES, "role": role, "time": time}}))
}

fn part(message: &str, mut part: Value) -> Value {
    part["messageID"] = json!(message);
    if part.get("sessionID").is_none() {
        part["sessionID"] = json!(SES);
    }
    event("message.part.updated", json!({"part": part}))
}

fn text_part(id: &str, text: &str, over: bool) -> Value {
    let time = if over { json!({"start": 1, "end": 2}) } else { json!({"start": 1}) };
    part("msg_2", json!({"id": id, "type": "text", "text": text, "time": time}))
}

fn delta(id: &str, text: &str) -> Value {
    event("message.part.delta", json!({"sessionID": SES, "partID": id, "field": "text", "delta": text}))
}

fn status(word: &str) -> Value {
    event("session.status", json!({"sessionID": SES, "status": {"type": word}}))
}

fn connected() -> Value {
    json!({"fracta": "connected", "n": 1})
}

/// Everything up to a turn in which the model writes.
fn opening() -> Vec<Value> {
    let user = json!({"id": "prt_m-1", "type": "text", "text": "hello"});
    vec![
        connected(),
        http("create", 200, json!({"id": SES})),
        http("prompt#m-1", 204, json!("")),
        message("msg_1", "user", false),
        part("msg_1", user),
        status("busy"),
        message("msg_2", "assistant", false),
    ]
}

fn running() -> Stream {
    let mut s = stream(Permissions::Ask, 0);
    let out = feed(&mut s, &opening());
    assert_eq!(out.deliveries, [("m-1".to_owned(), Ok(()))]);
    assert!(s.ready() && s.turn.is_some());
    s
}

fn said(out: &Output) -> (String, Vec<String>) {
    let mut streamed = String::new();
    let mut whole = Vec::new();
    for f in &out.facts {
        match &f.body {
            Body::MessageDelta { text, .. } => streamed.push_str(text),
            Body::MessageCompleted { text, role: Role::Assistant, .. } => whole.push(text.clone()),
            _ => {}
        }
    }
    (streamed, whole)
}

fn end(out: &Output) -> Option<(Outcome, Option<String>)> {
    out.facts.iter().find_map(|f| match &f.body {
        Body::TurnCompleted { outcome, error } => Some((*outcome, error.clone())),
        _ => None,
    })
}

#[test]
fn either_way_of_streaming_tells_each_piece_once() {
    let pieces =
        [text_part("a", "", false), delta("a", "one "), delta("a", "two"), text_part("a", "one two", true)];
    let sofar =
        [text_part("a", "one ", false), text_part("a", "one two", false), text_part("a", "one two", true)];
    for form in [&pieces[..], &sofar[..]] {
        let out = feed(&mut running(), form);
        assert_eq!(said(&out), ("one two".to_owned(), vec!["one two".to_owned()]));
        assert_eq!(out.facts.len(), form.len() - usize::from(form.len() == 4), "{:?}", out.facts);
    }
}

#[test]
fn what_was_missed_is_told_once_when_the_text_comes_whole() {
    let mut s = running();
    let snapshot = json!([
        {"info": {"id": "msg_1", "sessionID": SES, "role": "user"}, "parts": []},
        {"info": {"id": "msg_2", "sessionID": SES, "role": "assistant", "time": {"created": 1}}, "parts": [
            {"id": "a", "messageID": "msg_2", "sessionID": SES, "type": "text", "text": "", "time": {"start": 1}},
            {"id": "b", "messageID": "msg_2", "sessionID": SES, "type": "text", "text": "B", "time": {"start": 1, "end": 2}}]}]);
    let out = feed(
        &mut s,
        &[
            text_part("a", "", false),
            delta("a", "one "),
            json!({"fracta": "disconnected", "why": "cut"}),
            connected(),
            delta("a", "three"),
            http("messages", 200, snapshot.clone()),
            http("status", 200, json!({SES: {"type": "busy"}})),
            text_part("a", "one two three", true),
            http("messages", 200, snapshot),
            message("msg_2", "assistant", true),
            status("idle"),
        ],
    );
    assert_eq!(said(&out).0, "one Btwo three");
    assert_eq!(said(&out).1, ["B", "one two three"]);
    assert_eq!(end(&out), Some((Outcome::Completed, None)));
    let asked: Vec<_> = out.sends.iter().map(|s| matches!(s, Send::Http { method: "GET", .. })).collect();
    assert_eq!(asked, [true; 4], "permissions, questions, messages, and subagents");
}

#[test]
fn a_turn_that_ended_while_nobody_listened_ends() {
    let mut s = running();
    let out =
        feed(&mut s, &[message("msg_2", "assistant", true), connected(), http("status", 200, json!({}))]);
    assert_eq!(end(&out), Some((Outcome::Completed, None)));
    let mut s = stream(Permissions::Ask, 0);
    let out = feed(&mut s, &opening()[..5]);
    assert_eq!(end(&out), None);
    let out = feed(&mut s, &[connected(), http("status", 200, json!({}))]);
    assert_eq!(end(&out), None, "it may be about to begin");
    let out = feed(&mut s, &[event("server.heartbeat", json!({})), http("status", 200, json!({}))]);
    assert_eq!(end(&out).unwrap().0, Outcome::Failed);
}

#[test]
fn an_abort_is_told_whatever_the_order_of_idle_and_error() {
    let error = event("session.error", json!({"sessionID": SES, "error": {"name": "MessageAbortedError"}}));
    let mut aborted = message("msg_2", "assistant", true);
    aborted["properties"]["info"]["error"] = json!({"name": "MessageAbortedError"});
    for lines in [
        vec![error.clone(), status("idle"), status("idle")],
        vec![status("idle"), error, status("idle"), aborted],
    ] {
        let out = feed(&mut running(), &lines);
        assert_eq!(end(&out), Some((Outcome::Interrupted, None)));
        let ends = out.facts.iter().filter(|f| matches!(f.body, Body::TurnCompleted { .. })).count();
        assert_eq!(ends, 1);
    }
}

#[test]
fn an_abort_without_an_answer_is_told_as_long_as_the_turn_runs() {
    let lost = json!({"fracta": "http", "id": "abort#msg_1", "status": 0, "error": "cut", "sent": true});
    let warned = |out: &Output| out.facts.iter().any(|f| matches!(f.body, Body::Warning { .. }));
    let mut s = running();
    assert!(warned(&feed(&mut s, std::slice::from_ref(&lost))));
    feed(&mut s, &[message("msg_2", "assistant", true), status("idle")]);
    assert!(!warned(&feed(&mut s, &[lost])), "it ended");
}

#[test]
fn steps_of_subagents_count_and_past_the_limit_the_turn_is_aborted() {
    let mut s = stream(Permissions::Ask, 2);
    feed(&mut s, &opening());
    let step = |id: &str, session: &str| {
        part("msg_9", json!({"id": id, "type": "step-start", "sessionID": session}))
    };
    let out = feed(&mut s, &[step("x", SES), step("y", "ses_child"), step("y", "ses_child")]);
    assert!(out.sends.is_empty());
    let out = feed(&mut s, &[step("z", "ses_child"), status("idle")]);
    let Some(Send::Http { id, path, .. }) = out.sends.first() else { panic!("no abort") };
    assert_eq!((id.as_str(), path.as_str()), ("abort#msg_1", "/session/ses_a/abort"));
    let (outcome, error) = end(&out).unwrap();
    assert_eq!(outcome, Outcome::Failed);
    assert!(error.unwrap().contains("more than 2 steps"));
}

#[test]
fn steps_of_subagents_that_were_missed_are_counted_once() {
    let mut s = stream(Permissions::Ask, 0);
    feed(&mut s, &opening());
    let step = |id: &str| json!({"id": id, "type": "step-start", "sessionID": "ses_child"});
    feed(&mut s, &[part("msg_5", step("x"))]);
    let out = feed(&mut s, &[connected(), http("children#ses_a", 200, json!([{"id": "ses_child"}]))]);
    let asked: Vec<_> = out
        .sends
        .iter()
        .filter_map(|s| match s {
            Send::Http { path, .. } => Some(path.as_str()),
            Send::Message(_) => None,
        })
        .collect();
    let wanted = [
        "/session/ses_a/children",
        "/session/ses_child/message?limit=100",
        "/session/ses_child/children",
        "/session/status",
    ];
    assert_eq!(asked[3..], wanted, "the status comes last");
    let messages = json!([
        {"info": {"id": "msg_0"}, "parts": [step("of an earlier turn")]},
        {"info": {"id": "msg_5"}, "parts": [step("x"), step("y")]},
    ]);
    let out = feed(
        &mut s,
        &[http("child#ses_child", 200, messages.clone()), http("child#ses_child", 200, messages)],
    );
    let steps: Vec<_> = out.facts.iter().map(|f| f.body.clone()).collect();
    assert_eq!(steps, [Body::Step { n: 2, limit: 0 }]);
    // A server that knows no such question is asked the rest all the same.
    let out = feed(&mut s, &[http("children#ses_a", 404, json!({}))]);
    assert_eq!(out.sends.len(), 1);
}

#[test]
fn requests_are_answered_by_a_person_or_by_itself() {
    let asked = event(
        "permission.asked",
        json!({"id": "per_1", "sessionID": SES, "permission": "bash", "patterns": ["ls"], "metadata": {"command": "ls"}}),
    );
    let mut s = running();
    let out = feed(&mut s, std::slice::from_ref(&asked));
    assert!(matches!(&out.facts[0].body, Body::ApprovalRequested { command: Some(c), .. } if c == "ls"));
    let no = Command::Answer { approval: "per_1".into(), decision: Decision::Denied, answers: None };
    let mut out = Output::default();
    s.command(&no, &mut out).unwrap();
    let Send::Http { path, body, .. } = &out.sends[0] else { panic!("no request") };
    assert_eq!(
        (path.as_str(), body.as_deref()),
        ("/permission/per_1/reply", Some(&br#"{"reply":"reject"}"#[..]))
    );
    s.command(&no, &mut out).unwrap_err();
    let mut s = stream(Permissions::Auto, 0);
    feed(&mut s, &opening());
    let out = feed(&mut s, &[asked]);
    assert_eq!(out.sends.len(), 1);
    assert!(matches!(&out.facts[1].body, Body::ApprovalResolved { by, .. } if by == "auto"));
}

#[test]
fn a_refused_prompt_is_told_and_an_event_cannot_pose_as_the_link() {
    let mut s = running();
    let out = feed(
        &mut s,
        &[http("prompt#m-2", 400, json!({"name": "BadRequest", "data": {"message": "no such agent"}}))],
    );
    assert_eq!(out.deliveries, [("m-2".to_owned(), Err("no such agent (HTTP 400)".to_owned()))]);
    let mut out = Output::default();
    s.input(Input::Message(br#" {"fracta":"http","id":"prompt#m-3","status":400}"#), &mut out);
    assert!(out.deliveries.is_empty());
    assert!(matches!(out.facts[0].body, Body::Raw { .. }));
}

/// OpenCode would take it as a no to all of them.
#[test]
fn a_no_is_said_when_the_others_of_its_session_have_their_answers() {
    let ask = |id: &str, session: &str| {
        event(
            "permission.asked",
            json!({"id": id, "sessionID": session, "permission": "bash", "patterns": ["x"]}),
        )
    };
    let answer = |id: &str, decision| Command::Answer { approval: id.into(), decision, answers: None };
    let paths = |out: &Output| -> Vec<(String, String)> {
        let sent = |s: &Send| match s {
            Send::Http { path, body, .. } => {
                (path.clone(), String::from_utf8(body.clone().unwrap()).unwrap())
            }
            Send::Message(_) => panic!("no line"),
        };
        out.sends.iter().map(sent).collect()
    };
    let said =
        |id: &str, word: &str| (format!("/permission/{id}/reply"), format!("{{\"reply\":\"{word}\"}}"));
    let mut s = running();
    feed(&mut s, &[ask("per_1", SES), ask("per_2", SES), ask("per_3", "ses_child")]);
    let mut out = Output::default();
    s.command(&answer("per_1", Decision::Denied), &mut out).unwrap();
    s.command(&answer("per_1", Decision::Approved), &mut out).unwrap_err();
    assert_eq!(paths(&out), []);
    s.command(&answer("per_3", Decision::Denied), &mut out).unwrap();
    assert_eq!(paths(&out), [said("per_3", "reject")], "another session's");
    let mut out = Output::default();
    s.command(&answer("per_2", Decision::Approved), &mut out).unwrap();
    assert_eq!(paths(&out), [said("per_2", "once"), said("per_1", "reject")]);
}
