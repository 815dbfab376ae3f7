//! `codex app-server`.

use super::*;

#[test]
fn a_turn_from_start_to_end() {
    let mut b = Bench::open(Permissions::Ask);
    let sends = b.command(message("hello")).unwrap();
    assert_eq!(
        sends,
        [
            json!({"id":"turn/start#m-1","method":"turn/start","params":{"threadId":THREAD,"clientUserMessageId":"m-1","input":[{"type":"text","text":"hello"}]}})
        ]
    );
    assert!(b.command(message("again")).unwrap_err().contains("a turn runs"));
    b.feed(&format!(
        r#"{{"id":"turn/start#m-1","result":{{"turn":{{"id":"{TURN}","items":[],"status":"inProgress"}}}}}}"#
    ));
    assert_eq!(b.deliveries, [("m-1".to_owned(), Ok(()))]);
    b.feed(&format!(r#"{{"method":"turn/started","params":{{"threadId":"{THREAD}","turn":{{"id":"{TURN}","status":"inProgress"}}}}}}"#));
    b.end_turn("completed");
    assert_eq!(
        b.facts,
        [
            Fact::of(TURN, Body::TurnStarted {}),
            Fact::of(TURN, Body::TurnCompleted { outcome: Outcome::Completed, error: None }),
        ]
    );
    b.command(message("again")).unwrap();
}

#[test]
fn refused_messages_carry_the_servers_words() {
    let mut b = Bench::running(Permissions::Ask);
    b.command(Command::Steer { message: "m-2".into(), text: "x".into() }).unwrap();
    b.end_turn("completed");
    b.feed(r#"{"error":{"code":-32600,"message":"no active turn to steer"},"id":"turn/steer#m-2"}"#);
    assert_eq!(b.deliveries, [("m-2".to_owned(), Err("no active turn to steer".to_owned()))]);
    // A turn that could not start leaves nothing behind.
    b.command(message("x")).unwrap();
    b.command(Command::Steer { message: "m-3".into(), text: "x".into() }).unwrap();
    b.command(Command::Interrupt).unwrap();
    b.feed(r#"{"error":{"code":-32600,"message":"no"},"id":"turn/start#m-1"}"#);
    assert_eq!(b.deliveries[1].0, "m-3");
    assert!(b.deliveries[1].1.as_ref().unwrap_err().contains("did not start"));
    assert_eq!(b.deliveries[2], ("m-1".to_owned(), Err("no".to_owned())));
    assert!(b.command(Command::Interrupt).unwrap_err().contains("no turn runs"));
}

#[test]
fn a_thread_that_cannot_be_opened_is_fatal() {
    let s = SessionSpec { resume_token: Some(THREAD.into()), ..spec(Mode::Stream, Permissions::Ask) };
    let mut b = Bench::new(s);
    b.feed(r#"{"id":"initialize#1","result":{}}"#);
    b.feed(&format!(r#"{{"error":{{"code":-32600,"message":"no rollout found for thread id {THREAD}"}},"id":"thread/resume#1"}}"#));
    assert!(matches!(b.bodies()[..], [Body::Error { text, .. }] if text.contains("no rollout found")));
    assert!(b.protocol.fatal().unwrap().contains("no rollout found"));
    assert!(!b.protocol.ready());
    assert!(b.command(message("x")).unwrap_err().contains("no rollout found"));
}

#[test]
fn a_version_without_untrusted_gets_the_next_best() {
    let mut b = Bench::new(spec(Mode::Stream, Permissions::Ask));
    b.feed(r#"{"id":"initialize#1","result":{}}"#);
    let sends = b.feed(r#"{"error":{"code":-32600,"message":"Invalid request: unknown variant `untrusted`, expected one of `on-request`, `never`"},"id":"thread/start#1"}"#);
    assert_eq!(
        (&sends[0]["id"], &sends[0]["params"]["approvalPolicy"]),
        (&json!("thread/start#on-request"), &json!("on-request"))
    );
    assert!(matches!(b.bodies()[..], [Body::Warning { .. }]));
    b.feed(
        r#"{"error":{"code":-32600,"message":"unknown variant `untrusted`"},"id":"thread/start#on-request"}"#,
    );
    assert!(b.protocol.fatal().is_some());
}

#[test]
fn recorded_items() {
    let mut b = Bench::running(Permissions::Ask);
    for item in [
        json!({"type":"userMessage","id":"u1","clientId":"m-hel","content":[{"type":"text","text":"hello","text_elements":[]}]}),
        json!({"type":"userMessage","id":"u2","clientId":null,"content":[{"type":"text","text":"not ours"},{"type":"image","url":"x"}]}),
        json!({"type":"userMessage","id":"u3","content":[{"type":"text","text":"0.124 cannot tell"}]}),
        json!({"type":"agentMessage","moderation":null,"id":"m1","text":"w0 w1 w2 ","phase":null,"questions":null}),
        json!({"type":"reasoning","id":"rs1","summary":["**Thinking** hard","more"],"content":[]}),
        json!({"type":"reasoning","id":"rs2","summary":[],"content":[]}),
        json!({"type":"commandExecution","id":"call1","command":"/bin/bash -lc 'echo hi'","cwd":"/w","processId":"2129","source":"unifiedExecStartup","status":"completed","aggregatedOutput":"hi\n","exitCode":0,"durationMs":16}),
        json!({"type":"commandExecution","id":"call2","command":"/bin/bash -lc 'touch x'","cwd":"/w","status":"declined","aggregatedOutput":null,"exitCode":null}),
        json!({"type":"commandExecution","id":"call3","command":"sleep 9","cwd":"/w","status":"failed","aggregatedOutput":"","exitCode":-1}),
        json!({"type":"fileChange","id":"call4","changes":[{"path":"/w/a","kind":{"type":"add"},"diff":"hi\n"},{"path":"/w/b","kind":{"type":"delete"},"diff":"old\n"},{"path":"/w/c","kind":{"type":"update","move_path":"/w/d"},"diff":"@@ -1 +1 @@\n-a\n+b\n"}],"status":"completed"}),
        json!({"type":"fileChange","id":"call5","changes":[{"path":"/w/a","kind":{"type":"add"},"diff":"hi\n"}],"status":"failed"}),
        json!({"type":"fileChange","id":"call6","changes":[{"path":"/w/a","kind":{"type":"add"},"diff":"hi\n"}],"status":"declined"}),
        json!({"type":"mcpToolCall","id":"t1","server":"srv","tool":"look","arguments":{"q":1},"result":{"content":[{"type":"text","text":"found"}]},"error":null,"status":"completed"}),
        json!({"type":"dynamicToolCall","id":"t2","tool":"dyn","arguments":{},"contentItems":null,"success":false,"status":"completed"}),
        json!({"type":"collabAgentToolCall","id":"t3","tool":"spawnAgent","prompt":"go","senderThreadId":"a","receiverThreadIds":["b"],"agentsStates":{"b":{"status":"running"}},"status":"completed"}),
        json!({"type":"webSearch","id":"t4","query":"rust","action":{"type":"search","query":"rust"}}),
        json!({"type":"imageView","id":"t5","path":"/w/x.png"}),
        json!({"type":"plan","id":"p1","text":"1. do"}),
        json!({"type":"exitedReviewMode","id":"r1","review":"fine"}),
        json!({"type":"contextCompaction","id":"c1"}),
        json!({"type":"somethingNew","id":"n1","what":"ever"}),
    ] {
        b.note("item/completed", json!({ "item": item }));
    }
    insta::assert_debug_snapshot!("stream_items", b.bodies());
}

#[test]
fn recorded_notifications() {
    let mut b = Bench::running(Permissions::Ask);
    let text = |t: &str| t.to_owned();
    let delta = |d: &str| json!({"itemId":"i","delta":d,"summaryIndex":0});
    let role = crate::event::Role::Assistant;
    let one = |b: &mut Bench, method: &str, params: Value| b.note(method, params).pop();
    assert_eq!(
        one(&mut b, "item/agentMessage/delta", delta("w0 \"é\"\n")),
        Some(Body::MessageDelta { item: text("i"), role, text: text("w0 \"é\"\n") })
    );
    assert_eq!(
        one(&mut b, "item/reasoning/summaryTextDelta", delta("x")),
        Some(Body::ReasoningDelta { item: text("i"), text: text("x") })
    );
    assert_eq!(
        one(&mut b, "item/commandExecution/outputDelta", delta("hi\n")),
        Some(Body::CommandOutput { item: text("i"), text: text("hi\n") })
    );
    assert_eq!(one(&mut b, "item/reasoning/summaryPartAdded", json!({"itemId":"i","summaryIndex":0})), None);
    let usage = json!({"tokenUsage":{"total":{"totalTokens":45,"inputTokens":30,"cachedInputTokens":12,"outputTokens":15,"reasoningOutputTokens":3},"last":{"totalTokens":15}}});
    let want = crate::event::Usage {
        input_tokens: 30,
        cached_tokens: 12,
        output_tokens: 15,
        cost_usd: None,
        total: true,
    };
    assert_eq!(one(&mut b, "thread/tokenUsage/updated", usage), Some(Body::Usage(want)));
    let error = json!({"error":{"message":"stream disconnected","codexErrorInfo":"other","additionalDetails":"why"},"willRetry":true});
    assert_eq!(
        one(&mut b, "error", error),
        Some(Body::Error { text: text("stream disconnected (why)"), retryable: Some(true) })
    );
    let plan = json!({"explanation":null,"plan":[{"step":"one","status":"inProgress"},{"step":"two","status":"pending"}]});
    let Some(Body::PlanUpdated(plan)) = one(&mut b, "turn/plan/updated", plan) else { panic!("no plan") };
    assert_eq!(plan.steps[0].status, PlanStatus::InProgress);
    for (method, params, words) in [
        ("warning", json!({"message":"Model metadata not found"}), "Model metadata not found"),
        ("configWarning", json!({"summary":"no bubblewrap","details":null}), "no bubblewrap"),
        ("deprecationNotice", json!({"summary":"old","details":"use new"}), "old: use new"),
        (
            "model/rerouted",
            json!({"fromModel":"a","toModel":"b","reason":"highRiskCyberActivity"}),
            "codex uses model b in place of a: highRiskCyberActivity",
        ),
        (
            "mcpServer/startupStatus/updated",
            json!({"name":"srv","status":"failed","error":"no such file"}),
            "MCP server srv did not start: no such file",
        ),
    ] {
        assert_eq!(one(&mut b, method, params), Some(Body::Warning { text: text(words) }));
    }
    assert_eq!(one(&mut b, "account/rateLimits/updated", json!({"rateLimits":{}})), None);
    assert_eq!(
        one(&mut b, "mcpServer/startupStatus/updated", json!({"name":"srv","status":"ready","error":null})),
        None
    );
    assert!(matches!(one(&mut b, "something/new", json!({})), Some(Body::Raw { .. })));
    assert!(matches!(one(&mut b, "item/agentMessage/delta", json!({"odd":1})), Some(Body::Raw { .. })));
}

#[test]
fn other_threads_do_not_touch_ours() {
    let mut b = Bench::running(Permissions::Ask);
    for line in [
        r#"{"method":"turn/started","params":{"threadId":"other","turn":{"id":"t2"}}}"#,
        r#"{"method":"item/agentMessage/delta","params":{"threadId":"other","turnId":"t2","itemId":"i","delta":"x"}}"#,
        r#"{"method":"error","params":{"threadId":"other","turnId":"t2","error":{"message":"x"},"willRetry":false}}"#,
        r#"{"method":"turn/completed","params":{"threadId":"other","turn":{"id":"t2","status":"failed"}}}"#,
    ] {
        b.feed(line);
    }
    assert_eq!(b.facts, []);
    // But what a subagent asks is asked, and withdrawn with its own turn.
    let ask = r#"{"method":"item/commandExecution/requestApproval","id":0,"params":{"threadId":"other","turnId":"t3","itemId":"c","command":"ls"}}"#;
    b.feed(ask);
    assert!(
        matches!(&b.facts[0].body, Body::ApprovalRequested { what, .. } if what.starts_with("(a subagent)"))
    );
    b.feed(r#"{"method":"turn/completed","params":{"threadId":"other","turn":{"id":"t3","status":"completed"}}}"#);
    assert_eq!(b.resolved(), [(Decision::Withdrawn, "runtime")]);
    assert!(b.command(Command::Interrupt).is_ok(), "our turn still runs");
}

#[test]
fn an_interrupt_ends_the_commands_that_codex_leaves() {
    let method =
        |sends: &[Value]| sends.iter().map(|s| s["method"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let mut b = Bench::running(Permissions::Auto);
    b.note("item/started", started_command(json!("59518")));
    let sends = b.end_turn("interrupted");
    assert_eq!(method(&sends), ["thread/backgroundTerminals/terminate"]);
    assert_eq!(sends[0]["params"], json!({"threadId":THREAD,"processId":"59518"}));
    // 0.124 does not know it.
    let sends = b.feed(r#"{"error":{"code":-32600,"message":"unknown variant"},"id":"thread/backgroundTerminals/terminate#59518"}"#);
    assert_eq!(method(&sends), ["thread/backgroundTerminals/clean"]);
    b.feed(r#"{"error":{"code":-32600,"message":"no"},"id":"thread/backgroundTerminals/clean#1"}"#);
    assert!(matches!(b.bodies().pop(), Some(Body::Warning { text }) if text.contains("may still run")));

    // Approved and running: its process id was never said.
    let mut b = Bench::running(Permissions::Ask);
    b.note("item/started", started_command(Value::Null));
    b.ask(&json!(0), "item/commandExecution/requestApproval", command_ask());
    b.feed(r#"{"method":"serverRequest/resolved","params":{"requestId":0}}"#);
    assert_eq!(method(&b.end_turn("interrupted")), ["thread/backgroundTerminals/clean"]);

    // Never approved: nothing runs, and codex does not say that it ended.
    let mut b = Bench::running(Permissions::Ask);
    b.note("item/started", started_command(Value::Null));
    b.ask(&json!(0), "item/commandExecution/requestApproval", command_ask());
    assert_eq!(b.end_turn("interrupted"), [] as [Value; 0]);
    assert!(b.bodies().iter().any(|f| matches!(f, Body::CommandCompleted { exit_code: None, .. })));

    // A background command of a turn that ended well goes on.
    let mut b = Bench::running(Permissions::Auto);
    b.note("item/started", started_command(json!("1")));
    assert_eq!(b.end_turn("completed"), [] as [Value; 0]);
}

#[test]
fn what_is_no_message_is_kept_raw() {
    let mut b = Bench::running(Permissions::Ask);
    let odd: [&[u8]; 9] = [
        b"WARNING: hello",
        b"[1,2]",
        b"[\"m\",null,null,null,null]",
        b"7",
        b"null",
        b"{\"method\":\"x\"",
        b"{}",
        b"\xff\xfe",
        b"{\"id\":5,\"result\":{}}",
    ];
    for line in odd {
        b.feed_bytes(line);
        assert!(matches!(b.bodies().pop(), Some(Body::Raw { .. })), "{line:?}");
    }
    assert_eq!(b.facts.len(), odd.len());
    b.feed("  ");
    assert_eq!(b.facts.len(), odd.len(), "an empty line is nothing");
    b.feed(&"x".repeat(100_000));
    let Some(Body::Raw { text }) = b.bodies().pop() else { panic!("not raw") };
    assert!(text.len() < 66_000 && text.ends_with("[cut: 34464 of 100000 bytes left out]"));
}

#[test]
fn a_restart_in_the_handshake_goes_on_with_it() {
    let mut b = Bench::new(spec(Mode::Stream, Permissions::Ask));
    let resumed = |b: &mut Bench| {
        let mut out = Output::default();
        b.protocol.resumed(&mut out);
        b.take(out).iter().map(|s| s["method"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(resumed(&mut b), ["initialize"]);
    b.feed(r#"{"id":"initialize#1","result":{}}"#);
    assert_eq!(
        b.feed(r#"{"id":"initialize#1","error":{"code":-32600,"message":"Already initialized"}}"#),
        [] as [Value; 0]
    );
    assert_eq!(resumed(&mut b), ["initialized", "thread/start"]);
    b.feed(r#"{"id":"thread/start#1","result":{"thread":{"id":"one"}}}"#);
    b.feed(r#"{"id":"thread/start#1","result":{"thread":{"id":"two"}}}"#);
    assert_eq!(b.facts.len(), 1, "one session, however often it was asked for");
    assert_eq!(resumed(&mut b), [] as [&str; 0]);
}

/// The lines of a session with commands, fed again without them, give the same facts.
#[test]
fn rebuilding_needs_no_commands() {
    let mut b = Bench::running(Permissions::Ask);
    b.facts.clear();
    let from_lines = |b: &mut Bench, line: &str| {
        let n = b.facts.len();
        b.feed(line);
        b.facts.split_off(n)
    };
    let mut live = Vec::new();
    b.ask(&json!(0), "item/commandExecution/requestApproval", command_ask());
    b.answer(Decision::Approved, None).unwrap();
    // The answer came too late: the server never took it.
    live.extend(from_lines(&mut b, &format!(r#"{{"method":"turn/completed","params":{{"threadId":"{THREAD}","turn":{{"id":"{TURN}","status":"interrupted"}}}}}}"#)));
    let mut again = Codex.protocol(&b.spec, None);
    let mut rebuilt = Vec::new();
    for line in &b.lines {
        let mut out = Output::default();
        again.input(Input::Message(line), &mut out);
        rebuilt = out.facts;
    }
    assert_eq!(rebuilt, live);
    assert!(
        matches!(&live[0].body, Body::ApprovalResolved { decision: Decision::Withdrawn, .. }),
        "{live:?}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        for mode in [Mode::Batch, Mode::Stream] {
            let mut b = Bench::new(spec(mode, Permissions::Auto));
            for line in &lines {
                b.feed_bytes(line);
            }
        }
    }

    /// Well-formed messages with members of any type in any place.
    #[test]
    fn any_json_is_survived(
        method in proptest::sample::select(METHODS), id in scalar(), a in scalar(), c in scalar(),
        keys in proptest::collection::vec(proptest::sample::select(KEYS), 3),
    ) {
        let inner = json!({ keys[0]: a.clone(), keys[1]: [c.clone()], keys[2]: { keys[0]: c, "type": "fileChange", "changes": [a] } });
        let mut b = Bench::running(Permissions::Auto);
        b.feed(&json!({ "method": method, "params": inner }).to_string());
        b.feed(&json!({ "method": method, "id": id, "params": inner }).to_string());
        b.feed(&json!({ "id": format!("{method}#x"), "result": inner }).to_string());
        b.feed(&json!({ "type": method.replace('/', "."), "item": inner }).to_string());
        b.end_turn("interrupted");
    }
}

const METHODS: &[&str] = &[
    "item/started",
    "item/completed",
    "turn/started",
    "turn/completed",
    "turn/start",
    "thread/start",
    "error",
    "serverRequest/resolved",
    "item/commandExecution/requestApproval",
    "item/tool/requestUserInput",
    "item/fileChange/patchUpdated",
    "item/fileChange/requestApproval",
    "applyPatchApproval",
    "turn/plan/updated",
    "mcpServer/elicitation/request",
    "item/permissions/requestApproval",
    "thread/tokenUsage/updated",
];

const KEYS: &[&str] = &[
    "item",
    "itemId",
    "turn",
    "turnId",
    "threadId",
    "thread",
    "id",
    "questions",
    "changes",
    "plan",
    "type",
    "kind",
    "fileChanges",
    "command",
    "requestId",
    "permissions",
    "error",
    "path",
    "diff",
    "text",
    "summary",
    "content",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!({})),
        Just(json!(["x", null, {"id": 1}])),
    ]
}
