//! Notifications of the app server as facts.

use serde_json::Value;

use super::{MAX_OPEN, Running, Stream};
use crate::event::{Body, Decision, Fact, Outcome, Role};
use crate::runtime::Output;
use crate::runtime::codex::approvals::Kind;
use crate::runtime::codex::items::{self, raw};
use crate::runtime::codex::rpc::{Delta, Frame, owned, text};

/// Notifications that say nothing a person needs, or say again what another one says.
const IGNORED: &[&str] = &[
    "account/rateLimits/updated",
    "account/updated",
    "app/list/updated",
    "fs/changed",
    "hook/started",
    "item/autoApprovalReview/completed",
    "item/autoApprovalReview/started",
    "item/commandExecution/terminalInteraction",
    "item/fileChange/outputDelta",
    "item/mcpToolCall/progress",
    "mcpServer/event/stream/notification",
    "mcpServer/oauthLogin/completed",
    "model/safetyBuffering/updated",
    "model/verification",
    "project/changed",
    "rawResponseItem/completed",
    "remoteControl/status/changed",
    "skills/changed",
    // The same as the item `contextCompaction`.
    "thread/compacted",
    "thread/environment/connected",
    "thread/goal/cleared",
    "thread/goal/updated",
    "thread/name/updated",
    "thread/prediction/updated",
    "thread/project/updated",
    "thread/queue/changed",
    "thread/readState/changed",
    "thread/section/changed",
    "thread/settings/updated",
    // The reply to thread/start said it.
    "thread/started",
    "thread/status/changed",
    "thread/unarchived",
    // fracta diffs the workspace itself.
    "turn/diff/updated",
    "turn/moderationMetadata",
];

impl Stream {
    pub(super) fn note(&mut self, method: &str, frame: &Frame<'_>, line: &[u8], out: &mut Output) {
        match method {
            "item/agentMessage/delta" | "item/plan/delta" => self.delta(frame, line, out, |item, text| {
                Body::MessageDelta { item, role: Role::Assistant, text }
            }),
            "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" => {
                self.delta(frame, line, out, |item, text| Body::ReasoningDelta { item, text });
            }
            "item/commandExecution/outputDelta" => {
                self.delta(frame, line, out, |item, text| Body::CommandOutput { item, text });
            }
            _ if IGNORED.contains(&method) => {}
            _ => self.rare(method, &frame.params(), line, out),
        }
    }

    fn delta(
        &self,
        frame: &Frame<'_>,
        line: &[u8],
        out: &mut Output,
        body: impl FnOnce(String, String) -> Body,
    ) {
        match frame.params.map(|p| serde_json::from_str::<Delta<'_>>(p.get())) {
            Some(Ok(d)) if self.foreign(&d.thread_id.0) => {}
            Some(Ok(d)) => {
                let body = body(d.item_id.0.into_owned(), d.delta.0.into_owned());
                out.facts.push(Fact::of(d.turn_id.0, body));
            }
            _ => out.facts.push(raw(line).into()),
        }
    }

