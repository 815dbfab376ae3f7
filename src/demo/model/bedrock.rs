//! Amazon Bedrock's two ways to stream, as far as the CLIs use them: `invoke-with-response-stream` (called by
//! Claude Code; the body and the events are those of Anthropic Messages) and `converse-stream` (called by
//! OpenCode). Both answer in frames of `application/vnd.amazon.eventstream`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::dialect::{Call, Dialect, Event};
use super::messages::Writer;
use super::{Step, Turn};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    Invoke,
    Converse,
}

/// `/model/ID/…`: the model and the way.
pub(super) fn route(path: &str) -> Option<(String, Face)> {
    let (id, way) = path.strip_prefix("/model/")?.rsplit_once('/')?;
    let face = match way {
        "invoke-with-response-stream" => Face::Invoke,
        "converse-stream" => Face::Converse,
        _ => return None,
    };
    Some((id.replace("%3A", ":").replace("%2F", "/"), face))
}

/// The request as Anthropic Messages would have it.
pub(super) fn as_messages(body: &Value, model: &str, face: Face) -> Value {
    let mut out = match face {
        Face::Invoke => body.clone(),
        Face::Converse => json!({
            "system": body["system"].as_array().into_iter().flatten().filter_map(text).collect::<Vec<_>>(),
            "messages": body["messages"].as_array().into_iter().flatten().map(message).collect::<Vec<_>>(),
            "tools": body["toolConfig"]["tools"].as_array().into_iter().flatten().filter_map(tool).collect::<Vec<_>>(),
        }),
    };
    if out.is_object() {
        out["model"] = model.into();
    }
    out
}

fn text(block: &Value) -> Option<Value> {
    Some(json!({"type": "text", "text": block["text"].as_str()?}))
}

fn message(m: &Value) -> Value {
    let blocks = m["content"].as_array().into_iter().flatten().filter_map(|block| {
        let (call, result) = (&block["toolUse"], &block["toolResult"]);
        if call.is_object() {
            let (id, name, input) = (&call["toolUseId"], &call["name"], &call["input"]);
            return Some(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
        }
        if result.is_object() {
            let content: Vec<Value> =
                result["content"].as_array().into_iter().flatten().filter_map(text).collect();
            return Some(
                json!({"type": "tool_result", "tool_use_id": result["toolUseId"], "content": content}),
            );
        }
        text(block)
    });
    json!({"role": m["role"], "content": blocks.collect::<Vec<_>>()})
}

fn tool(tool: &Value) -> Option<Value> {
    let spec = tool["toolSpec"].as_object()?;
    Some(json!({"name": spec.get("name")?, "input_schema": tool["toolSpec"]["inputSchema"]["json"]}))
}

/// Anthropic's events in Bedrock's frames.
pub(super) struct Bedrock {
    pub inner: Writer,
    pub face: Face,
}

impl Dialect for Bedrock {
    fn open(&mut self) -> Vec<Event> {
        self.inner.open()
    }

    fn reasoning(&mut self, text: &str) -> Vec<Event> {
        self.inner.reasoning(text)
    }

    fn text_begin(&mut self) -> Vec<Event> {
        self.inner.text_begin()
    }

    fn text_piece(&mut self, piece: &str) -> Event {
        self.inner.text_piece(piece)
    }

    fn text_end(&mut self) -> Vec<Event> {
        self.inner.text_end()
    }

    fn call(&mut self, call: &Call) -> Vec<Event> {
        self.inner.call(call)
    }

    fn failed(&mut self, status: u16, body: &Value) -> Vec<Event> {
        self.inner.failed(status, body)
    }

    fn close(&mut self) -> Vec<Event> {
        self.inner.close()
    }

    fn translate(&self, step: &Step, turn: &Turn) -> Result<Call, String> {
        self.inner.translate(step, turn)
    }

    fn content_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }

    fn frame(&self, name: &str, data: &Value) -> Vec<u8> {
        match self.face {
            Face::Invoke => frame("chunk", &json!({"bytes": BASE64.encode(data.to_string())})),
            Face::Converse => {
                converse(name, data).iter().flat_map(|(name, data)| frame(name, data)).collect()
            }
        }
    }
}

