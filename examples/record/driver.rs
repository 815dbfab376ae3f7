//! Runs one real process and writes down what goes in and comes out.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::scrub::Scrub;

/// Longest wait for a line; a real CLI that says nothing for so long does not do what was expected.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Milliseconds since the start, `in` or `out`, and the line.
pub type Line = (u128, &'static str, String);

pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    start: Instant,
    pub lines: Vec<Line>,
}

/// Ends a CLI and what it started: the npm packages of some are wrappers that would leave theirs behind.
pub async fn end_group(child: &mut Child) -> Result<()> {
    if let Some(pid) = child.id() {
        // Gone already is as good.
        let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    child.wait().await?;
    Ok(())
}

impl Process {
    pub fn start(cli: &Path, args: &[String], cwd: &Path, env: &[(String, String)]) -> Result<Self> {
        let mut child = Command::new(cli)
            .args(args)
            .current_dir(cwd)
            .env("PWD", cwd)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", cli.display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(stdout).lines();
        Ok(Self { child, stdin, stdout, start: Instant::now(), lines: Vec::new() })
    }

    pub async fn send(&mut self, message: &Value) -> Result<()> {
        let line = message.to_string();
        self.lines.push((self.start.elapsed().as_millis(), "in", line.clone()));
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        stdin.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(stdin.flush().await?)
    }

    /// Writes a prompt to stdin and closes it (batch). It stands in the header, not among the lines.
    pub async fn feed(&mut self, prompt: &str) -> Result<()> {
        let mut stdin = self.stdin.take().context("stdin is closed")?;
        stdin.write_all(prompt.as_bytes()).await?;
        Ok(stdin.shutdown().await?)
    }

    /// A request with an id that tells its method, as the adapter makes them.
    pub async fn request(&mut self, method: &str, about: &str, params: Value) -> Result<Value> {
        let id = format!("{method}#{about}");
        self.send(&json!({"id": id, "method": method, "params": params})).await?;
        let answer = self.until(|v| v["id"] == id.as_str() && v.get("method").is_none()).await?;
        match answer.get("error") {
            Some(e) => bail!("{method}: {e}"),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Reads on until a line fits.
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
            let line = line.context("the process says nothing")??.context("the process ended")?;
            let value: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
            self.lines.push((self.start.elapsed().as_millis(), "out", line));
            if fits(&value) {
                return Ok(value);
            }
        }
    }

    pub async fn until_method(&mut self, method: &str) -> Result<Value> {
        self.until(|v| v["method"] == method).await
    }

    /// Reads to the end of what it says, however long it thinks.
    pub async fn rest(&mut self) -> Result<()> {
        while let Some(line) = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await?? {
            self.lines.push((self.start.elapsed().as_millis(), "out", line));
        }
        Ok(())
    }

    /// Closes stdin and reads to the end; the exit code.
    pub async fn end(&mut self) -> Result<Option<i32>> {
        self.stdin = None;
        let grace = Duration::from_secs(5);
        while let Ok(Some(line)) =
            tokio::time::timeout(grace, self.stdout.next_line()).await.unwrap_or(Ok(None))
        {
            self.lines.push((self.start.elapsed().as_millis(), "out", line));
        }
        // After an interrupt the command may live on, and Codex waits for it: end it then.
        match tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await {
            Ok(status) => Ok(status?.code()),
            Err(_) => {
                end_group(&mut self.child).await?;
                Ok(None)
            }
        }
    }

    /// The text of the recording.
    pub fn recording(&self, header: Value, scrub: &mut Scrub) -> String {
        recording(&self.lines, header, scrub)
    }
}

/// The text of a recording of these lines.
pub fn recording(lines: &[Line], mut header: Value, scrub: &mut Scrub) -> String {
    header["recording"] = 1.into();
    scrub.learn(lines.iter().map(|(_, _, line)| line.as_str()));
    let mut out = format!("{header}\n");
    for (t, dir, line) in lines {
        out.push_str(&format!("{}\n", json!({"t": *t as u64, "dir": dir, "line": scrub.line(line)})));
    }
    out
}
