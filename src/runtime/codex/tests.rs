//! The protocols fed with lines that codex 0.169.0 and 0.124.0 really said (each kind of message), and
//! with lines that no codex should say.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Body, Decision, Fact, Outcome, PlanStatus};
use crate::runtime::{Command, Input, Output, Send};

const THREAD: &str = "01a203cf-c9bf-7ad0-b1dd-edd0129e7534";
const TURN: &str = "01a203cf-caee-7f12-95fd-344c1bc2c3a0";

fn spec(mode: Mode, permissions: Permissions) -> SessionSpec {
    SessionSpec {
        runtime: "codex".to_owned(),
        command: vec!["/bin/codex".into()],
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

/// A protocol, what it said, and the lines it was fed.
struct Bench {
    protocol: Box<dyn Protocol>,
    spec: SessionSpec,
    lines: Vec<Vec<u8>>,
    facts: Vec<Fact>,
    deliveries: Vec<(String, Result<(), String>)>,
}

impl Bench {
    fn new(spec: SessionSpec) -> Self {
        let protocol = Codex.protocol(&spec, Some("m-0"));
        Self { protocol, spec, lines: Vec::new(), facts: Vec::new(), deliveries: Vec::new() }
    }

    /// A stream whose thread is open.
    fn open(permissions: Permissions) -> Self {
        let mut b = Self::new(spec(Mode::Stream, permissions));
        b.feed(r#"{"id":"initialize#1","result":{"userAgent":"fracta/0.169.0","platformOs":"linux"}}"#);
        b.feed(&format!(r#"{{"id":"thread/start#1","result":{{"thread":{{"id":"{THREAD}","turns":[]}},"model":"scripted","approvalPolicy":"untrusted"}}}}"#));
        b.facts.clear();
        b
    }

    /// … and that has a running turn.
    fn running(permissions: Permissions) -> Self {
        let mut b = Self::open(permissions);
        b.feed(&format!(r#"{{"method":"turn/started","params":{{"threadId":"{THREAD}","turn":{{"id":"{TURN}","items":[],"status":"inProgress","error":null}}}},"emittedAtMs":1795360279284}}"#));
        b.facts.clear();
        b
    }

    /// Feeds a line; what is sent because of it.
    fn feed(&mut self, line: &str) -> Vec<Value> {
        self.feed_bytes(line.as_bytes())
    }

    fn feed_bytes(&mut self, line: &[u8]) -> Vec<Value> {
        let mut out = Output::default();
        self.protocol.input(Input::Message(line), &mut out);
        self.lines.push(line.to_vec());
        self.take(out)
    }

    fn take(&mut self, out: Output) -> Vec<Value> {
        self.facts.extend(out.facts);
        self.deliveries.extend(out.deliveries);
        let json = |s: Send| match s {
            Send::Message(m) => serde_json::from_slice(&m).unwrap(),
            Send::Http { .. } => panic!("codex speaks no HTTP"),
        };
        out.sends.into_iter().map(json).collect()
    }

    fn command(&mut self, command: Command) -> Result<Vec<Value>, String> {
        let mut out = Output::default();
        let result = self.protocol.command(&command, &mut out);
        let sends = self.take(out);
        result.map(|()| sends).map_err(|r| r.0)
    }

    /// Feeds a notification of the running turn.
    fn note(&mut self, method: &str, mut params: Value) -> Vec<Body> {
        params["threadId"] = json!(THREAD);
        params["turnId"] = json!(TURN);
        let from = self.facts.len();
        self.feed(&json!({ "method": method, "params": params }).to_string());
        self.facts[from..].iter().map(|f| f.body.clone()).collect()
    }

    fn ask(&mut self, id: &Value, method: &str, mut params: Value) -> Vec<Value> {
        params["threadId"] = json!(THREAD);
        params["turnId"] = json!(TURN);
        self.feed(&json!({ "method": method, "id": id, "params": params }).to_string())
    }

    fn answer(&mut self, decision: Decision, answers: Option<Value>) -> Result<Vec<Value>, String> {
        self.command(Command::Answer { approval: "a1-0".to_owned(), decision, answers })
    }

    fn end_turn(&mut self, status: &str) -> Vec<Value> {
        self.feed(&format!(r#"{{"method":"turn/completed","params":{{"threadId":"{THREAD}","turn":{{"id":"{TURN}","items":[],"itemsView":"notLoaded","status":"{status}","error":null}}}},"emittedAtMs":1795360334671}}"#))
    }

    fn bodies(&self) -> Vec<&Body> {
        self.facts.iter().map(|f| &f.body).collect()
    }

    fn resolved(&self) -> Vec<(Decision, &str)> {
        let resolved = |b| match b {
            &Body::ApprovalResolved { decision, ref by, .. } => Some((decision, by.as_str())),
            _ => None,
        };
        self.bodies().into_iter().filter_map(resolved).collect()
    }
}

fn message(text: &str) -> Command {
    Command::StartTurn { message: "m-1".to_owned(), text: text.to_owned() }
}

fn command_ask() -> Value {
    json!({"kind":"command","itemId":"call1","reason":"need it","command":"/bin/bash -lc 'touch x'","cwd":"/w","availableDecisions":["accept","cancel"]})
}

fn started_command(process: Value) -> Value {
    json!({"item":{"type":"commandExecution","id":"call1","command":"/bin/bash -lc 'touch x'","cwd":"/w","processId":process,"source":"agent","status":"inProgress","aggregatedOutput":null,"exitCode":null}})
}

mod batch {
    use super::*;

    #[test]
    fn a_recorded_turn() {
        let mut b = Bench::new(spec(Mode::Batch, Permissions::Auto));
        for line in [
            r#"{"type":"thread.started","thread_id":"01a203cf-7df9-7c40-bb56-ba3dffc11c0e"}"#,
            r#"{"type":"item.completed","item":{"id":"item_0","type":"error","message":"Model metadata for `scripted` not found."}}"#,
            r#"{"type":"turn.started"}"#,
            r#"{"type":"item.completed","item":{"id":"item_1","type":"reasoning","text":"**Thinking** hard"}}"#,
            r#"{"type":"item.started","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc 'echo hi'","aggregated_output":"","exit_code":null,"status":"in_progress"}}"#,
            r#"{"type":"item.completed","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc 'echo hi'","aggregated_output":"hi\n","exit_code":0,"status":"completed"}}"#,
            r#"{"type":"item.completed","item":{"id":"item_3","type":"file_change","changes":[{"path":"/w/notes.txt","kind":"add"}],"status":"completed"}}"#,
            r#"{"type":"item.updated","item":{"id":"item_4","type":"todo_list","items":[{"text":"a","completed":true},{"text":"b","completed":false}]}}"#,
            r#"{"type":"item.started","item":{"id":"item_5","type":"mcp_tool_call","server":"s","tool":"t","arguments":{"x":1},"result":null,"error":null,"status":"in_progress"}}"#,
            r#"{"type":"item.completed","item":{"id":"item_5","type":"mcp_tool_call","server":"s","tool":"t","arguments":{"x":1},"result":null,"error":{"message":"no"},"status":"failed"}}"#,
            r#"{"type":"item.completed","item":{"id":"item_6","type":"agent_message","text":"w0 w1 w2 "}}"#,
            r#"{"type":"turn.completed","usage":{"input_tokens":20,"cached_input_tokens":8,"cache_write_input_tokens":0,"output_tokens":10,"reasoning_output_tokens":2}}"#,
        ] {
            b.feed(line);
        }
        insta::assert_debug_snapshot!("batch_turn", b.bodies());
        assert_eq!(b.deliveries, [("m-0".to_owned(), Ok(()))]);
        assert!(b.protocol.ready());
    }

    #[test]
    fn a_recorded_failure() {
        let mut b = Bench::new(spec(Mode::Batch, Permissions::Auto));
        b.feed(r#"{"type":"error","message":"Reconnecting... 1/5 (stream disconnected)"}"#);
        b.feed(r#"{"type":"error","message":"The model nope does not exist"}"#);
        b.feed(r#"{"type":"turn.failed","error":{"message":"The model nope does not exist"}}"#);
        let text = "The model nope does not exist".to_owned();
        assert!(matches!(b.bodies()[0], Body::Error { retryable: Some(true), .. }));
        assert_eq!(b.facts[1].body, Body::Error { text: text.clone(), retryable: Some(false) });
        assert_eq!(b.facts[2].body, Body::TurnCompleted { outcome: Outcome::Failed, error: Some(text) });
        assert_eq!(b.facts[2].turn.as_deref(), Some("turn-1"));
    }

    #[test]
    fn nothing_is_commanded() {
        let mut b = Bench::new(spec(Mode::Batch, Permissions::Auto));
        assert!(
            b.command(Command::Steer { message: "m".into(), text: "x".into() })
                .unwrap_err()
                .contains("fracta say")
        );
        assert!(b.command(message("x")).is_err() && b.command(Command::Interrupt).is_err());
    }
}

mod launching {
    use super::*;

    fn words(spec: &SessionSpec) -> String {
        let launch = Codex.launch(spec, Some("PROMPT")).unwrap();
        let words: Vec<_> = launch.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn what_the_cli_knows_is_read_from_its_help() {
        let help = "Options:\n  -s, --sandbox <SANDBOX_MODE>\n          Select\n      --json\n          not --full-auto\n";
        let info = Codex.probed(&["WARNING: x\ncodex-cli 0.169.0\n".to_owned(), help.to_owned()]);
        assert_eq!(info.version.as_deref(), Some("0.169.0"));
        assert_eq!(info.features.keys().collect::<Vec<_>>(), ["exec.sandbox"]);
        assert_eq!(Codex.probed(&["bash: no such file".to_owned()]), CliInfo::default());
    }

    #[test]
    fn batch_arguments() {
        let mut s = spec(Mode::Batch, Permissions::Auto);
        let never = "-c approval_policy=\"never\"";
        let exec = "exec --json --skip-git-repo-check";
        // Older versions forget every `-c` before the subcommand when one stands behind it.
        let sandbox = "-c sandbox_mode=\"workspace-write\"";
        assert_eq!(words(&s), format!("/bin/codex {sandbox} {never} {exec} -"));
        let base = format!("/bin/codex {never} {exec}");
        s.cli.features.insert("exec.full_auto".to_owned(), "yes".to_owned());
        assert_eq!(words(&s), format!("{base} --full-auto -"));
        s.cli.features.insert("exec.sandbox".to_owned(), "yes".to_owned());
        s.permissions = Permissions::Ask;
        s.model = Some("m".to_owned());
        s.resume_token = Some(THREAD.to_owned());
        assert_eq!(words(&s), format!("{base} --sandbox read-only --model=m resume {THREAD} -"));
        s.command.push("--dangerously-bypass-approvals-and-sandbox".into());
        assert_eq!(
            words(&s),
            format!(
                "/bin/codex --dangerously-bypass-approvals-and-sandbox exec --json --skip-git-repo-check --model=m resume {THREAD} -"
            )
        );
        let launch = Codex.launch(&s, Some("PROMPT")).unwrap();
        assert_eq!((launch.input, launch.stdin), (Some(b"PROMPT".to_vec()), false));
        assert!(Codex.launch(&s, None).is_err());
        s.command.clear();
        assert!(words(&s).starts_with("codex -c approval_policy"));
    }

    #[test]
    fn a_hostile_token_is_no_option() {
        for token in ["--yolo", "", "a b", "a\n"] {
            let s =
                SessionSpec { resume_token: Some(token.to_owned()), ..spec(Mode::Batch, Permissions::Auto) };
            assert!(Codex.launch(&s, Some("x")).is_err(), "{token:?}");
        }
    }

    #[test]
    fn the_thread_is_opened_as_permissions_say() {
        let params = |permissions, leading: &[&str], token: Option<&str>| {
            let mut s = spec(Mode::Stream, permissions);
            s.command.extend(leading.iter().map(OsString::from));
            s.resume_token = token.map(str::to_owned);
            let sends = Bench::new(s).feed(r#"{"id":"initialize#1","result":{}}"#);
            assert_eq!(sends[0], json!({"method": "initialized"}));
            sends[1].clone()
        };
        assert_eq!(
            params(Permissions::Ask, &[], None),
            json!({"id":"thread/start#1","method":"thread/start","params":{"cwd":"/w","approvalPolicy":"untrusted","sandbox":"workspace-write"}})
        );
        let auto = params(Permissions::Auto, &["-s", "danger-full-access"], Some(THREAD));
        assert_eq!(
            auto,
            json!({"id":"thread/resume#1","method":"thread/resume","params":{"cwd":"/w","approvalPolicy":"never","sandbox":"danger-full-access","threadId":THREAD,"excludeTurns":true}})
        );
    }
}

mod requests;
mod stream;
