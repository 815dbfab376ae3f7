//! The protocols fed with lines that claude 2.0.73 to 2.1.330 really said (shortened), and with lines
//! that no claude should say.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Body, Decision, Fact, Outcome, PlanStatus};
use crate::runtime::{Command, Input, Output, Send};

const SESSION: &str = "a5dd334a-17e5-4216-9037-cdfb45155c35";

fn spec(mode: Mode, permissions: Permissions) -> SessionSpec {
    SessionSpec {
        runtime: "claude".to_owned(),
        command: vec!["/bin/claude".into()],
        cli: CliInfo::default(),
        mode,
        model: None,
        permissions,
        cwd: "/w".into(),
        resume_token: None,
        run: 1,
        step_limit: 0,
    }
}

struct Bench {
    protocol: Box<dyn Protocol>,
    facts: Vec<Fact>,
    deliveries: Vec<(String, Result<(), String>)>,
}

impl Bench {
    fn new(spec: &SessionSpec) -> Self {
        let protocol = Claude.protocol(spec, Some("m-0"));
        Self { protocol, facts: Vec::new(), deliveries: Vec::new() }
    }

    /// A stream with a running turn.
    fn running(permissions: Permissions) -> Self {
        let mut b = Self::new(&spec(Mode::Stream, permissions));
        b.feed(json!({"type":"control_response","response":{"subtype":"success","request_id":"initialize#1","response":{}}}));
        b.init();
        b.facts.clear();
        b
    }

    fn init(&mut self) {
        self.feed(json!({"type":"system","subtype":"init","session_id":SESSION,"model":"opus"}));
    }

    /// Feeds a line; what is sent because of it.
    fn feed(&mut self, line: Value) -> Vec<Value> {
        let mut out = Output::default();
        self.protocol.input(Input::Message(line.to_string().as_bytes()), &mut out);
        self.take(out)
    }

    fn take(&mut self, out: Output) -> Vec<Value> {
        self.facts.extend(out.facts);
        self.deliveries.extend(out.deliveries);
        let json = |sent: Send| match sent {
            Send::Message(m) => serde_json::from_slice(&m).unwrap(),
            Send::Http { .. } => panic!("claude has no HTTP"),
        };
        out.sends.into_iter().map(json).collect()
    }

    fn command(&mut self, command: &Command) -> Result<Vec<Value>, String> {
        let mut out = Output::default();
        let result = self.protocol.command(command, &mut out);
        let sends = self.take(out);
        result.map(|()| sends).map_err(|r| r.0)
    }

    fn tool(&mut self, name: &str, input: Value, result: Value, detail: Value) -> Vec<Body> {
        let from = self.facts.len();
        self.feed(json!({"type":"assistant","message":{"id":"msg_1","content":[{"type":"tool_use","id":"t1","name":name,"input":input}]},"uuid":"u"}));
        let mut block = result;
        block["type"] = json!("tool_result");
        block["tool_use_id"] = json!("t1");
        self.feed(
            json!({"type":"user","message":{"role":"user","content":[block]},"tool_use_result":detail}),
        );
        self.facts[from..].iter().map(|f| f.body.clone()).collect()
    }

    fn ask(&mut self, id: &str, name: &str, input: Value) -> Vec<Value> {
        self.feed(json!({"type":"control_request","request_id":id,"request":{"subtype":"can_use_tool","tool_name":name,"input":input,"tool_use_id":"t"}}))
    }

    fn end(&mut self) {
        self.feed(json!({"type":"result","subtype":"success","is_error":false,"result":"x","total_cost_usd":0.5,"usage":{"input_tokens":1,"cache_read_input_tokens":2,"output_tokens":3}}));
    }

    fn last(&self) -> &Body {
        &self.facts.last().unwrap().body
    }
}

