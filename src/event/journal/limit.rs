//! The bound on one event: over-long texts are cut, and say so.

use serde_json::Value;

use super::MAX_TEXT;
use crate::event::{Body, encode::prefix};

/// Cuts the texts of a body that are longer than [`MAX_TEXT`]; true if any was. `in_raw`: the event
/// was read from `raw.jsonl`, so the whole text is there.
///
/// Ids and names are left alone: cutting one would make it another's.
pub(super) fn cut(body: &mut Body, in_raw: bool) -> bool {
    let mut hit = false;
    let mut text = |s: &mut String| hit |= cut_text(s, in_raw);
    match body {
        Body::MessageDelta { text: t, .. }
        | Body::MessageCompleted { text: t, .. }
        | Body::ReasoningDelta { text: t, .. }
        | Body::ReasoningCompleted { text: t, .. }
        | Body::CommandOutput { text: t, .. }
        | Body::UserMessage { text: t, .. }
        | Body::Warning { text: t }
        | Body::Error { text: t, .. }
        | Body::Gap { text: t }
        | Body::Raw { text: t } => text(t),
        Body::CommandStarted { command, .. } => text(command),
        Body::CommandCompleted { command, text: output, .. } => {
            text(command);
            output.iter_mut().for_each(text);
        }
        Body::TurnCompleted { error, .. } => error.iter_mut().for_each(text),
        Body::SessionEnded { reason, .. } => reason.iter_mut().for_each(text),
        Body::ToolStarted { input, .. } => hit |= cut_value(input, in_raw),
        Body::ToolCompleted { input, output, error, .. } => {
            error.iter_mut().for_each(text);
            hit |= cut_value(input, in_raw);
            hit |= cut_value(output, in_raw);
        }
        Body::FileChanged { diff, .. } => diff.iter_mut().for_each(text),
        Body::PlanUpdated(plan) => plan.steps.iter_mut().for_each(|s| text(&mut s.text)),
        Body::ApprovalRequested { what, command, diff, questions, .. } => {
            text(what);
            command.iter_mut().for_each(&mut text);
            diff.iter_mut().for_each(text);
            questions.iter_mut().for_each(|q| hit |= cut_value(q, in_raw));
        }
        Body::SessionStarted { .. }
        | Body::TurnStarted {}
        | Body::Usage(_)
        | Body::Step { .. }
        | Body::ApprovalResolved { .. } => {}
    }
    hit
}

fn cut_text(text: &mut String, in_raw: bool) -> bool {
    let full = text.len();
    if full <= MAX_TEXT {
        return false;
    }
    text.truncate(prefix(text, MAX_TEXT).len());
    let rest = if in_raw { "raw.jsonl has it whole" } else { "the rest was not kept" };
    text.push_str(&format!("\n[cut by fracta: the first {} of {full} bytes; {rest}]", text.len()));
    true
}

/// A value whose JSON is too long becomes the start of that JSON as a text.
fn cut_value(value: &mut Value, in_raw: bool) -> bool {
    if let Value::String(s) = value {
        return cut_text(s, in_raw);
    }
    let mut json = value.to_string();
    let hit = cut_text(&mut json, in_raw);
    if hit {
        *value = Value::String(json);
    }
    hit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Role, journal::MAX_CHUNK};

    #[test]
    fn long_texts_are_cut_at_a_character_and_say_so() {
        let whole = "ä".repeat(MAX_TEXT / 2 + 1);
        let mut body =
            Body::MessageCompleted { item: "i".into(), role: Role::Assistant, text: format!("x{whole}") };
        assert!(cut(&mut body, true));
        let Body::MessageCompleted { text, .. } = &body else { panic!() };
        let kept = MAX_TEXT - 1;
        let note =
            format!("\n[cut by fracta: the first {kept} of {} bytes; raw.jsonl has it whole]", MAX_TEXT + 3);
        assert!(text.starts_with("xä") && text.ends_with(&note), "{}", &text[text.len() - 100..]);
        assert_eq!(text.len(), kept + note.len());
    }

    #[test]
    fn short_texts_are_left_alone() {
        let mut body = Body::Raw { text: "x".repeat(MAX_TEXT) };
        assert!(!cut(&mut body, true));
        assert_eq!(body, Body::Raw { text: "x".repeat(MAX_TEXT) });
    }

    #[test]
    fn a_large_value_becomes_the_start_of_its_json() {
        let input = serde_json::json!({ "lines": vec!["y".repeat(1000); MAX_CHUNK / 250] });
        let mut body = Body::ToolStarted { item: "i".into(), name: "n".into(), input };
        assert!(cut(&mut body, false));
        let Body::ToolStarted { input: Value::String(s), .. } = &body else { panic!() };
        assert!(s.starts_with("{\"lines\":[\"yyy") && s.ends_with("the rest was not kept]"));
        assert!(s.len() < MAX_TEXT + 200);
    }
}
