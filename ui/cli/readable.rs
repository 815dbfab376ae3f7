//! Events as plain lines for people, without a screen: `watch` and `peek`.

use fracta::event::{Body, Delivery, Event, Outcome, PlanStatus};

/// Turns events into text. Remembers which item's deltas it is in the middle of.
pub struct Readable {
    /// Item whose text is being streamed.
    open: Option<String>,
    /// The streamed text did not end in a line break.
    midline: bool,
}

impl Readable {
    pub fn new() -> Self {
        Self { open: None, midline: false }
    }

    /// The text for one event; not cleaned yet.
    pub fn show(&mut self, event: &Event) -> String {
        match &event.body {
            Body::MessageDelta { item, text, .. } | Body::CommandOutput { item, text } => {
                self.stream(item, text)
            }
            Body::ReasoningDelta { .. } => String::new(),
            Body::MessageCompleted { item, text, .. } => self.whole(item, text),
            Body::CommandCompleted { item, text, exit_code, .. } => {
                let output = self.whole(item, text.as_deref().unwrap_or_default());
                let code = exit_code.map_or_else(|| "no exit code".to_owned(), |c| format!("exit code {c}"));
                format!("{output}{}  {code}\n", self.finish())
            }
            body => format!("{}{}", self.finish(), fact(body)),
        }
    }

    /// Ends a line that was begun.
    pub fn finish(&mut self) -> String {
        self.open = None;
        if std::mem::take(&mut self.midline) { "\n".to_owned() } else { String::new() }
    }

    fn stream(&mut self, item: &str, text: &str) -> String {
        let begin = if self.open.as_deref() == Some(item) { String::new() } else { self.finish() };
        self.open = Some(item.to_owned());
        if !text.is_empty() {
            self.midline = !text.ends_with('\n');
        }
        format!("{begin}{text}")
    }

    /// The whole text of an item: shown only if its deltas were not.
    fn whole(&mut self, item: &str, text: &str) -> String {
        if self.open.as_deref() == Some(item) {
            return self.finish();
        }
        let begin = self.finish();
        self.midline = !text.is_empty() && !text.ends_with('\n');
        format!("{begin}{text}{}", self.finish())
    }
}

/// One line (or a few) for what is no stream of text.
fn fact(body: &Body) -> String {
    let text = match body {
        Body::SessionStarted { runtime, model, .. } => {
            format!("-- session started: {runtime} {}", model.as_deref().unwrap_or_default())
        }
        Body::TurnStarted {} => "-- turn started".to_owned(),
        Body::TurnCompleted { outcome, error } => turn(*outcome, error.as_deref()),
        Body::ReasoningCompleted { text, .. } => format!("(thinking) {}", fracta::text::summary(text, 200)),
        Body::CommandStarted { command, .. } => format!("$ {command}"),
        Body::ToolStarted { name, input, .. } => {
            format!("> {name} {}", fracta::text::summary(&input.to_string(), 200))
        }
        Body::ToolCompleted { name, error: Some(e), .. } => format!("> {name} failed: {e}"),
        Body::ToolCompleted { name, .. } => format!("> {name} done"),
        Body::FileChanged { path, change, diff, .. } => {
            let word = format!("{change:?}").to_lowercase();
            format!("* {word} {path}{}", diff.as_ref().map(|d| format!("\n{d}")).unwrap_or_default())
        }
        Body::PlanUpdated(plan) => plan.steps.iter().map(step).collect::<Vec<_>>().join("\n"),
        Body::Step { n, limit } => format!("-- step {n} of {limit}"),
        Body::ApprovalRequested { approval, what, command, .. } => {
            format!("?? approval {approval}: {what} {}", command.as_deref().unwrap_or_default())
        }
        Body::ApprovalResolved { approval, decision, by } => {
            format!("?? approval {approval}: {} by {by}", format!("{decision:?}").to_lowercase())
        }
        Body::UserMessage { text, delivery, reason, .. } => user(text, *delivery, reason.as_deref()),
        Body::Warning { text } => format!("warning: {text}"),
        Body::Error { text, .. } => format!("error: {text}"),
        Body::Gap { text } => format!("gap: {text}"),
        Body::Raw { text } => format!("raw: {text}"),
        Body::SessionEnded { state, reason } => {
            format!(
                "-- session ended: {}{}",
                state.word(),
                reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default()
            )
        }
        _ => return String::new(),
    };
    format!("{}\n", text.trim_end())
}

fn turn(outcome: Outcome, error: Option<&str>) -> String {
    let word = match outcome {
        Outcome::Completed => "completed",
        Outcome::Interrupted => "interrupted",
        Outcome::Failed => "failed",
    };
    format!("-- turn {word}{}", error.map(|e| format!(": {e}")).unwrap_or_default())
}

fn step(step: &fracta::event::PlanStep) -> String {
    let mark = match step.status {
        PlanStatus::Pending => "[ ]",
        PlanStatus::InProgress => "[~]",
        PlanStatus::Completed => "[x]",
    };
    format!("{mark} {}", step.text)
}

fn user(text: &str, delivery: Delivery, reason: Option<&str>) -> String {
    match (delivery, reason) {
        // Told when it was queued; that it was taken is the normal case.
        (Delivery::Accepted, _) => String::new(),
        (Delivery::Queued, _) => format!("you: {text}"),
        (d, r) => {
            format!("you: {text}\n  {}: {}", format!("{d:?}").to_lowercase(), r.unwrap_or("no reason given"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fracta::event::Role;

    fn event(seq: u64, body: Body) -> Event {
        Event {
            seq,
            ts: jiff::Timestamp::UNIX_EPOCH,
            agent: "a".into(),
            session: "s".into(),
            turn: None,
            raw: None,
            body,
        }
    }

    #[test]
    fn streamed_text_is_shown_once_and_lines_are_ended() {
        let mut r = Readable::new();
        let delta = |t: &str| Body::MessageDelta { item: "m".into(), role: Role::Assistant, text: t.into() };
        let mut all = r.show(&event(1, delta("Hel")));
        all += &r.show(&event(2, delta("lo")));
        all += &r.show(&event(
            3,
            Body::MessageCompleted { item: "m".into(), role: Role::Assistant, text: "Hello".into() },
        ));
        all += &r.show(&event(4, Body::CommandStarted { item: "c".into(), command: "ls".into(), cwd: None }));
        let done = Body::CommandCompleted {
            item: "c".into(),
            command: "ls".into(),
            cwd: None,
            text: Some("x\n".into()),
            exit_code: Some(2),
        };
        all += &r.show(&event(5, done));
        assert_eq!(all, "Hello\n$ ls\nx\n  exit code 2\n");
    }
}