fn words(spec: &SessionSpec) -> String {
    let launch = Claude.launch(spec, Some("PROMPT")).unwrap();
    launch.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn arguments_of_both_modes() {
    let base = "/bin/claude -p --output-format stream-json --verbose";
    let mut s = spec(Mode::Batch, Permissions::Ask);
    assert_eq!(words(&s), format!("{base} --permission-mode=default"));
    s.cli = Claude.probed(&[
        "2.1.197 (Claude Code)\n".to_owned(),
        "  --include-partial-messages  x\n --replay-user-messages\n".to_owned(),
    ]);
    assert_eq!(s.cli.version.as_deref(), Some("2.1.197"));
    s.permissions = Permissions::Auto;
    s.model = Some("opus".to_owned());
    s.resume_token = Some(SESSION.to_owned());
    assert_eq!(
        words(&s),
        format!(
            "{base} --include-partial-messages --permission-mode=acceptEdits --allowedTools=Bash,WebFetch,WebSearch --model=opus --resume={SESSION}"
        )
    );
    let launch = Claude.launch(&s, Some("PROMPT")).unwrap();
    assert_eq!((launch.input, launch.stdin), (Some(b"PROMPT".to_vec()), false));
    assert!(Claude.launch(&s, None).is_err());
    s = SessionSpec { mode: Mode::Stream, model: None, resume_token: None, ..s };
    assert_eq!(
        words(&s),
        format!(
            "{base} --include-partial-messages --permission-mode=acceptEdits --permission-prompt-tool=stdio --input-format stream-json --replay-user-messages"
        )
    );
    s.command.extend(["--permission-mode".into(), "plan".into()]);
    assert!(!words(&s).contains("acceptEdits"), "the command's own arguments win");
    for token in ["--yolo x", "", "a b", "a\n"] {
        s.resume_token = Some(token.to_owned());
        assert!(Claude.launch(&s, None).is_err(), "{token:?}");
    }
}

#[test]
fn tools_become_facts() {
    let mut b = Bench::running(Permissions::Auto);
    let done = b.tool(
        "Bash",
        json!({"command":"x"}),
        json!({"content":"Exit code 3\nhi","is_error":true}),
        json!("Error: Exit code 3\nhi"),
    );
    assert!(
        matches!(&done[1], Body::CommandCompleted { exit_code: Some(3), text: Some(t), .. } if t == "hi")
    );
    let done = b.tool(
        "Bash",
        json!({"command":"x"}),
        json!({"content":"(Bash completed with no output)"}),
        json!({"stdout":"","stderr":"","interrupted":false}),
    );
    assert!(
        matches!(&done[1], Body::CommandCompleted { exit_code: Some(0), text: Some(t), .. } if t.is_empty())
    );
    let done = b.tool(
        "Bash",
        json!({"command":"x"}),
        json!({"content":"denied","is_error":true}),
        json!("Error: denied"),
    );
    assert!(matches!(&done[1], Body::CommandCompleted { exit_code: None, .. }));
    let patch = json!({"filePath":"/w/e","structuredPatch":[{"oldStart":1,"oldLines":2,"newStart":1,"newLines":2,"lines":[" one","-two","+2"]}]});
    let done = b.tool("Edit", json!({"file_path":"/w/e"}), json!({"content":"ok"}), patch);
    assert!(
        matches!(&done[0], Body::FileChanged { diff: Some(d), .. } if d == "@@ -1,2 +1,2 @@\n one\n-two\n+2\n")
    );
    let done = b.tool(
        "mcp__srv__do",
        json!({"a":1}),
        json!({"content":[{"type":"text","text":"out"}]}),
        Value::Null,
    );
    assert!(
        matches!(&done[1], Body::ToolCompleted { name, output, error: None, .. } if name == "srv/do" && output == "out")
    );
    b.tool(
        "TaskCreate",
        json!({"subject":"One"}),
        json!({"content":"ok"}),
        json!({"task":{"id":"1","subject":"One"}}),
    );
    let done = b.tool(
        "TaskUpdate",
        json!({"taskId":"1","status":"in_progress"}),
        json!({"content":"ok"}),
        json!({"success":true}),
    );
    assert!(
        matches!(&done[0], Body::PlanUpdated(p) if p.steps[0].text == "One" && p.steps[0].status == PlanStatus::InProgress)
    );
}

#[test]
fn a_subagent_acts_but_does_not_speak() {
    let mut b = Bench::running(Permissions::Auto);
    b.feed(json!({"type":"assistant","parent_tool_use_id":"t0","message":{"id":"m","content":[{"type":"text","text":"sub"},{"type":"tool_use","id":"t9","name":"Bash","input":{"command":"ls"}}]}}));
    b.feed(json!({"type":"stream_event","parent_tool_use_id":"t0","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sub"}}}));
    assert_eq!(b.facts.len(), 1);
    assert!(matches!(b.last(), Body::CommandStarted { command, .. } if command == "ls"));
}

