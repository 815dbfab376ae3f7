//! Directives in a prompt: the language of the tests.
//!
//! A line of the prompt that begins with `fracta:` is a directive; the lines run in order, over as
//! many model requests as they need.
//!
//! | directive | does |
//! |---|---|
//! | `fracta:say 200 words` | that many words of prose |
//! | `fracta:say TEXT` | the text; `\n` is a line break |
//! | `fracta:key` | the credential that came with the request, as a text |
//! | `fracta:pace CHARS MS` | the texts after it come CHARS characters at a time, MS milliseconds apart (16, 0) |
//! | `fracta:think TEXT` | a reasoning summary |
//! | `fracta:run COMMAND` | runs a command with the caller's shell tool |
//! | `fracta:runs COMMAND ;; COMMAND …` | calls it for each of them in one reply, so that they may run side by side |
//! | `fracta:ask COMMAND` | the same, asking for permission where the tool has a word for it |
//! | `fracta:plan a\|b\|c` | states the plan; `+a` is done, `*b` in progress; without any mark the first is in progress |
//! | `fracta:patch FILE <<TEXT` | writes the file; `\n` is a line break |
//! | `fracta:tool NAME JSON` | calls any tool (one of an MCP server as `mcp__SERVER__TOOL`); what is not JSON is the input of a freeform tool |
//! | `fracta:gate NAME` | waits until the test releases [`PromptScript::gate`] of that name |
//! | `fracta:hang` | waits until the client closes the connection |
//! | `fracta:fail STATUS [TEXT]` | fails with an HTTP status (mid-reply: with the error event) |
//! | `fracta:cut` | drops the connection |
//!
//! How far a turn has come is told by the tool results since the prompt, so nothing is remembered
//! between requests. A text steered into the turn is acknowledged by `steered: TEXT`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::prose;
use crate::demo::model::{Gate, PlanMark, Script, Step, Turn};

/// Gates by name; a name beyond the limit gets a gate that is open.
const MAX_GATES: usize = 256;

/// Does what the prompt's directives say; without any, gives a short plausible answer.
#[derive(Debug, Default)]
pub struct PromptScript {
    gates: Mutex<BTreeMap<String, Gate>>,
}

impl PromptScript {
    pub fn new() -> Self {
        Self::default()
    }

    /// The gate of a name, made when it is first asked for (by the test or by a prompt).
    pub fn gate(&self, name: &str) -> Gate {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if !gates.contains_key(name) && gates.len() >= MAX_GATES {
            let open = Gate::new();
            open.release();
            return open;
        }
        gates.entry(name.to_owned()).or_default().clone()
    }

    /// The steps of a prompt, all of them.
    fn steps(&self, turn: &Turn) -> Vec<Step> {
        let (mut chunk, mut delay) = (16, Duration::ZERO);
        let mut out = Vec::new();
        for line in turn.prompt.lines() {
            let Some(directive) = line.trim().strip_prefix("fracta:") else { continue };
            let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
            if word == "pace" {
                let mut n = rest.split_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
                chunk = usize::try_from(n.next().unwrap_or(16)).unwrap_or(16).max(1);
                delay = Duration::from_millis(n.next().unwrap_or(0));
                continue;
            }
            out.push(match word {
                "say" => Step::Text { text: said(rest), chunk, delay },
                "key" => Step::Text { text: turn.key.clone().unwrap_or_default(), chunk, delay },
                "think" => Step::Reasoning { text: unescaped(rest) },
                "run" => Step::Shell { command: rest.to_owned() },
                "runs" => Step::Together(
                    rest.split(";;").map(|c| Step::Shell { command: c.trim().to_owned() }).collect(),
                ),
                "ask" => Step::Ask { command: rest.to_owned(), why: "The script asks for it".to_owned() },
                "plan" => Step::Plan { steps: plan(rest) },
                "patch" => patch(rest),
                "tool" => tool(rest),
                "gate" => Step::Gate(self.gate(rest.trim())),
                "hang" => Step::Hang,
                "fail" => fail(rest),
                "cut" => Step::Cut,
                other => Step::text(format!("(no such directive: {other})\n")),
            });
        }
        out
    }
}

impl Script for PromptScript {
    fn reply(&self, turn: &Turn) -> Vec<Step> {
        let mut steps = self.steps(turn);
        if steps.is_empty() {
            steps.push(Step::Text { text: prose::answer(&turn.prompt), chunk: 16, delay: Duration::ZERO });
        }
        rest_of(steps, turn)
    }
}

/// What is left of a turn's steps, with the acknowledgement of what was steered into it.
pub(super) fn rest_of(steps: Vec<Step>, turn: &Turn) -> Vec<Step> {
    let done = turn.tools_done();
    let mut rest: Vec<Step> = Vec::new();
    let mut tools = 0;
    for step in steps {
        if tools == done {
            rest.push(step);
        } else if let Step::Together(all) = &step {
            tools += all.len();
        } else if step.calls_tool() && offered(&step, turn) {
            tools += 1;
        }
    }
    if turn.spoke_since_tool() {
        rest.clear(); // only a steer asks again after the model has spoken to the end
    }
    let mut out: Vec<Step> =
        turn.unanswered_steers().iter().map(|t| Step::text(format!("steered: {t}\n\n"))).collect();
    out.append(&mut rest);
    if out.is_empty() {
        out.push(Step::text("Done.\n"));
    }
    out
}

/// A plan is said as text to a caller without a tool for plans: it then leaves no result to count.
fn offered(step: &Step, turn: &Turn) -> bool {
    match step {
        Step::Plan { .. } => turn.tool(&["update_plan", "TodoWrite", "todowrite"]).is_some(),
        _ => true,
    }
}

fn said(rest: &str) -> String {
    match rest.trim().strip_suffix(" words").and_then(|n| n.trim().parse::<usize>().ok()) {
        Some(n) => prose::words(n.min(1_000_000)) + "\n",
        None => unescaped(rest),
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n")
}

fn plan(rest: &str) -> Vec<(String, PlanMark)> {
    let marked = rest.split('|').any(|s| s.trim().starts_with(['+', '*']));
    let step = |(i, s): (usize, &str)| {
        let s = s.trim();
        if let Some(done) = s.strip_prefix('+') {
            (done.trim().to_owned(), PlanMark::Completed)
        } else if let Some(now) = s.strip_prefix('*') {
            (now.trim().to_owned(), PlanMark::InProgress)
        } else if i == 0 && !marked {
            (s.to_owned(), PlanMark::InProgress)
        } else {
            (s.to_owned(), PlanMark::Pending)
        }
    };
    rest.split('|').enumerate().map(step).collect()
}

fn patch(rest: &str) -> Step {
    let (path, text) = rest.split_once("<<").unwrap_or((rest, ""));
    Step::Write { path: path.trim().to_owned(), text: unescaped(text) }
}

fn tool(rest: &str) -> Step {
    let (name, args) = rest.split_once(' ').unwrap_or((rest, "{}"));
    let args = serde_json::from_str(args).unwrap_or_else(|_| Value::String(unescaped(args)));
    Step::Tool { name: name.to_owned(), args }
}

fn fail(rest: &str) -> Step {
    let (status, text) = rest.split_once(' ').unwrap_or((rest, "the script says so"));
    Step::error(status.trim().parse().unwrap_or(500), text)
}
