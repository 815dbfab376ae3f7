//! What lies over the screen: help, runtimes, a pager, a form, a question.

use fracta::control::wire;
use fracta::runtime::Mode;
use ratatui_textarea::TextArea;

use super::inbox::Inbox;
use super::model::text_area;

/// At most one lies over the screen.
pub enum Overlay {
    /// The keys; the number is the first line shown.
    Help(usize),
    Runtimes(usize),
    /// Every request that waits for a person.
    Inbox(Inbox),
    Diff(Pager),
    Spawn(Box<Form>),
    Confirm(Confirm),
}

/// Scrollable lines of a diff.
pub struct Pager {
    pub name: String,
    /// None: still on its way.
    pub diff: Option<Lines>,
    pub top: usize,
    /// Columns scrolled to the right.
    pub left: usize,
}

/// A diff cut into lines once, so that a frame reads only the visible ones.
pub struct Lines {
    pub text: String,
    /// Byte range of each line in `text`.
    pub ranges: Vec<(u32, u32)>,
    pub base: String,
    pub files: usize,
    pub added: u64,
    pub removed: u64,
    pub truncated: bool,
}

impl Lines {
    pub fn new(diff: wire::Diff) -> Self {
        let mut ranges = Vec::new();
        let mut from = 0usize;
        for line in diff.diff.split_inclusive('\n') {
            let end = from + line.trim_end_matches(['\n', '\r']).len();
            // A diff is limited far below 4 GiB by the server; a longer one is cut here.
            let (Ok(a), Ok(b)) = (u32::try_from(from), u32::try_from(end)) else { break };
            ranges.push((a, b));
            from += line.len();
        }
        Self {
            ranges,
            base: diff.base,
            files: diff.files.len(),
            added: diff.files.iter().filter_map(|f| f.added).sum(),
            removed: diff.files.iter().filter_map(|f| f.removed).sum(),
            truncated: diff.truncated,
            text: diff.diff,
        }
    }

    pub fn line(&self, n: usize) -> Option<&str> {
        let (a, b) = *self.ranges.get(n)?;
        self.text.get(a as usize..b as usize)
    }
}

/// What is asked before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    Abort { name: String },
    Kill { name: String, force: bool },
    Merge { name: String },
}

/// Fields of the spawn form, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Name,
    Runtime,
    Mode,
    Model,
    Contract,
    Base,
    Backend,
    Start,
}

impl Field {
    pub const ALL: [Field; 8] = [
        Field::Name,
        Field::Runtime,
        Field::Mode,
        Field::Model,
        Field::Contract,
        Field::Base,
        Field::Backend,
        Field::Start,
    ];
}

/// A new agent being described.
pub struct Form {
    pub field: Field,
    pub name: TextArea<'static>,
    /// Index into the runtimes; 0: the project's default.
    pub runtime: usize,
    pub mode: Option<Mode>,
    /// Index into [`TIERS`]; 0: the runtime's default model.
    pub tier: usize,
    /// A model named by hand wins over the tier.
    pub model: TextArea<'static>,
    pub contract: TextArea<'static>,
    /// Branch or commit to start from; empty: as the config has it.
    pub base: TextArea<'static>,
    /// Index into [`BACKENDS`].
    pub backend: usize,
    /// Why it was not started.
    pub problem: Option<String>,
    /// Sent, no answer yet.
    pub busy: bool,
}

/// Choices of the tier; the first leaves it to the config.
pub const TIERS: [Option<wire::Tier>; 4] =
    [None, Some(wire::Tier::Heavy), Some(wire::Tier::Medium), Some(wire::Tier::Light)];

/// Choices of the backend; the first leaves it to the config.
pub const BACKENDS: [Option<&str>; 3] = [None, Some("local"), Some("kubernetes")];

impl Form {
    pub fn new() -> Self {
        Self {
            field: Field::Name,
            name: text_area(""),
            runtime: 0,
            mode: None,
            tier: 0,
            model: text_area(""),
            contract: text_area(""),
            base: text_area(""),
            backend: 0,
            problem: None,
            busy: false,
        }
    }

    /// Moves to the next or previous field, around the ends.
    pub fn step(&mut self, forward: bool) {
        let n = Field::ALL.len();
        let at = Field::ALL.iter().position(|f| *f == self.field).unwrap_or(0);
        self.field = Field::ALL[(at + if forward { 1 } else { n - 1 }) % n];
    }

    /// The chosen runtime, or the one that is chosen by leaving it open.
    pub fn chosen<'a>(&self, runtimes: &'a [wire::Runtime]) -> Option<&'a wire::Runtime> {
        match self.runtime.checked_sub(1) {
            Some(i) => runtimes.get(i),
            None => runtimes.iter().find(|r| r.default),
        }
    }

    /// Refuses what the runtime cannot do, before anything is sent.
    fn possible(&self, runtimes: &[wire::Runtime]) -> Result<(), (Field, String)> {
        let Some(r) = self.chosen(runtimes) else { return Ok(()) };
        if r.path.is_none() {
            let text = format!("{} is not installed; install it: {}", r.name, r.install);
            return Err((Field::Runtime, text));
        }
        let (Some(c), Some(mode)) = (&r.capabilities, self.mode) else { return Ok(()) };
        let (can, other) = match mode {
            Mode::Batch => (c.batch, "stream"),
            Mode::Stream => (c.stream, "batch"),
        };
        if can {
            return Ok(());
        }
        Err((Field::Mode, format!("{} has no {} mode; choose {other}", r.name, mode.word())))
    }

    /// The request, or why there is none yet.
    pub fn spawn(&self, runtimes: &[wire::Runtime]) -> Result<wire::Spawn, (Field, String)> {
        let name = self.name.lines().concat().trim().to_owned();
        if name.is_empty() {
            return Err((Field::Name, "an agent needs a name".to_owned()));
        }
        if let Err(e) = name.parse::<fracta::id::AgentName>() {
            return Err((Field::Name, e.to_string()));
        }
        let runtime = self.runtime.checked_sub(1).and_then(|i| runtimes.get(i)).map(|r| r.name.clone());
        self.possible(runtimes)?;
        let base = self.base.lines().concat().trim().to_owned();
        let model = self.model.lines().concat().trim().to_owned();
        let model = (!model.is_empty()).then_some(model);
        let contract = self.contract.lines().join("\n").trim().to_owned();
        let contract = (!contract.is_empty()).then_some(contract);
        if contract.is_none() && self.mode == Some(Mode::Batch) {
            return Err((
                Field::Contract,
                "a batch agent needs a contract: its first and only message".to_owned(),
            ));
        }
        Ok(wire::Spawn {
            name,
            runtime,
            mode: self.mode,
            tier: if model.is_some() { None } else { TIERS[self.tier % TIERS.len()] },
            model,
            contract,
            base: (!base.is_empty()).then_some(base),
            backend: BACKENDS[self.backend % BACKENDS.len()].map(str::to_owned),
            dry_run: false,
        })
    }
}