#[test]
fn cost_is_told_of_each_turn() {
    let mut b = Bench::running(Permissions::Auto);
    b.end();
    b.init();
    b.feed(json!({"type":"result","subtype":"success","is_error":false,"result":"x","total_cost_usd":0.75,"usage":{"input_tokens":1,"output_tokens":1}}));
    let costs: Vec<_> = b
        .facts
        .iter()
        .filter_map(|f| match &f.body {
            Body::Usage(u) => Some((u.input_tokens, u.cached_tokens, u.cost_usd)),
            _ => None,
        })
        .collect();
    assert_eq!(costs, [(3, 2, Some(0.5)), (1, 0, Some(0.25))]);
    assert_eq!(b.facts.last().unwrap().turn.as_deref(), Some("turn-1-2"));
}

#[test]
fn questions_are_answered_by_id() {
    let mut b = Bench::running(Permissions::Ask);
    b.ask(
        "r1",
        "AskUserQuestion",
        json!({"questions":[{"question":"Which?","header":"H"},{"question":"Why?","header":"I"}]}),
    );
    assert!(
        matches!(b.last(), Body::ApprovalRequested { questions: Some(q), what, .. } if q[1]["id"] == "q2" && what == "Which? / Why?")
    );
    let answer =
        |answers| Command::Answer { approval: "a1-1".to_owned(), decision: Decision::Approved, answers };
    assert!(b.command(&answer(None)).unwrap_err().contains("q1, q2"));
    let sent = b.command(&answer(Some(json!({"q1":["A","B"],"I":"so"})))).unwrap();
    assert_eq!(
        sent[0]["response"]["response"]["updatedInput"]["answers"],
        json!({"Which?":"A, B","Why?":"so"})
    );
}

#[test]
fn auto_answers_by_itself_and_again_after_a_restart_until_it_is_taken_in() {
    let mut b = Bench::running(Permissions::Auto);
    let sent = b.ask("r1", "Bash", json!({"command":"ls"}));
    assert_eq!(sent[0]["response"]["response"], json!({"behavior":"allow","updatedInput":{"command":"ls"}}));
    assert!(
        matches!(b.last(), Body::ApprovalResolved { decision: Decision::Approved, by, .. } if by == "auto")
    );
    let again = |b: &mut Bench| {
        let mut out = Output::default();
        b.protocol.resumed(&mut out);
        b.take(out)
    };
    assert_eq!(again(&mut b), sent);
    b.feed(sent[0].clone());
    assert_eq!(again(&mut b), Vec::<Value>::new());
    let sent = b.ask("r2", "AskUserQuestion", json!({"questions":[{"question":"?"}]}));
    assert_eq!(sent[0]["response"]["response"]["behavior"], "deny");
}

