//! A client that speaks the protocol byte by byte: one line of JSON each way.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::plane_support::Plane;

/// The version that the client offers; the server knows it.
pub const VERSION: &str = "2025-06-18";

pub struct Mcp {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    id: u64,
}

impl Mcp {
    /// A server that was not spoken to.
    pub fn silent(p: &Plane) -> Self {
        Self::silent_in(p, &p.root())
    }

    fn silent_in(p: &Plane, folder: &Path) -> Self {
        let mut command = p.command(&["mcp"]);
        // Whoever runs the tests may be an agent of fracta's.
        command.current_dir(folder).env_remove("FRACTA_RUN");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, stdout, id: 0 }
    }

    /// A server that is ready.
    pub async fn start(p: &Plane) -> Self {
        Self::start_in(p, &p.root()).await
    }

    pub async fn start_in(p: &Plane, folder: &Path) -> Self {
        let mut mcp = Self::silent_in(p, folder);
        mcp.initialize().await;
        mcp
    }

    pub async fn initialize(&mut self) -> Value {
        let hello = json!({
            "protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
        });
        let answer = self.ask("initialize", hello).await;
        self.notify("notifications/initialized", json!({})).await;
        answer["result"].clone()
    }

    pub async fn send_line(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line).await.unwrap();
        stdin.write_all(b"\n").await.unwrap();
    }

    pub async fn notify(&mut self, method: &str, params: Value) {
        let line = json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string();
        self.send_line(line.as_bytes()).await;
    }

    /// Sends a request; its id.
    pub async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.id += 1;
        let line = json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}).to_string();
        self.send_line(line.as_bytes()).await;
        self.id
    }

    /// Sends a request and waits for its answer. Everything on stdout must be of the protocol.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        loop {
            let line = self.stdout.next_line().await.unwrap().expect("the server is there");
            let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(answer["jsonrpc"], "2.0", "{line}");
            if answer["id"] == id {
                return answer;
            }
            assert!(answer["id"].is_null(), "an answer to what nobody asked: {line}");
        }
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> (bool, String) {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{tool}: {answer}"));
        (result["isError"] == true, text.to_owned())
    }

    /// The text of a call that must succeed.
    pub async fn ok(&mut self, tool: &str, arguments: Value) -> String {
        let (error, text) = self.call(tool, arguments).await;
        assert!(!error, "{tool}: {text}");
        text
    }

    /// The words of a call that must fail as a tool.
    pub async fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let (error, text) = self.call(tool, arguments).await;
        assert!(error, "{tool}: {text}");
        text
    }

    /// Closes stdin: the server must end well, and have said nothing beside the protocol.
    pub async fn end(self) {
        assert_eq!(self.close().await, (0, String::new()));
    }

    /// Closes stdin; exit status and what stderr had. Nothing may be left on stdout but answers.
    pub async fn close(mut self) -> (i32, String) {
        drop(self.stdin.take());
        let mut words = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut words).await.unwrap();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(answer["jsonrpc"], "2.0", "{line}");
        }
        (self.child.wait().await.unwrap().code().unwrap_or(-1), words)
    }
}
