//! A model request in neutral words.

/// Which of the two protocols the caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
}

/// One request of a CLI to the model: the conversation so far and the tools it offers.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Number of the request at this server, from 1.
    pub number: u64,
    pub api: Api,
    /// Model name as the CLI sends it.
    pub model: String,
    /// System and developer texts, joined by blank lines.
    pub system: String,
    /// All texts of the person, oldest first, without what the CLI itself puts in the person's mouth
    /// (environment notes, reminders).
    pub users: Vec<String>,
    /// The text that began this turn.
    pub prompt: String,
    /// What has happened since `prompt`, in order.
    pub log: Vec<Entry>,
    /// Tools offered.
    pub tools: Vec<ToolDef>,
    /// The CLI's working folder, where the request tells it.
    pub cwd: Option<String>,
    /// The credential that came with the request: the bearer token, else the API key.
    pub key: Option<String>,
}

/// One thing that happened in a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The model said this.
    Said(String),
    /// The model called a tool.
    Called { id: String, name: String },
    /// A tool gave this.
    Result(ToolResult),
    /// The person added this while the turn ran.
    Steered(String),
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    pub id: String,
    pub name: String,
    pub output: String,
}

/// A tool that the caller offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDef {
    pub name: String,
    /// What the caller groups it under, and wants to be named in a call: Codex's MCP servers.
    pub namespace: Option<String>,
    /// True: takes free text, not JSON.
    pub freeform: bool,
    /// Names of the parameters.
    pub params: Vec<String>,
}

impl ToolDef {
    /// Is this its name, or its name with its namespace before it?
    pub(super) fn is_called(&self, name: &str) -> bool {
        let namespace = self.namespace.as_deref().map(|n| n.trim_end_matches('_'));
        name == self.name
            || namespace.and_then(|n| name.strip_prefix(n)?.strip_prefix("__")) == Some(&self.name)
    }
}

impl Turn {
    /// The newest text of the person.
    pub fn last_user(&self) -> &str {
        self.users.last().map_or("", String::as_str)
    }

    /// Texts added while the turn ran.
    pub fn steers(&self) -> impl Iterator<Item = &str> {
        self.log.iter().filter_map(|e| if let Entry::Steered(t) = e { Some(t.as_str()) } else { None })
    }

    /// Tool results since the prompt.
    pub fn results(&self) -> impl DoubleEndedIterator<Item = &ToolResult> {
        self.log.iter().filter_map(|e| if let Entry::Result(r) = e { Some(r) } else { None })
    }

    /// Tools that have been run since the prompt.
    pub fn tools_done(&self) -> usize {
        self.results().count()
    }

    /// Texts added by the person that the model has not answered yet.
    pub fn unanswered_steers(&self) -> Vec<&str> {
        let mut open = Vec::new();
        for e in &self.log {
            match e {
                Entry::Steered(t) => open.push(t.as_str()),
                Entry::Said(_) | Entry::Called { .. } => open.clear(),
                Entry::Result(_) => {}
            }
        }
        open
    }

    /// True when the model has spoken since the last tool result: what follows the tool was said.
    pub fn spoke_since_tool(&self) -> bool {
        self.log.iter().rev().find_map(|e| match e {
            Entry::Said(_) => Some(true),
            Entry::Result(_) => Some(false),
            _ => None,
        }) == Some(true)
    }

    /// The first of `names` that is offered.
    pub fn tool(&self, names: &[&str]) -> Option<&ToolDef> {
        names.iter().find_map(|n| self.tools.iter().find(|t| t.is_called(n)))
    }
}

/// What both parsers collect while they walk through a conversation.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Every entry, and where user texts stand (as `Steered`, which [`Walk::split`] sorts out).
    pub entries: Vec<Entry>,
    pub system: Vec<String>,
}

impl Walk {
    pub fn user(&mut self, text: &str) {
        if text.starts_with("[Request interrupted by user") {
            self.entries.push(Entry::Said(String::new())); // Claude's note: the turn before is over
        } else if !is_context(text) {
            self.entries.push(Entry::Steered(text.to_owned()));
        }
    }

    /// User texts so far.
    pub fn user_count(&self) -> usize {
        self.entries.iter().filter(|e| matches!(e, Entry::Steered(_))).count()
    }

