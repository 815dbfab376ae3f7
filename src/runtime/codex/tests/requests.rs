//! What the app server asks, and the answers.

use super::*;

#[test]
fn each_request_is_answered_in_its_own_form() {
    let rights = json!({"network":{"enabled":true},"fileSystem":null});
    let form = json!({"mode":"form","serverName":"srv","message":"which?","requestedSchema":{"type":"object","properties":{"x":{"type":"string"}},"required":["x"]}});
    let question = json!({"itemId":"i","isBlocking":true,"questions":[{"id":"q1","header":"H","question":"Which?","options":null}]});
    let yes = |d: &str| json!({ "decision": d });
    for (method, params, answers, approved, denied) in [
        ("item/commandExecution/requestApproval", command_ask(), None, yes("accept"), yes("decline")),
        (
            "item/fileChange/requestApproval",
            json!({"itemId":"i","reason":null,"grantRoot":null}),
            None,
            yes("accept"),
            yes("decline"),
        ),
        (
            "item/permissions/requestApproval",
            json!({"itemId":"i","cwd":"/w","permissions":rights}),
            None,
            json!({"permissions":rights,"scope":"turn"}),
            json!({"permissions":{},"scope":"turn"}),
        ),
        (
            "item/tool/requestUserInput",
            question.clone(),
            Some(json!({"q1":"A"})),
            json!({"answers":{"q1":{"answers":["A"]}}}),
            json!({"answers":{}}),
        ),
        (
            "item/tool/requestUserInput",
            question,
            Some(json!(["A", "B"])),
            json!({"answers":{"q1":{"answers":["A","B"]}}}),
            json!({"answers":{}}),
        ),
        (
            "mcpServer/elicitation/request",
            form,
            Some(json!({"x":"y"})),
            json!({"action":"accept","content":{"x":"y"}}),
            json!({"action":"decline","content":null}),
        ),
        (
            "mcpServer/elicitation/request",
            json!({"mode":"form","serverName":"srv","message":"run it?","requestedSchema":{"type":"object","properties":{}}}),
            None,
            json!({"action":"accept","content":{}}),
            json!({"action":"decline","content":null}),
        ),
        (
            "execCommandApproval",
            json!({"conversationId":THREAD,"callId":"c","command":["ls","-l"],"cwd":"/w","parsedCmd":[]}),
            None,
            yes("approved"),
            yes("denied"),
        ),
        (
            "applyPatchApproval",
            json!({"conversationId":THREAD,"callId":"c","fileChanges":{"/w/a":{"add":{"content":"x"}}}}),
            None,
            yes("approved"),
            yes("denied"),
        ),
    ] {
        for (decision, want) in [(Decision::Approved, &approved), (Decision::Denied, &denied)] {
            let mut b = Bench::running(Permissions::Ask);
            assert_eq!(b.ask(&json!(0), method, params.clone()), [] as [Value; 0]);
            assert!(
                matches!(&b.facts[0].body, Body::ApprovalRequested { approval, .. } if approval == "a1-0"),
                "{method}"
            );
            if decision == Decision::Approved && answers.is_some() {
                assert!(b.answer(decision, None).unwrap_err().contains("answers"), "{method}");
            }
            assert_eq!(
                b.answer(decision, answers.clone()).unwrap(),
                [json!({"id":0,"result":want})],
                "{method}"
            );
            assert_eq!(b.resolved(), [(decision, "person")]);
            assert!(b.answer(decision, None).unwrap_err().contains("answered already"));
            b.feed(&format!(
                r#"{{"method":"serverRequest/resolved","params":{{"threadId":"{THREAD}","requestId":0}}}}"#
            ));
            b.end_turn("completed");
            assert_eq!(b.resolved().len(), 1, "resolved once");
        }
    }
}

