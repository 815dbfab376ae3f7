//! What the app server asks its client, and the answers in the form that each request wants.

use serde_json::{Map, Value, json};

use super::items;
use super::rpc::{owned, text};
use crate::event::{Body, Decision};
use crate::runtime::Refused;

/// An open request of the server.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// The request's id as it was written.
    pub rpc: String,
    pub kind: Kind,
    /// The turn that waits for it (of a subagent perhaps).
    pub turn: Option<String>,
    /// The item that it is about.
    pub item: Option<String>,
    /// What we answered, if we did. Facts read from lines must not depend on it.
    pub answered: Option<Decision>,
    /// The answer, where it was given without a person.
    pub by_itself: Option<Vec<u8>>,
}

/// What is asked, as far as the answer needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A command or a patch: `accept` or `decline` (`cancel` would end the turn).
    Act,
    /// More rights; an answer grants what was asked for.
    Permissions(Value),
    /// Questions by id. `expires`: the server stops waiting by itself, and says so.
    Questions { ids: Vec<String>, expires: bool },
    /// An MCP server's form or page. `fill`: it wants content.
    Elicitation { fill: bool },
    /// The requests of the API before `thread/start`.
    Legacy,
}

/// Reads a request: what it is, and how it is shown. None: fracta does not serve it.
/// `patch` is what the patch of a file change does: its paths and its diff.
pub(super) fn read(
    method: &str,
    p: &Value,
    id: &str,
    patch: Option<&(String, String)>,
) -> Option<(Kind, Body)> {
    let mut command = None;
    let mut diff = None;
    let mut questions = None;
    let (kind, what) = match method {
        "item/commandExecution/requestApproval" => {
            command = text(p, "command").map(str::to_owned);
            let network = p.get("networkApprovalContext").and_then(|n| text(n, "host"));
            let what = match (network, text(p, "kind")) {
                (Some(host), _) => format!("reach {host} over the network"),
                (None, Some("writeStdin")) => "write to a running command".to_owned(),
                _ => "run a command".to_owned(),
            };
            (Kind::Act, what)
        }
        "item/fileChange/requestApproval" => {
            diff = patch.map(|(_, diff)| diff.clone());
            let files = patch.map_or("files", |(paths, _)| paths);
            let root = text(p, "grantRoot").map(|r| format!(", and write below {r} from now on"));
            (Kind::Act, format!("change {files}{}", root.unwrap_or_default()))
        }
        "item/permissions/requestApproval" => {
            let asked = p.get("permissions").cloned().unwrap_or_else(|| json!({}));
            let what = format!("more permissions: {asked}");
            (Kind::Permissions(asked), what)
        }
        "item/tool/requestUserInput" => {
            questions = p.get("questions").cloned();
            let all = questions.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let what = all.iter().map(|q| owned(q, "question")).collect::<Vec<_>>().join(" / ");
            let expires = p.get("autoResolutionMs").is_some_and(|ms| !ms.is_null());
            (Kind::Questions { ids: all.iter().map(|q| owned(q, "id")).collect(), expires }, what)
        }
        "mcpServer/elicitation/request" => elicitation(p, &mut questions),
        "execCommandApproval" => {
            let words = p.get("command").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            command = Some(words.iter().map(items::as_text).collect::<Vec<_>>().join(" "));
            (Kind::Legacy, "run a command".to_owned())
        }
        "applyPatchApproval" => {
            let files = p.get("fileChanges").and_then(Value::as_object);
            let paths = files.map(|f| f.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
            diff = p.get("fileChanges").map(Value::to_string);
            (Kind::Legacy, format!("change {}", paths.unwrap_or_else(|| "files".to_owned())))
        }
        _ => return None,
    };
    let what = match text(p, "reason").filter(|r| !r.is_empty()) {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    };
    let cwd = text(p, "cwd").map(str::to_owned);
    Some((kind, Body::ApprovalRequested { approval: id.to_owned(), what, command, cwd, diff, questions }))
}

fn elicitation(p: &Value, questions: &mut Option<Value>) -> (Kind, String) {
    let server = text(p, "serverName").unwrap_or("an MCP server");
    let message = text(p, "message").or_else(|| text(p, "description")).unwrap_or_default();
    let page = text(p, "url").map(|url| format!(" {url}")).unwrap_or_default();
    let fields = p.get("requestedSchema").and_then(|s| s.get("properties")).and_then(Value::as_object);
    let required = p.get("requestedSchema").and_then(|s| s.get("required")).and_then(Value::as_array);
    if fields.is_some_and(|f| !f.is_empty()) {
        *questions = p.get("requestedSchema").cloned();
    }
    let fill = required.is_some_and(|r| !r.is_empty());
    // Codex asks in this form, too, whether a tool of the server may run: with what is in `_meta`.
    let with = p.pointer("/_meta/tool_params").map(|params| format!(" {params}")).unwrap_or_default();
    (Kind::Elicitation { fill }, format!("{server} asks: {message}{page}{with}"))
}

/// The result to send for a person's answer.
pub(super) fn answer(kind: &Kind, decision: Decision, answers: Option<&Value>) -> Result<Value, Refused> {
    let yes = match decision {
        Decision::Approved => true,
        Decision::Denied => false,
        Decision::Withdrawn => return Err(Refused("a request is withdrawn by codex, not by us".to_owned())),
    };
    let word = |yes_word: &'static str, no_word: &'static str| if yes { yes_word } else { no_word };
    Ok(match kind {
        Kind::Act => json!({ "decision": word("accept", "decline") }),
        Kind::Legacy => json!({ "decision": word("approved", "denied") }),
        Kind::Permissions(asked) if yes => json!({ "permissions": asked, "scope": "turn" }),
        Kind::Permissions(_) => json!({ "permissions": {}, "scope": "turn" }),
        Kind::Questions { ids, .. } => {
            let given = if yes { replies(ids, answers)? } else { Map::new() };
            json!({ "answers": given })
        }
        Kind::Elicitation { .. } if !yes => json!({ "action": "decline", "content": null }),
        Kind::Elicitation { fill } => match answers {
            None if *fill => {
                return Err(Refused(
                    "this request is a form: give the fields' values as answers, or deny it".to_owned(),
                ));
            }
            content => {
                json!({ "action": "accept", "content": content.cloned().unwrap_or_else(|| json!({})) })
            }
        },
    })
}

/// The answer under `permissions: auto`: yes to what is a yes-or-no, no to what wants an answer.
pub(super) fn by_itself(kind: &Kind) -> (Decision, Value) {
    let decision = match kind {
        Kind::Questions { .. } | Kind::Elicitation { fill: true } => Decision::Denied,
        _ => Decision::Approved,
    };
    (decision, answer(kind, decision, None).unwrap_or_default())
}

/// `{id: "text" | ["text", …] | {answers: […]}}`, or for a single question its answer alone.
fn replies(ids: &[String], answers: Option<&Value>) -> Result<Map<String, Value>, Refused> {
    let list = |v: &Value| match v.get("answers").unwrap_or(v) {
        Value::Array(all) => all.iter().map(items::as_text).collect::<Vec<_>>(),
        one => vec![items::as_text(one)],
    };
    let mut given = Map::new();
    match (answers, ids) {
        (Some(Value::Object(by_id)), _) => {
            for (id, v) in by_id.iter().filter(|(id, _)| ids.contains(id)) {
                given.insert(id.clone(), json!({ "answers": list(v) }));
            }
        }
        (Some(v), [only]) => {
            given.insert(only.clone(), json!({ "answers": list(v) }));
        }
        _ => {}
    }
    if given.is_empty() && !ids.is_empty() {
        let names = ids.join(", ");
        return Err(Refused(format!(
            "this request has questions ({names}): give answers by their ids, or deny it"
        )));
    }
    Ok(given)
}
