//! Masking what an adapter made of an agent's words.

use serde_json::Value;

use super::Mask;
use crate::event::{Body, Fact};

impl Mask {
    /// Masks a fact of the agent's. The number of facts stays the same, since recovery counts them.
    pub fn fact(&mut self, fact: &mut Fact) {
        if !self.is_empty() {
            self.body(&mut fact.body);
        }
    }

    fn body(&mut self, body: &mut Body) {
        match body {
            Body::MessageDelta { item, text, .. }
            | Body::ReasoningDelta { item, text }
            | Body::CommandOutput { item, text } => *text = self.piece(item, text),
            Body::MessageCompleted { item, text, .. } | Body::ReasoningCompleted { item, text } => {
                self.held.remove(item.as_str());
                self.string(text);
            }
            Body::CommandCompleted { item, command, cwd, text, .. } => {
                self.held.remove(item.as_str());
                self.string(command);
                cwd.iter_mut().chain(text).for_each(|t| self.string(t));
            }
            Body::CommandStarted { command, cwd, .. } => {
                self.string(command);
                cwd.iter_mut().for_each(|t| self.string(t));
            }
            Body::ToolStarted { input, .. } => self.value(input),
            Body::ToolCompleted { input, output, error, .. } => {
                self.value(input);
                self.value(output);
                error.iter_mut().for_each(|t| self.string(t));
            }
            Body::FileChanged { path, diff, .. } => {
                self.string(path);
                diff.iter_mut().for_each(|t| self.string(t));
            }
            Body::PlanUpdated(plan) => plan.steps.iter_mut().for_each(|s| self.string(&mut s.text)),
            Body::ApprovalRequested { what, command, cwd, diff, questions, .. } => {
                self.string(what);
                command.iter_mut().chain(cwd).chain(diff).for_each(|t| self.string(t));
                questions.iter_mut().for_each(|q| self.value(q));
            }
            Body::UserMessage { text, reason, .. } => {
                self.string(text);
                reason.iter_mut().for_each(|t| self.string(t));
            }
            Body::TurnCompleted { error, .. } => error.iter_mut().for_each(|t| self.string(t)),
            Body::SessionEnded { reason, .. } => reason.iter_mut().for_each(|t| self.string(t)),
            Body::SessionStarted { model, .. } => model.iter_mut().for_each(|t| self.string(t)),
            Body::Warning { text } | Body::Error { text, .. } | Body::Gap { text } | Body::Raw { text } => {
                self.string(text);
            }
            Body::TurnStarted {} | Body::Usage(_) | Body::Step { .. } | Body::ApprovalResolved { .. } => {}
        }
    }

    /// Masks a text of fracta's own, such as the reason of a death out of the last lines of stderr.
    pub fn string(&self, text: &mut String) {
        if !self.is_empty()
            && let Some(masked) = self.text(text)
        {
            *text = masked;
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => items.iter_mut().for_each(|v| self.value(v)),
            Value::Object(map) => {
                // Keys are texts of the agent's too.
                let keys: Vec<String> = map.keys().filter(|k| self.text(k).is_some()).cloned().collect();
                for key in keys {
                    if let (Some(masked), Some(inner)) = (self.text(&key), map.remove(&key)) {
                        map.insert(masked, inner);
                    }
                }
                map.values_mut().for_each(|v| self.value(v));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
