//! The frames of `codex app-server`: JSON-RPC 2.0 without the `jsonrpc` member, one object a line.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) use crate::runtime::json::{owned, text};

/// Text that is borrowed from the line where it holds no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// One line, taken apart but not read: which of the members are there says what it is.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow, default)]
    pub method: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

impl Frame<'_> {
    /// The parameters; `null` where there are none or they are not JSON that can be held.
    pub(super) fn params(&self) -> Value {
        value(self.params)
    }
}

pub(super) fn value(raw: Option<&RawValue>) -> Value {
    raw.and_then(|r| serde_json::from_str(r.get()).ok()).unwrap_or(Value::Null)
}

/// Parameters of the notifications that carry a piece of text of an item: the hot path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    pub thread_id: Text<'a>,
    #[serde(borrow)]
    pub turn_id: Text<'a>,
    #[serde(borrow)]
    pub item_id: Text<'a>,
    #[serde(borrow)]
    pub delta: Text<'a>,
}

/// Id of a request of ours. It says what the reply means, so that a state machine that was rebuilt
/// from the output lines alone understands it: `turn/start#m-abc`.
pub(super) fn id(method: &str, about: &str) -> String {
    format!("{method}#{about}")
}

pub(super) fn request(method: &str, about: &str, params: &Value) -> Vec<u8> {
    json!({ "id": id(method, about), "method": method, "params": params }).to_string().into_bytes()
}

/// An answer to a request of the server; `id` is its id as it was written.
pub(super) fn result(id: &str, result: &Value) -> Vec<u8> {
    format!("{{\"id\":{id},\"result\":{result}}}").into_bytes()
}

/// A refusal of a request of the server (-32601, method not found).
pub(super) fn refusal(id: &str, method: &str) -> Vec<u8> {
    let error = json!({ "code": -32601, "message": format!("fracta does not serve {method}") });
    format!("{{\"id\":{id},\"error\":{error}}}").into_bytes()
}
