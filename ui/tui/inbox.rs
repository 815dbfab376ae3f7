//! Every request that waits for a person, of all agents: one list, and one of it in focus.
//!
//! The focus stays on its request also when that is gone (answered elsewhere, its turn over): a key that
//! was meant for it must never fall on the one that moved up into its place.

use fracta::control::wire::Agent;
use fracta::session::state::PendingApproval;
use serde_json::Value;

use super::list::List;

/// The list of requests over the screen.
#[derive(Debug, Default)]
pub struct Inbox {
    pub focus: Option<Focus>,
    /// First entry shown; the view keeps the focus in sight.
    pub top: usize,
}

/// The request that keys act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Focus {
    pub session: String,
    pub name: String,
    /// The approval's id.
    pub id: String,
    /// What is shown of it once it is gone.
    pub what: String,
    /// Its place in the list.
    at: usize,
    /// What this screen's answer made of it.
    pub outcome: Option<&'static str>,
}

/// A row of the list.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    Waits(&'a Agent, &'a PendingApproval),
    /// In focus, and waiting no more.
    Gone(&'a Focus),
}

impl Entry<'_> {
    fn focus(&self, at: usize) -> Focus {
        match self {
            Entry::Gone(f) => (*f).clone(),
            Entry::Waits(agent, p) => Focus {
                session: agent.session.clone(),
                name: agent.name.to_string(),
                id: p.id.clone(),
                what: p.command.clone().unwrap_or_else(|| p.what.clone()),
                at,
                outcome: None,
            },
        }
    }
}

impl Inbox {
    /// All that waits, and what was in focus where it is gone.
    pub fn entries<'a>(&'a self, list: &'a List) -> Vec<Entry<'a>> {
        let mut all: Vec<_> = list.waiting().into_iter().map(|(a, p)| Entry::Waits(a, p)).collect();
        if let Some(f) = &self.focus
            && self.position(&all).is_none()
        {
            all.insert(f.at.min(all.len()), Entry::Gone(f));
        }
        all
    }

    /// Where the focus is in `entries`.
    pub fn position(&self, entries: &[Entry<'_>]) -> Option<usize> {
        let f = self.focus.as_ref()?;
        entries.iter().position(|e| match e {
            Entry::Waits(a, p) => a.session == f.session && p.id == f.id,
            Entry::Gone(_) => true,
        })
    }

    /// Puts the focus on the first request, where there is no focus yet.
    pub fn settle(&mut self, list: &List) {
        if self.focus.is_none() {
            self.focus = self.entries(list).first().map(|e| e.focus(0));
        }
    }

    /// Moves the focus by so many entries.
    pub fn step(&mut self, list: &List, by: isize) {
        let entries = self.entries(list);
        let at = self.position(&entries).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(entries.len().saturating_sub(1));
        // What is gone takes no place any more once the focus leaves it.
        let gone = to > at && matches!(entries.get(at), Some(Entry::Gone(_)));
        self.focus = entries.get(to).map(|e| e.focus(to - usize::from(gone)));
    }

    /// The request in focus, as long as it waits.
    pub fn waiting<'a>(&self, list: &'a List) -> Option<(&'a Agent, &'a PendingApproval)> {
        let f = self.focus.as_ref()?;
        let agent = list.get(&f.session)?;
        Some((agent, agent.pending_approvals.iter().find(|p| p.id == f.id)?))
    }
}

/// A question of a request, in whatever form the runtime gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    /// What may be chosen; empty: any text.
    pub options: Vec<String>,
    /// More than one may be chosen.
    pub several: bool,
}

/// The questions of a request.
pub fn questions(value: &Value) -> Vec<Question> {
    let list = value.get("questions").unwrap_or(value);
    let word = |v: &Value, keys: &[&str]| {
        keys.iter().find_map(|k| v.get(k)?.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let question = |q: &Value| Question {
        text: word(q, &["question", "header", "id"]),
        options: q
            .get("options")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|o| o.as_str().map_or_else(|| word(o, &["label", "value"]), str::to_owned))
            .collect(),
        several: ["multiSelect", "multiple"].iter().any(|k| q.get(k) == Some(&Value::Bool(true))),
    };
    list.as_array().into_iter().flatten().map(question).collect()
}

/// The choices of a request that one key can answer: those of its only question.
pub fn choices(request: &PendingApproval) -> Vec<String> {
    let all = request.questions.as_ref().map(questions).unwrap_or_default();
    match <[Question; 1]>::try_from(all) {
        Ok([q]) if q.options.len() <= 9 => q.options,
        _ => Vec::new(),
    }
}