    pub fn name_of(&self, call: &str) -> String {
        let found = self.entries.iter().rev().find_map(|e| match e {
            Entry::Called { id, name } if id == call => Some(name.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// All user texts, the prompt of the running turn, and what came after it. `first` is the number
    /// of user texts before the prompt where the caller says which request began the turn; without
    /// it, a text begins a turn unless it comes right after a tool's result: that is a steer.
    pub fn split(self, first: Option<usize>) -> (Vec<String>, String, Vec<Entry>) {
        let mut users = Vec::new();
        let (mut prompt, mut at) = (String::new(), 0);
        let mut closed = true;
        for (i, e) in self.entries.iter().enumerate() {
            if let Entry::Steered(t) = e {
                if first.map_or(closed, |n| users.len() == n) {
                    (prompt, at) = (t.clone(), i + 1);
                }
                users.push(t.clone());
            }
            match e {
                Entry::Said(_) => closed = true,
                Entry::Called { .. } | Entry::Result(_) => closed = false,
                // After a turn that failed before it answered, the next text is a prompt again.
                Entry::Steered(_) => {}
            }
        }
        let log = self.entries.into_iter().skip(at).collect();
        (users, prompt, log)
    }
}

/// Texts that CLIs put into the user's role by themselves: a block in one tag, or the project's
/// instructions.
fn is_context(text: &str) -> bool {
    let t = text.trim();
    if t.is_empty() || t.starts_with("# AGENTS.md instructions") {
        return true;
    }
    let Some(tag) = t.strip_prefix('<').and_then(|r| r.split(['>', ' ']).next()) else { return false };
    !tag.is_empty() && !tag.contains('\n') && t.ends_with(&format!("</{tag}>"))
}

/// The working folder out of what the CLI tells the model about its surroundings.
pub(super) fn find_cwd(texts: &str) -> Option<String> {
    for line in texts.lines() {
        let line = line.trim().trim_start_matches("- ");
        if let Some(p) = line.strip_prefix("<cwd>").and_then(|r| r.strip_suffix("</cwd>")) {
            return Some(p.to_owned());
        }
        for word in ["Primary working directory: ", "Working directory: "] {
            if let Some(p) = line.strip_prefix(word) {
                return Some(p.trim().to_owned());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(entries: Vec<Entry>) -> Walk {
        Walk { entries, system: Vec::new() }
    }
    fn user(t: &str) -> Entry {
        Entry::Steered(t.to_owned())
    }
    fn said(t: &str) -> Entry {
        Entry::Said(t.to_owned())
    }
    fn result() -> Entry {
        Entry::Result(ToolResult { id: "1".into(), name: "sh".into(), output: String::new() })
    }

    #[test]
    fn a_text_right_after_a_tool_result_is_a_steer_and_any_other_begins_a_turn() {
        let w = walk(vec![user("one"), said("a"), user("two"), result(), user("more")]);
        let (users, prompt, log) = w.split(None);
        assert_eq!(users, ["one", "two", "more"]);
        assert_eq!(prompt, "two");
        assert_eq!(log, [result(), user("more")]);
    }

    #[test]
    fn the_callers_own_word_about_the_turn_wins() {
        let w = walk(vec![user("one"), said("a"), user("more")]);
        let (_, prompt, log) = w.split(Some(0));
        assert_eq!(prompt, "one");
        assert_eq!(log, [said("a"), user("more")]);
    }

    #[test]
    fn notes_of_the_cli_are_not_the_persons_words() {
        let mut w = Walk::default();
        for t in [
            "<environment_context>\n <cwd>/x</cwd>\n</environment_context>",
            "<a> b",
            "# AGENTS.md instructions for /x",
            "hi",
        ] {
            w.user(t);
        }
        assert_eq!(w.split(None).0, ["<a> b", "hi"]);
    }

    #[test]
    fn folders_are_found_in_the_words_of_each_cli() {
        assert_eq!(find_cwd("x\n  <cwd>/a b</cwd>").as_deref(), Some("/a b"));
        assert_eq!(find_cwd(" - Primary working directory: /a").as_deref(), Some("/a"));
        assert_eq!(find_cwd("  Working directory: /a").as_deref(), Some("/a"));
        assert_eq!(find_cwd("none"), None);
    }
}