/// What `converse-stream` says in place of one of Anthropic's events.
fn converse(name: &str, data: &Value) -> Vec<Event> {
    let index = &data["index"];
    let delta =
        |delta: Value| vec![("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}))];
    let inner = &data["delta"];
    match (name, inner["type"].as_str().unwrap_or_default()) {
        ("message_start", _) => vec![("messageStart", json!({"role": "assistant"}))],
        ("content_block_start", _) if data["content_block"]["type"] == "tool_use" => {
            let call = &data["content_block"];
            let start = json!({"toolUse": {"toolUseId": call["id"], "name": call["name"]}});
            vec![("contentBlockStart", json!({"contentBlockIndex": index, "start": start}))]
        }
        (_, "text_delta") => delta(json!({"text": inner["text"]})),
        (_, "input_json_delta") => delta(json!({"toolUse": {"input": inner["partial_json"]}})),
        (_, "thinking_delta") => delta(json!({"reasoningContent": {"text": inner["thinking"]}})),
        (_, "signature_delta") => delta(json!({"reasoningContent": {"signature": inner["signature"]}})),
        ("content_block_stop", _) => vec![("contentBlockStop", json!({"contentBlockIndex": index}))],
        ("message_delta", _) => {
            let output = data["usage"]["output_tokens"].as_u64().unwrap_or(1);
            let usage = json!({"inputTokens": 1, "outputTokens": output, "totalTokens": output + 1});
            vec![
                ("messageStop", json!({"stopReason": inner["stop_reason"]})),
                ("metadata", json!({"usage": usage, "metrics": {"latencyMs": 1}})),
            ]
        }
        ("error", _) => vec![("modelStreamErrorException", json!({"message": data["error"]["message"]}))],
        _ => Vec::new(),
    }
}

/// One message of an event stream: lengths, checksum, headers, payload, checksum.
fn frame(event: &str, payload: &Value) -> Vec<u8> {
    let payload = payload.to_string();
    let mut headers = Vec::new();
    for (name, value) in
        [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")]
    {
        // Names and values are short words of this file.
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7); // a string
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = 16 + headers.len() + payload.len();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.append(&mut headers);
    out.extend_from_slice(payload.as_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out
}

/// The checksum of zip and Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_summed_and_measured() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the checksum's own test value");
        let f = frame("chunk", &json!({"a": 1}));
        let number = |at: usize| u32::from_be_bytes(f[at..at + 4].try_into().unwrap());
        assert_eq!(number(0) as usize, f.len());
        assert_eq!(number(8), crc32(&f[..8]));
        assert_eq!(number(f.len() - 4), crc32(&f[..f.len() - 4]));
        let payload = 12 + number(4) as usize;
        assert_eq!(&f[payload..f.len() - 4], br#"{"a":1}"#);
    }

    #[test]
    fn a_converse_request_is_read_as_messages() {
        let body = json!({
            "system": [{"text": "s"}],
            "messages": [
                {"role": "user", "content": [{"text": "hi"}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "bash", "input": {"a": 1}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "out"}]}}]},
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "bash", "inputSchema": {"json": {"properties": {"command": {}}}}}}, {"cachePoint": {}}]},
        });
        let got = as_messages(&body, "m", Face::Converse);
        assert_eq!(got["model"], "m");
        assert_eq!(got["messages"][1]["content"][0]["name"], "bash");
        assert_eq!(got["messages"][2]["content"][0]["content"][0]["text"], "out");
        assert_eq!(got["tools"], json!([{"name": "bash", "input_schema": {"properties": {"command": {}}}}]));
        assert_eq!(route("/model/a.b%3A0/converse-stream"), Some(("a.b:0".to_owned(), Face::Converse)));
        assert_eq!(route("/model/x/invoke"), None);
    }
}
