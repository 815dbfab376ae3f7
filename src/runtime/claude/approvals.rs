//! What Claude asks its client (`can_use_tool`), and the answers.

use serde_json::{Map, Value, json};

use super::tools;
use crate::event::{Body, Decision};
use crate::runtime::Refused;
use crate::runtime::json::{as_text, list, owned, text};

/// Longest input that is shown in the one line of a request, in characters.
const MAX_SHOWN: usize = 300;

/// An open request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Claude's id of the request.
    pub request: String,
    /// The turn that waits for it.
    pub turn: Option<String>,
    /// What the tool was called with: a yes repeats it.
    pub input: Value,
    /// It has questions: a yes must answer them.
    pub questions: bool,
    /// It was answered. Facts read from lines must not depend on it.
    pub answered: bool,
    /// The answer, where it was given without a person.
    pub by_itself: Option<Vec<u8>>,
}

/// How a request is shown. `id` is fracta's.
pub(super) fn read(request: &Value, id: &str) -> Body {
    let name = text(request, "tool_name").unwrap_or("a tool");
    let input = request.get("input").unwrap_or(&Value::Null);
    let mut command = None;
    let mut questions = None;
    let what = match name {
        "Bash" => {
            command = text(input, "command").map(str::to_owned);
            match text(input, "description") {
                Some(why) => format!("run a command: {why}"),
                None => "run a command".to_owned(),
            }
        }
        "Edit" | "Write" | "MultiEdit" | "NotebookEdit" => format!("change {}", tools::path(input)),
        "Read" => format!("read {}", tools::path(input)),
        "WebFetch" => format!("fetch {}", owned(input, "url")),
        "WebSearch" => format!("search the web for {}", owned(input, "query")),
        "ExitPlanMode" => format!("carry out this plan: {}", owned(input, "plan")),
        "AskUserQuestion" => {
            questions = Some(numbered(input));
            let all: Vec<_> = list(input, "questions").iter().map(|q| owned(q, "question")).collect();
            all.join(" / ")
        }
        _ => format!("use {} {}", tools::shown(name), shown(input)),
    };
    let who = if request.get("agent_id").is_some_and(|a| !a.is_null()) { "(a subagent) " } else { "" };
    let outside = match text(request, "blocked_path") {
        Some(path) if command.is_some() => format!(" (it touches {path})"),
        _ => String::new(),
    };
    Body::ApprovalRequested {
        approval: id.to_owned(),
        what: format!("{who}{what}{outside}"),
        command,
        cwd: None,
        diff: tools::wanted(name, input),
        questions,
    }
}

/// Whether a request has questions.
pub(super) fn has_questions(request: &Value) -> bool {
    text(request, "tool_name") == Some("AskUserQuestion")
}

/// Claude's questions have no ids: they are answered by their text. They get short ones here.
fn numbered(input: &Value) -> Value {
    let number = |(i, q): (usize, &Value)| {
        let mut q = q.clone();
        if let Some(members) = q.as_object_mut() {
            members.insert("id".to_owned(), json!(format!("q{}", i + 1)));
        }
        q
    };
    list(input, "questions").iter().enumerate().map(number).collect()
}

fn shown(input: &Value) -> String {
    let text = input.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The answer to send for a decision. `refusal` is what the model is told after a no.
pub(super) fn answer(
    ask: &Ask,
    decision: Decision,
    answers: Option<&Value>,
    refusal: &str,
) -> Result<Vec<u8>, Refused> {
    let result = match decision {
        Decision::Approved => {
            let mut input = ask.input.clone();
            if ask.questions {
                input["answers"] = Value::Object(replies(&ask.input, answers)?);
            }
            json!({ "behavior": "allow", "updatedInput": input })
        }
        Decision::Denied => json!({ "behavior": "deny", "message": refusal }),
        Decision::Withdrawn => {
            return Err(Refused("a request is withdrawn by claude, not by us".to_owned()));
        }
    };
    Ok(response(&ask.request, &json!({ "subtype": "success", "response": result })))
}

/// A request that fracta does not serve.
pub(super) fn refusal(request: &str, subtype: &str) -> Vec<u8> {
    response(request, &json!({ "subtype": "error", "error": format!("fracta does not serve {subtype}") }))
}

fn response(request: &str, body: &Value) -> Vec<u8> {
    let mut body = body.clone();
    body["request_id"] = json!(request);
    json!({ "type": "control_response", "response": body }).to_string().into_bytes()
}

/// `{"q1": "text" | ["text", …] | {"answers": […]}}` (or by header, or by the question itself); for a
/// single question its answer alone.
fn replies(input: &Value, answers: Option<&Value>) -> Result<Map<String, Value>, Refused> {
    let questions = list(input, "questions");
    let joined = |v: &Value| match v.get("answers").unwrap_or(v) {
        Value::Array(all) => all.iter().map(as_text).collect::<Vec<_>>().join(", "),
        one => as_text(one),
    };
    let mut given = Map::new();
    for (i, q) in questions.iter().enumerate() {
        let names = [format!("q{}", i + 1), owned(q, "header"), owned(q, "question")];
        let found = match answers {
            Some(Value::Object(all)) => names.iter().find_map(|n| all.get(n)),
            Some(one) if questions.len() == 1 => Some(one),
            _ => None,
        };
        if let Some(v) = found {
            given.insert(owned(q, "question"), Value::String(joined(v)));
        }
    }
    if given.is_empty() {
        let names: Vec<_> = (1..=questions.len()).map(|n| format!("q{n}")).collect();
        return Err(Refused(format!(
            "this request has questions ({}): give answers by their ids, or deny it",
            names.join(", ")
        )));
    }
    Ok(given)
}