    fn rare(&mut self, method: &str, p: &Value, line: &[u8], out: &mut Output) {
        let foreign = text(p, "threadId").is_some_and(|t| self.foreign(t));
        match method {
            // Requests are answered for every thread of this server, so these count for every thread.
            "serverRequest/resolved" => return self.request_resolved(p, out),
            "turn/completed" if foreign => {
                let turn = p.pointer("/turn/id").and_then(Value::as_str).unwrap_or_default();
                return self.withdraw_all(turn, out);
            }
            "item/started" | "item/completed" if foreign => {
                return self.patch_of(p.get("item").unwrap_or(&Value::Null), method == "item/started");
            }
            _ if foreign => return,
            _ => {}
        }
        let turn =
            text(p, "turnId").filter(|t| !t.is_empty()).map(str::to_owned).or_else(|| self.turn.clone());
        let mut fact = |body: Body| out.facts.push(Fact { turn: turn.clone(), body });
        let warning = |text: String| Body::Warning { text };
        match method {
            "turn/started" => self.turn_started(p, out),
            "turn/completed" => self.turn_completed(p, line, out),
            "item/started" => self.item(p, false, turn, out),
            "item/completed" => self.item(p, true, turn, out),
            "item/reasoning/summaryPartAdded" => {
                if p.get("summaryIndex").and_then(Value::as_u64).is_some_and(|i| i > 0) {
                    fact(Body::ReasoningDelta { item: owned(p, "itemId"), text: "\n\n".to_owned() });
                }
            }
            "item/fileChange/patchUpdated" => self.keep_patch(owned(p, "itemId"), p),
            "turn/plan/updated" => fact(items::plan(p)),
            "thread/tokenUsage/updated" => {
                if let Some(total) = p.pointer("/tokenUsage/total") {
                    fact(items::usage(total));
                }
            }
            "error" => {
                let e = p.get("error").unwrap_or(p);
                let details = text(e, "additionalDetails").map(|d| format!(" ({d})")).unwrap_or_default();
                let retryable = p.get("willRetry").and_then(Value::as_bool);
                fact(Body::Error { text: format!("{}{details}", owned(e, "message")), retryable });
            }
            "warning" | "guardianWarning" => fact(warning(owned(p, "message"))),
            "configWarning" | "deprecationNotice" => {
                let details = text(p, "details").map(|d| format!(": {d}")).unwrap_or_default();
                fact(warning(format!("{}{details}", owned(p, "summary"))));
            }
            "model/rerouted" => {
                let (from, to) = (owned(p, "fromModel"), owned(p, "toModel"));
                let why = p.get("reason").map(items::as_text).unwrap_or_default();
                fact(warning(format!("codex uses model {to} in place of {from}: {why}")));
            }
            "mcpServer/startupStatus/updated" => {
                if text(p, "status") == Some("failed") {
                    let (name, why) = (owned(p, "name"), owned(p, "error"));
                    fact(warning(format!("MCP server {name} did not start: {why}")));
                }
            }
            "hook/completed" => {
                let run = p.get("run").unwrap_or(&Value::Null);
                if let Some(status @ ("failed" | "blocked" | "stopped")) = text(run, "status") {
                    fact(warning(format!("hook {} {status}", owned(run, "eventName"))));
                }
            }
            "thread/closed" | "thread/archived" | "thread/deleted" | "thread/reverted" => {
                let what = method.trim_start_matches("thread/");
                fact(warning(format!("the codex thread was {what}")));
            }
            "thread/environment/disconnected" => fact(warning("codex lost its environment".to_owned())),
            _ => out.facts.push(raw(line).into()),
        }
    }

    fn turn_started(&mut self, p: &Value, out: &mut Output) {
        if let Some(id) = p.pointer("/turn/id").and_then(Value::as_str) {
            out.facts.push(Fact::of(id, Body::TurnStarted {}));
            self.turn_runs(id, out);
        }
    }

    fn turn_completed(&mut self, p: &Value, line: &[u8], out: &mut Output) {
        let Some(turn) = p.get("turn") else { return out.facts.push(raw(line).into()) };
        let id = owned(turn, "id");
        let outcome = match text(turn, "status") {
            Some("completed") => Outcome::Completed,
            Some("interrupted") => Outcome::Interrupted,
            _ => Outcome::Failed,
        };
        let error = turn.get("error").and_then(|e| text(e, "message")).map(str::to_owned);
        self.close_commands(&id, outcome, out);
        self.withdraw_all(&id, out);
        self.patches.clear();
        out.facts.push(Fact::of(id.clone(), Body::TurnCompleted { outcome, error }));
        if self.turn.as_deref() == Some(&id) {
            self.turn = None;
        }
        self.ended = Some(id);
        if outcome == Outcome::Interrupted {
            self.end_cut_commands(out);
        }
    }

