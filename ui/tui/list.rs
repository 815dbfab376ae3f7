//! The list of agents: groups, filter, and a selection that stays on its agent whatever moves.

use std::collections::BTreeMap;

use fracta::control::wire::Agent;
use fracta::session::state::{PendingApproval, State};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// Longest text of an agent's row that is kept (law 1); rows show less.
const KEEP: usize = 400;

/// Longest command or diff of a request that is kept for the list of requests.
const PREVIEW: usize = 4096;

/// Groups of the list, in their order on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    NeedsYou,
    Working,
    Idle,
    Done,
}

impl Group {
    pub fn of(agent: &Agent) -> Self {
        if !agent.pending_approvals.is_empty() {
            return Group::NeedsYou;
        }
        match agent.state {
            State::Waiting | State::Failed => Group::NeedsYou,
            // Unknown is no rest: something is or was under way and cannot be seen.
            State::Queued | State::Starting | State::Running | State::Unknown => Group::Working,
            State::Idle => Group::Idle,
            State::Completed | State::Stopped => Group::Done,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Group::NeedsYou => "needs you",
            Group::Working => "working",
            Group::Idle => "idle",
            Group::Done => "done",
        }
    }
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Heading(Group, usize),
    /// Session id of the agent.
    Agent(String),
}

/// All agents by session id, and the rows made of them.
#[derive(Debug, Default)]
pub struct List {
    agents: BTreeMap<String, Agent>,
    rows: Vec<Row>,
    selected: Option<String>,
    filter: String,
    counts: [usize; 4],
    requests: usize,
    /// First row shown; the view keeps the selection in sight.
    pub top: usize,
}

impl List {
    /// Replaces everything (the first frame of a watch).
    pub fn replace(&mut self, agents: Vec<Agent>) {
        self.agents = agents.into_iter().map(|a| (a.session.clone(), slim(a))).collect();
        self.requests = self.agents.values().map(|a| a.pending_approvals.len()).sum();
        self.arrange();
    }

    /// A new or changed agent. Returns the state before, if it was known.
    pub fn put(&mut self, agent: Agent) -> Option<Group> {
        let agent = slim(agent);
        let place = (Group::of(&agent), asks(&agent));
        self.requests += agent.pending_approvals.len();
        let before = self.agents.insert(agent.session.clone(), agent);
        self.requests -= before.as_ref().map_or(0, |a| a.pending_approvals.len());
        let was = before.as_ref().map(|a| (Group::of(a), asks(a)));
        let old = was.map(|w| w.0);
        // A change inside a group moves no row, unless what the filter reads has changed.
        if was != Some(place) || !self.filter.is_empty() {
            self.arrange();
        }
        old
    }

    pub fn remove(&mut self, session: &str) {
        if let Some(gone) = self.agents.remove(session) {
            self.requests -= gone.pending_approvals.len();
            self.arrange();
        }
    }

    pub fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn get(&self, session: &str) -> Option<&Agent> {
        self.agents.get(session)
    }

    /// The agent of a name that is not killed, else any.
    pub fn named(&self, name: &str) -> Option<&Agent> {
        let mut found = None;
        for a in self.agents.values().filter(|a| a.name.as_str() == name) {
            if !a.killed {
                return Some(a);
            }
            found = Some(a);
        }
        found
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.agents.values().map(|a| a.name.as_str())
    }

    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Agents whose process lives, or will.
    pub fn live(&self) -> usize {
        self.agents.values().filter(|a| a.state.is_live() || a.state == State::Queued).count()
    }

    /// All requests that wait, oldest first, whatever the filter hides.
    pub fn waiting(&self) -> Vec<(&Agent, &PendingApproval)> {
        let mut all: Vec<_> =
            self.agents.values().flat_map(|a| a.pending_approvals.iter().map(move |p| (a, p))).collect();
        // The sort is stable: requests of one moment stay in their agent's order.
        all.sort_by_key(|(_, p)| p.since);
        all
    }

    /// How many requests wait.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Agents in a group, whatever the filter hides.
    pub fn count(&self, group: Group) -> usize {
        self.counts[group as usize]
    }

    pub fn selected(&self) -> Option<&Agent> {
        self.agents.get(self.selected.as_ref()?)
    }

    /// Index of the selected row.
    pub fn selected_row(&self) -> Option<usize> {
        let s = self.selected.as_ref()?;
        self.rows.iter().position(|r| matches!(r, Row::Agent(a) if a == s))
    }

    pub fn select(&mut self, session: &str) {
        if self.agents.contains_key(session) {
            self.selected = Some(session.to_owned());
        }
    }