#[test]
fn a_request_shows_what_it_is_about() {
    let mut b = Bench::running(Permissions::Ask);
    b.ask(&json!("x/1"), "item/commandExecution/requestApproval", command_ask());
    let Body::ApprovalRequested { approval, what, command, cwd, .. } = &b.facts[0].body else {
        panic!("{:?}", b.facts)
    };
    assert_eq!((approval.as_str(), what.as_str()), ("a1-x1", "run a command: need it"));
    assert_eq!((command.as_deref(), cwd.as_deref()), (Some("/bin/bash -lc 'touch x'"), Some("/w")));
    let sent =
        b.command(Command::Answer { approval: "a1-x1".into(), decision: Decision::Denied, answers: None });
    assert_eq!(sent.unwrap()[0]["id"], "x/1", "the id goes back as it came");

    let tool = json!({"serverName":"srv","mode":"form","_meta":{"codex_approval_kind":"mcp_tool_call","persist":["session","always"],"tool_name":"look","tool_params":{"q":"x"}},"message":"Allow the srv MCP server to run tool \"look\"?","requestedSchema":{"type":"object","properties":{}}});
    b.ask(&json!(6), "mcpServer/elicitation/request", tool);
    let Some(Body::ApprovalRequested { what, questions: None, .. }) = b.bodies().pop() else {
        panic!("{:?}", b.facts)
    };
    assert_eq!(what, "srv asks: Allow the srv MCP server to run tool \"look\"? {\"q\":\"x\"}");

    b.note("item/started", json!({"item":{"type":"fileChange","id":"f","changes":[{"path":"/w/a","kind":{"type":"add"},"diff":"hi\n"}],"status":"inProgress"}}));
    b.ask(&json!(7), "item/fileChange/requestApproval", json!({"itemId":"f","reason":null}));
    let Some(Body::ApprovalRequested { what, diff, .. }) = b.bodies().pop() else { panic!("{:?}", b.facts) };
    assert_eq!(
        (what.as_str(), diff.as_deref()),
        ("change /w/a", Some("--- /w/a\n+++ /w/a\n@@ -0,0 +1,1 @@\n+hi\n"))
    );
}

#[test]
fn auto_answers_by_itself_and_again_after_a_restart() {
    let mut b = Bench::running(Permissions::Auto);
    let accepted = json!({"id":0,"result":{"decision":"accept"}});
    assert_eq!(
        b.ask(&json!(0), "item/commandExecution/requestApproval", command_ask()),
        std::slice::from_ref(&accepted)
    );
    assert_eq!(b.resolved(), [(Decision::Approved, "auto")]);
    let questions = json!({"itemId":"i","questions":[{"id":"q1","question":"Which?"}]});
    assert_eq!(b.ask(&json!(1), "item/tool/requestUserInput", questions)[0]["result"], json!({"answers":{}}));
    assert_eq!(b.resolved()[1], (Decision::Denied, "auto"));
    let mut out = Output::default();
    b.protocol.resumed(&mut out);
    assert_eq!(b.take(out)[0], accepted);
    b.feed(r#"{"method":"serverRequest/resolved","params":{"requestId":0}}"#);
    b.end_turn("completed");
    assert_eq!(b.resolved().len(), 2, "neither is withdrawn");
}

#[test]
fn what_is_not_served_is_refused_at_once_and_again_after_a_restart() {
    let mut b = Bench::running(Permissions::Ask);
    let sends = b.ask(&json!(3), "account/chatgptAuthTokens/refresh", json!({}));
    assert_eq!((&sends[0]["id"], &sends[0]["error"]["code"]), (&json!(3), &json!(-32601)));
    assert!(matches!(b.bodies()[..], [Body::Warning { text }] if text.contains("chatgptAuthTokens")));
    let again = |b: &mut Bench| {
        let mut out = Output::default();
        b.protocol.resumed(&mut out);
        b.take(out).len()
    };
    assert_eq!(again(&mut b), 1);
    b.feed(r#"{"method":"serverRequest/resolved","params":{"requestId":3}}"#);
    assert_eq!(again(&mut b), 0);
}

#[test]
fn a_question_that_expires_is_withdrawn_by_the_runtime() {
    let ask = json!({"itemId":"i","autoResolutionMs":1000,"questions":[{"id":"q1","question":"Which?"}]});
    let resolved = r#"{"method":"serverRequest/resolved","params":{"requestId":0}}"#;
    let mut b = Bench::running(Permissions::Ask);
    b.ask(&json!(0), "item/tool/requestUserInput", ask.clone());
    b.feed(resolved);
    assert_eq!(b.resolved(), [(Decision::Withdrawn, "runtime")]);
    let mut b = Bench::running(Permissions::Ask);
    b.ask(&json!(0), "item/tool/requestUserInput", ask);
    b.answer(Decision::Approved, Some(json!("A"))).unwrap();
    b.feed(resolved);
    assert_eq!(b.resolved(), [(Decision::Approved, "person")]);
}

#[test]
fn a_flood_of_requests_is_bounded() {
    let mut b = Bench::running(Permissions::Ask);
    let refused = (0..1000)
        .filter(|i| !b.ask(&json!(i), "item/commandExecution/requestApproval", command_ask()).is_empty());
    assert_eq!(refused.count(), 1000 - 256);
}