    /// Commands that never ran because their request was not answered get no end from codex; the
    /// others do, now or when they are ended.
    fn close_commands(&mut self, turn: &str, outcome: Outcome, out: &mut Output) {
        let asked: Vec<String> = self.asks.values().filter_map(|a| a.item.clone()).collect();
        let unasked = |item: &String| !asked.contains(item);
        let over: Vec<String> = self
            .commands
            .iter()
            .filter(|(i, c)| c.turn == turn && !unasked(i))
            .map(|(i, _)| i.clone())
            .collect();
        for item in over {
            if let Some(Running { command, cwd, .. }) = self.commands.remove(&item) {
                let body = Body::CommandCompleted { item, command, cwd, text: None, exit_code: None };
                out.facts.push(Fact::of(turn, body));
            }
        }
        if outcome == Outcome::Interrupted {
            self.commands.values_mut().filter(|c| c.turn == turn).for_each(|c| c.cut = true);
        }
    }

    fn withdraw_all(&mut self, turn: &str, out: &mut Output) {
        let gone: Vec<String> = self
            .asks
            .iter()
            .filter(|(_, a)| a.turn.as_deref() == Some(turn))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(ask) = self.asks.remove(&id) {
                self.withdraw(&id, &ask, out);
            }
        }
    }

    /// The server has its answer. Ours was told when it was given; only what may expire is told here.
    fn request_resolved(&mut self, p: &Value, out: &mut Output) {
        let Some(rpc) = p.get("requestId").map(Value::to_string) else { return };
        self.refused.remove(&rpc);
        let Some(id) = self.asks.iter().find(|(_, a)| a.rpc == rpc).map(|(id, _)| id.clone()) else { return };
        let Some(ask) = self.asks.remove(&id) else { return };
        if !matches!(ask.kind, Kind::Questions { expires: true, .. }) || ask.by_itself.is_some() {
            return;
        }
        let (decision, by) = match ask.answered {
            Some(decision) => (decision, "person"),
            None => (Decision::Withdrawn, "runtime"),
        };
        let body = Body::ApprovalResolved { approval: id, decision, by: by.to_owned() };
        out.facts.push(Fact { turn: ask.turn, body });
    }

    fn item(&mut self, p: &Value, done: bool, turn: Option<String>, out: &mut Output) {
        let Some(item) = p.get("item") else { return };
        self.patch_of(item, !done);
        if text(item, "type") == Some("commandExecution") {
            self.track(item, done, turn.as_deref());
        }
        items::item(item, done, |body| out.facts.push(Fact { turn: turn.clone(), body }));
    }

    fn track(&mut self, item: &Value, done: bool, turn: Option<&str>) {
        let id = owned(item, "id");
        if done {
            self.commands.remove(&id);
        } else if self.commands.len() < MAX_OPEN {
            let running = Running {
                turn: turn.unwrap_or_default().to_owned(),
                command: owned(item, "command"),
                cwd: text(item, "cwd").map(str::to_owned),
                process: text(item, "processId").map(str::to_owned),
                cut: false,
            };
            self.commands.insert(id, running);
        }
    }

    /// Keeps what a patch does for the request that asks for it, which names only the item.
    fn patch_of(&mut self, item: &Value, started: bool) {
        if text(item, "type") == Some("fileChange") {
            let id = owned(item, "id");
            if started {
                self.keep_patch(id, item);
            } else {
                self.patches.remove(&id);
            }
        }
    }

    fn keep_patch(&mut self, id: String, holder: &Value) {
        let changes = holder.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let paths = changes.iter().filter_map(|c| text(c, "path")).collect::<Vec<_>>().join(", ");
        let diffs = changes.iter().map(|c| {
            let (path, diff) = (owned(c, "path"), items::diff(c).unwrap_or_default());
            format!("--- {path}\n+++ {path}\n{diff}")
        });
        if self.patches.len() < MAX_OPEN || self.patches.contains_key(&id) {
            self.patches.insert(id, (paths, diffs.collect()));
        }
    }
}