    /// Moves the selection by so many agents, headings not counted.
    pub fn step(&mut self, by: isize) {
        let agents: Vec<&String> = self
            .rows
            .iter()
            .filter_map(|r| match r {
                Row::Agent(a) => Some(a),
                Row::Heading(..) => None,
            })
            .collect();
        let at = self.selected.as_ref().and_then(|s| agents.iter().position(|a| *a == s)).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(agents.len().saturating_sub(1));
        if let Some(a) = agents.get(to) {
            self.selected = Some((*a).clone());
        }
    }

    /// Selects the next agent that needs a person; false where there is none.
    pub fn next_waiting(&mut self) -> bool {
        let waiting: Vec<&String> = self
            .rows
            .iter()
            .filter_map(|r| match r {
                Row::Agent(a) if self.agents.get(a).map(Group::of) == Some(Group::NeedsYou) => Some(a),
                _ => None,
            })
            .collect();
        let at = self.selected.as_ref().and_then(|s| waiting.iter().position(|a| *a == s));
        let to = at.map_or(0, |i| (i + 1) % waiting.len().max(1));
        match waiting.get(to) {
            Some(a) => {
                self.selected = Some((*a).clone());
                true
            }
            None => false,
        }
    }

    /// Makes the rows anew. Where the selected agent is gone, its neighbour is selected.
    fn arrange(&mut self) {
        let place = self.selected_row();
        let mut shown: Vec<(Group, &Agent)> = Vec::with_capacity(self.agents.len());
        let mut sieve = Sieve::new(&self.filter);
        self.counts = [0; 4];
        for a in self.agents.values() {
            let g = Group::of(a);
            self.counts[g as usize] += 1;
            if sieve.passes(a) {
                shown.push((g, a));
            }
        }
        // Requests before failures, newest first, then by id: no other event changes the order.
        shown.sort_by(|(g, a), (h, b)| {
            g.cmp(h)
                .then(asks(b).cmp(&asks(a)))
                .then(b.created_at.cmp(&a.created_at))
                .then(a.session.cmp(&b.session))
        });
        let mut rows = Vec::with_capacity(shown.len() + 4);
        let mut at = 0;
        while at < shown.len() {
            let group = shown[at].0;
            let n = shown[at..].iter().take_while(|(g, _)| *g == group).count();
            rows.push(Row::Heading(group, n));
            rows.extend(shown[at..at + n].iter().map(|(_, a)| Row::Agent(a.session.clone())));
            at += n;
        }
        self.rows = rows;
        if self.selected_row().is_none() {
            let from = place.unwrap_or(0);
            let pick = |rows: &[Row]| {
                rows.iter().find_map(|r| match r {
                    Row::Agent(a) => Some(a.clone()),
                    Row::Heading(..) => None,
                })
            };
            let tail = self.rows.get(from.min(self.rows.len())..).unwrap_or_default();
            let near = pick(tail).or_else(|| {
                self.rows.iter().rev().find_map(|r| match r {
                    Row::Agent(a) => Some(a.clone()),
                    Row::Heading(..) => None,
                })
            });
            self.selected = near;
        }
    }
}

/// Somebody waits for an answer.
fn asks(agent: &Agent) -> bool {
    !agent.pending_approvals.is_empty()
}

/// Cuts what the list shows little or nothing of, so that memory does not grow with it.
fn slim(mut a: Agent) -> Agent {
    let cut = |s: &mut String| cut_to(s, KEEP);
    a.contract = None;
    cut(&mut a.activity);
    if let Some(r) = &mut a.reason {
        cut(r);
    }
    for p in &mut a.pending_approvals {
        cut(&mut p.what);
        for long in [&mut p.command, &mut p.diff].into_iter().flatten() {
            cut_to(long, PREVIEW);
        }
    }
    a
}

fn cut_to(s: &mut String, most: usize) {
    if s.len() > most {
        let mut at = most;
        while !s.is_char_boundary(at) {
            at -= 1;
        }
        s.truncate(at);
        s.push_str(" … (cut here; its card has it all)");
    }
}

/// The fuzzy filter over what a row says.
struct Sieve {
    pattern: Option<(Pattern, Box<Matcher>)>,
    buf: Vec<char>,
}

impl Sieve {
    fn new(filter: &str) -> Self {
        let filter = filter.trim();
        let pattern = (!filter.is_empty()).then(|| {
            let p = Pattern::parse(filter, CaseMatching::Smart, Normalization::Smart);
            (p, Box::new(Matcher::new(Config::DEFAULT)))
        });
        Self { pattern, buf: Vec::new() }
    }

    fn passes(&mut self, a: &Agent) -> bool {
        let Some((pattern, matcher)) = &mut self.pattern else { return true };
        let text = format!(
            "{} {} {} {} {} {}",
            a.name,
            a.state.word(),
            a.runtime,
            a.mode.word(),
            a.backend,
            a.model.as_deref().unwrap_or_default()
        );
        pattern.score(Utf32Str::new(&text, &mut self.buf), matcher).is_some()
    }
}