#[test]
fn what_is_not_served_is_refused() {
    let mut b = Bench::running(Permissions::Ask);
    let sent =
        b.feed(json!({"type":"control_request","request_id":"h1","request":{"subtype":"hook_callback"}}));
    assert_eq!(
        (&sent[0]["response"]["subtype"], &sent[0]["response"]["request_id"]),
        (&json!("error"), &json!("h1"))
    );
    assert!(matches!(b.last(), Body::Warning { .. }));
}

#[test]
fn a_session_that_cannot_be_opened_is_fatal() {
    let line = json!({"type":"result","subtype":"error_during_execution","is_error":true,"errors":["No conversation found with session ID: 1"]});
    for mode in [Mode::Batch, Mode::Stream] {
        let mut b = Bench::new(&spec(mode, Permissions::Auto));
        b.feed(line.clone());
        assert!(b.protocol.fatal().unwrap().contains("start a new agent"));
        assert_eq!(b.deliveries.len(), usize::from(mode == Mode::Batch));
        assert!(b.deliveries.iter().all(|(_, fate)| fate.is_err()));
    }
}

#[test]
fn an_interrupt_is_no_failure() {
    for flag in [true, false] {
        let mut b = Bench::running(Permissions::Ask);
        b.feed(json!({"type":"user","message":{"role":"user","content":[{"type":"text","text":"[Request interrupted by user]"}]}}));
        b.feed(json!({"type":"result","subtype":"error_during_execution","is_error":flag,"errors":["[ede_diagnostic] x"]}));
        assert_eq!(*b.last(), Body::TurnCompleted { outcome: Outcome::Interrupted, error: None });
    }
}

#[test]
fn a_message_is_accepted_when_claude_repeats_it() {
    let mut b = Bench::running(Permissions::Ask);
    b.end();
    let start = Command::StartTurn { message: "m-1".to_owned(), text: "hi".to_owned() };
    let sent = b.command(&start).unwrap();
    assert_eq!((&sent[0]["uuid"], &sent[0]["message"]["content"]), (&json!("m-1"), &json!("hi")));
    assert!(b.command(&start).is_err(), "one at a time");
    b.init();
    assert!(b.deliveries.is_empty());
    b.feed(json!({"type":"user","isReplay":true,"uuid":"m-1","message":{"role":"user","content":"hi"}}));
    assert_eq!(b.deliveries, [("m-1".to_owned(), Ok(()))]);
    assert_eq!(b.command(&Command::Interrupt).unwrap()[0]["request"]["subtype"], "interrupt");
    let steer = Command::Steer { message: "m".to_owned(), text: "x".to_owned() };
    assert!(b.command(&steer).unwrap_err().contains("fracta say"));
}

proptest! {
    /// Whatever is said, nothing panics, and the same lines give the same facts.
    #[test]
    fn any_lines_are_read(picks in proptest::collection::vec((0usize..12, 0usize..6, any::<bool>()), 0..40)) {
        let kinds = ["assistant", "user", "result", "system", "stream_event", "control_request", "control_response",
            "control_cancel_request", "rate_limit_event", "command_lifecycle", "x", ""];
        let parts = [json!(null), json!([]), json!({"content":[{"type":"text"},{"type":"tool_use"},{"type":"tool_result"}]}),
            json!("text"), json!({"type":"message_start","message":1}), json!({"subtype":"can_use_tool","input":7})];
        let line = |(kind, part, flag): &(usize, usize, bool)| {
            let p = &parts[*part];
            json!({"type":kinds[*kind],"subtype":if *flag {"init"} else {"zzz"},"message":p,"event":p,"request":p,"response":p,"is_error":flag,"request_id":"r"})
        };
        for mode in [Mode::Batch, Mode::Stream] {
            let (mut a, mut b) = (Bench::new(&spec(mode, Permissions::Auto)), Bench::new(&spec(mode, Permissions::Auto)));
            for pick in &picks {
                a.feed(line(pick));
                b.feed(line(pick));
            }
            prop_assert_eq!(&a.facts, &b.facts);
        }
    }
}
