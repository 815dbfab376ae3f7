//! Events to cards. Any order, any beginning: a window may start in the middle of an item.

use std::borrow::Cow;

use fracta::event::{Body as Fact, Decision, Event, Outcome, Plan, PlanStep, Role, Usage};
use fracta::text;

use super::body::{Body, Mode};
use super::card::{Approval, Card, Class, Fold, Key, Kind, Notice, Progress};
use super::{Transcript, View};

/// Most cards of a window, and most bytes of their text. A view that is scrolled to the top of the
/// window may have twice as much; then the oldest go all the same.
pub const MAX_CARDS: usize = 2000;
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of a heading text (a command, a tool's input); of more it is said how much is missing.
const MAX_HEAD: usize = 16 * 1024;
/// Most steps shown of a plan.
const MAX_STEPS: usize = 200;

impl Transcript {
    /// Appends an event; what was already seen is ignored.
    pub fn apply(&mut self, event: &Event) {
        if event.seq <= self.last_seq {
            return;
        }
        self.first_seq.get_or_insert(event.seq);
        self.last_seq = event.seq;
        self.fold_in(event);
        self.trim();
    }

    /// Puts an earlier page before the window; the view stays where it is. Ignored when the window is
    /// full (see [`Transcript::is_full`]).
    pub fn prepend(&mut self, earlier: &[Event]) {
        if self.is_full() {
            return;
        }
        let limit = self.first_seq.unwrap_or(u64::MAX);
        let mut page = Transcript::new(&self.theme);
        page.all = self.all;
        page.seen = self.seen;
        let mut last = 0;
        for event in earlier.iter().filter(|e| e.seq < limit) {
            if event.seq > last {
                last = event.seq;
                page.first_seq.get_or_insert(event.seq);
                page.fold_in(event);
            }
        }
        let full =
            self.cards.len() + page.cards.len() > 2 * MAX_CARDS || self.bytes + page.bytes > 2 * MAX_BYTES;
        let Some(first) = page.first_seq.filter(|_| !full) else { return };
        self.last_seq = self.last_seq.max(last);
        self.first_seq = Some(first);
        while let Some(card) = page.cards.pop_back() {
            match self.index.get(&card.key).copied() {
                Some(serial) => self.merge(serial, card),
                None => {
                    let card = self.fitted(card);
                    self.push_front(card);
                }
            }
        }
    }

    /// No earlier page fits.
    pub fn is_full(&self) -> bool {
        self.cards.len() >= 2 * MAX_CARDS - 200 || self.bytes >= 2 * MAX_BYTES - MAX_BYTES / 8
    }

    /// A card of an earlier page, with what only the window knows: that its turn ended, that a newer
    /// plan came.
    fn fitted(&mut self, mut card: Card) -> Card {
        let end = card.turn.as_deref().and_then(|turn| self.find(Class::TurnEnd, turn));
        if end.is_some() && card.progress == Progress::Running && !card.is_pending() {
            card.progress = Progress::CutOff;
        }
        match &mut card.kind {
            Kind::Turn { .. } => {
                let began = card.began;
                end.into_iter().for_each(|serial| self.change(serial, |c| c.began = began));
            }
            Kind::Plan { newest, .. } => match self.newest_plan {
                Some(_) => *newest = false,
                None if *newest => self.newest_plan = Some(self.front - 1),
                None => {}
            },
            _ => {}
        }
        card
    }

    /// An item that began in an earlier page and goes on in the window: its card stays where it is and
    /// learns what it missed.
    fn merge(&mut self, serial: i64, earlier: Card) {
        let in_anchor = self.anchor.0 == serial && self.view == View::At;
        let before = in_anchor.then(|| self.index_of(serial).map_or(0, |i| self.measure(i)));
        self.change(serial, |card| {
            if !card.body.whole {
                card.body.put_before(&earlier.body);
            }
            card.began = earlier.began.or(card.began);
            card.turn = card.turn.take().or(earlier.turn);
            match (&mut card.kind, earlier.kind) {
                (Kind::Command { command, cwd, .. }, Kind::Command { command: c, cwd: d, .. }) => {
                    if command.is_empty() {
                        *command = c;
                    }
                    *cwd = cwd.take().or(d);
                }
                (Kind::Approval(now), Kind::Approval(then)) if now.what.is_empty() => {
                    let resolved = now.resolved.take().or(then.resolved.clone());
                    **now = Approval { resolved, ..*then };
                }
                (Kind::User { steer, .. }, Kind::User { steer: s, .. }) => *steer |= s,
                _ => {}
            }
        });
        if let (Some(before), Some(i)) = (before, self.index_of(serial)) {
            // The rows in view moved down by what came before them.
            let after = self.measure(i);
            self.anchor.1 = (self.anchor.1 + after).saturating_sub(before);
        }
    }

    /// Drops the oldest cards of a window that is too large. A scrolled view keeps what it shows.
    fn trim(&mut self) {
        let over = |t: &Self, n: usize| t.cards.len() > n * MAX_CARDS || t.bytes > n * MAX_BYTES;
        while over(self, 1) && self.cards.len() > 1 {
            if self.view == View::At && self.front >= self.anchor.0 && !over(self, 2) {
                return;
            }
            self.pop_front();
        }
    }

    fn fold_in(&mut self, event: &Event) {
        let e = event;
        match &e.body {
            Fact::MessageDelta { item, role, text } => self.message(e, item, *role, |b| b.push(text), false),
            Fact::MessageCompleted { item, role, text } => {
                self.message(e, item, *role, |b| b.complete(text), true);
            }
            Fact::ReasoningDelta { item, text } => {
                let serial = self.upsert(e, Class::Reasoning, item, Mode::Markdown, || Kind::Reasoning);
                self.change(serial, |c| c.body.push(text));
            }
            Fact::ReasoningCompleted { item, text } => {
                let serial = self.upsert(e, Class::Reasoning, item, Mode::Markdown, || Kind::Reasoning);
                self.change(serial, |c| c.body.complete(text));
                self.done(serial, e);
            }
            Fact::CommandStarted { .. } | Fact::CommandOutput { .. } | Fact::CommandCompleted { .. } => {
                self.command(e)
            }
            Fact::ToolStarted { .. } | Fact::ToolCompleted { .. } => self.tool(e),
            Fact::FileChanged { item, path, change, diff } => {
                let counts = diff.as_deref().map_or((0, 0), super::diff::counts);
                let kind = Kind::File { path: head(path), change: *change, counts };
                let serial =
                    self.upsert(e, Class::File, &format!("{item}\0{path}"), Mode::Diff, || kind.clone());
                self.change(serial, |c| {
                    c.kind = kind;
                    c.body.replace(diff.as_deref().unwrap_or_default());
                });
                self.done(serial, e);
            }
            Fact::PlanUpdated(plan) => self.plan(e, plan),
            Fact::Usage(usage) => self.usage(e, usage),
            Fact::Step { n, limit } => self.step(e, *n, *limit),
            Fact::ApprovalRequested { .. } | Fact::ApprovalResolved { .. } => self.approval(e),
            Fact::UserMessage { item, text, delivery, steer, reason } => {
                let kind = Kind::User {
                    delivery: Some(*delivery),
                    steer: *steer,
                    reason: reason.as_deref().map(head),
                };
                let serial = self.upsert(e, Class::User, item, Mode::Plain, || kind.clone());
                self.change(serial, |c| {
                    c.kind = kind;
                    c.body.complete(text);
                });
                self.done(serial, e);
            }
            Fact::TurnStarted {} => {
                self.turn_usage = None;
                let id = e.turn.clone().unwrap_or_else(|| e.seq.to_string());
                let serial = self.upsert(e, Class::Turn, &id, Mode::Plain, || Kind::Turn { step: None });
                self.done(serial, e);
            }
            Fact::TurnCompleted { outcome, error } => self.turn_end(e, *outcome, error.as_deref()),
            Fact::SessionStarted { runtime, model, .. } => {
                let model = model.as_ref().map_or(String::new(), |m| format!(" · {m}"));
                self.notice(e, Notice::Session, &format!("session started · {runtime}{model}"), None);
            }
            Fact::SessionEnded { state, reason } => {
                self.cut_off();
                let reason = reason.as_ref().map_or(String::new(), |r| format!(" · {r}"));
                self.notice(e, Notice::Session, &format!("session ended · {}{reason}", state.word()), None);
            }
            Fact::Warning { text } => self.notice(e, Notice::Warning, text, None),
            Fact::Error { text, retryable } => self.notice(e, Notice::Error, text, *retryable),
            Fact::Gap { text } => self.notice(e, Notice::Gap, text, None),
            Fact::Raw { text } => self.notice(e, Notice::Raw, text, None),
        }
    }

    fn message(&mut self, e: &Event, item: &str, role: Role, write: impl FnOnce(&mut Body), done: bool) {
        let (class, mode, kind) = match role {
            Role::User => {
                (Class::User, Mode::Plain, Kind::User { delivery: None, steer: false, reason: None })
            }
            _ => (Class::Message, Mode::Markdown, Kind::Message { system: role == Role::System }),
        };
        let serial = self.upsert(e, class, item, mode, || kind);
        self.change(serial, |c| write(&mut c.body));
        if done {
            self.done(serial, e);
        }
    }

    fn command(&mut self, e: &Event) {
        let (item, what, dir) = match &e.body {
            Fact::CommandStarted { item, command, cwd } => (item, Some(command), cwd.as_ref()),
            Fact::CommandCompleted { item, command, cwd, .. } => (item, Some(command), cwd.as_ref()),
            Fact::CommandOutput { item, .. } => (item, None, None),
            _ => return,
        };
        // The folder is said where it is another than the command before had.
        let moved = dir.filter(|d| self.cwd.as_ref() != Some(d)).map(|d| head(d));
        if let Some(d) = dir {
            self.cwd = Some(d.clone());
        }
        let new = || Kind::Command { command: String::new(), cwd: moved, exit: None };
        let serial = self.upsert(e, Class::Command, item, Mode::Output, new);
        self.change(serial, |c| {
            if let (Kind::Command { command, .. }, Some(what)) = (&mut c.kind, what) {
                *command = exact(what);
            }
            if let Fact::CommandOutput { text, .. } = &e.body {
                c.body.push(text);
            }
            if let (Fact::CommandCompleted { text, exit_code, .. }, Kind::Command { exit, .. }) =
                (&e.body, &mut c.kind)
            {
                *exit = *exit_code;
                match text {
                    Some(text) => c.body.complete(text),
                    None => c.body.finish(),
                }
            }
        });
        match &e.body {
            Fact::CommandStarted { .. } => self.change(serial, |c| c.began = Some(e.ts)),
            Fact::CommandCompleted { .. } => self.done(serial, e),
            _ => {}
        }
    }

    fn tool(&mut self, e: &Event) {
        let (item, name, input) = match &e.body {
            Fact::ToolStarted { item, name, input } | Fact::ToolCompleted { item, name, input, .. } => {
                (item, name, input)
            }
            _ => return,
        };
        let kind = Kind::Tool { name: head(name), input: compact(input), error: None };
        let serial = self.upsert(e, Class::Tool, item, Mode::Plain, || kind.clone());
        if let Fact::ToolCompleted { output, error, .. } = &e.body {
            self.change(serial, |c| {
                c.kind = kind;
                if let Kind::Tool { error: slot, .. } = &mut c.kind {
                    *slot = error.as_deref().map(exact);
                }
                c.body.complete(&plain_json(output));
            });
            self.done(serial, e);
        } else {
            self.change(serial, |c| c.began = Some(e.ts));
        }
    }

    /// One plan a turn; that of an earlier turn shrinks to a line when a newer one comes.
    fn plan(&mut self, e: &Event, plan: &Plan) {
        let step = |s: &PlanStep| PlanStep { text: text::summary(&s.text, 500), status: s.status };
        let plan = Plan { steps: plan.steps.iter().take(MAX_STEPS).map(step).collect() };
        let id = e.turn.clone().unwrap_or_default();
        let kind = Kind::Plan { plan, newest: true };
        let serial = self.upsert(e, Class::Plan, &id, Mode::Plain, || kind.clone());
        self.change(serial, |c| c.kind = kind);
        self.done(serial, e);
        if let Some(old) = self.newest_plan.replace(serial).filter(|old| *old != serial) {
            self.change(old, |c| {
                if let Kind::Plan { newest, .. } = &mut c.kind {
                    *newest = false;
                }
            });
        }
    }

    fn usage(&mut self, e: &Event, usage: &Usage) {
        let mut sum = match self.turn_usage.take() {
            Some((turn, sum)) if turn == e.turn && !usage.total => sum,
            _ => Usage::default(),
        };
        sum.total = usage.total;
        sum.input_tokens = sum.input_tokens.saturating_add(usage.input_tokens);
        sum.cached_tokens = sum.cached_tokens.saturating_add(usage.cached_tokens);
        sum.output_tokens = sum.output_tokens.saturating_add(usage.output_tokens);
        sum.cost_usd = match (sum.cost_usd, usage.cost_usd) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        // Some runtimes count only when the turn has ended.
        if let Some(serial) = self.find(Class::TurnEnd, e.turn.as_deref().unwrap_or_default()) {
            self.change(serial, |c| {
                if let Kind::TurnEnd { usage, .. } = &mut c.kind {
                    *usage = Some(sum.clone());
                }
            });
        }
        self.turn_usage = Some((e.turn.clone(), sum));
    }

    fn step(&mut self, e: &Event, n: u32, limit: u32) {
        let id = e.turn.clone().unwrap_or_default();
        if let Some(serial) = self.find(Class::Turn, &id) {
            return self.change(serial, |c| c.kind = Kind::Turn { step: Some((n, limit)) });
        }
        let serial = self.upsert(e, Class::Step, &id, Mode::Plain, || Kind::Step { n, limit });
        self.change(serial, |c| c.kind = Kind::Step { n, limit });
        self.done(serial, e);
    }

    fn approval(&mut self, e: &Event) {
        let new = |id: &str| Kind::Approval(Box::new(Approval { id: id.to_owned(), ..Approval::default() }));
        match &e.body {
            Fact::ApprovalRequested { approval, what, command, cwd, diff, questions } => {
                let serial = self.upsert(e, Class::Approval, approval, Mode::Diff, || new(approval));
                self.change(serial, |c| {
                    if let Kind::Approval(a) = &mut c.kind {
                        a.what = exact(what);
                        a.command = command.as_deref().map(exact);
                        a.cwd = cwd.as_deref().map(exact);
                        a.questions = questions.as_ref().map(|q| exact(&super::words::questions(q)));
                    }
                    c.body.replace(diff.as_deref().unwrap_or_default());
                    c.began = Some(e.ts);
                });
            }
            Fact::ApprovalResolved { approval, decision, by } => {
                let serial = self.upsert(e, Class::Approval, approval, Mode::Diff, || new(approval));
                let resolved: Option<(Decision, String)> = Some((*decision, text::summary(by, 40)));
                self.change(serial, |c| {
                    if let Kind::Approval(a) = &mut c.kind {
                        a.resolved = resolved;
                    }
                });
                self.done(serial, e);
            }
            _ => {}
        }
    }

    fn turn_end(&mut self, e: &Event, outcome: Outcome, error: Option<&str>) {
        self.cut_off();
        let id = e.turn.clone().unwrap_or_default();
        let began = self.find(Class::Turn, &id).and_then(|s| self.card(s)).and_then(|c| c.began);
        let usage = self.turn_usage.as_ref().filter(|(t, _)| *t == e.turn).map(|(_, u)| u.clone());
        let kind = Kind::TurnEnd { outcome, error: error.map(exact), usage };
        let id = if id.is_empty() { e.seq.to_string() } else { id };
        let serial = self.upsert(e, Class::TurnEnd, &id, Mode::Plain, || kind.clone());
        self.change(serial, |c| {
            c.kind = kind;
            c.began = began;
        });
        self.done(serial, e);
    }

    fn notice(&mut self, e: &Event, what: Notice, text: &str, retryable: Option<bool>) {
        let kind = || Kind::Notice { what, retryable };
        let serial = self.upsert(e, Class::Notice, &e.seq.to_string(), Mode::Plain, kind);
        self.change(serial, |c| c.body.complete(text));
        self.done(serial, e);
    }

    /// What still ran when its turn or session ended was cut off. Approvals say themselves what became of them.
    fn cut_off(&mut self) {
        for serial in std::mem::take(&mut self.open) {
            if self.card(serial).is_some_and(Card::is_pending) {
                self.open.insert(serial);
                continue;
            }
            self.change(serial, |c| {
                c.body.finish();
                c.progress = Progress::CutOff;
            });
        }
    }

    fn done(&mut self, serial: i64, e: &Event) {
        self.open.remove(&serial);
        self.change(serial, |c| {
            c.progress = Progress::Done;
            c.ended = Some(e.ts);
        });
    }

    fn find(&self, class: Class, id: &str) -> Option<i64> {
        self.index.get(&key(class, id)).copied()
    }

    /// The card of an item, made if there is none.
    fn upsert(&mut self, e: &Event, class: Class, id: &str, mode: Mode, kind: impl FnOnce() -> Kind) -> i64 {
        let key = key(class, id);
        if let Some(serial) = self.index.get(&key) {
            return *serial;
        }
        let starts =
            matches!(e.body, Fact::TurnStarted {} | Fact::MessageDelta { .. } | Fact::ReasoningDelta { .. });
        self.push_back(Card {
            key,
            kind: kind(),
            body: Body::new(mode),
            progress: Progress::Running,
            fold: Fold::Auto,
            fresh: e.seq > self.seen,
            seq: e.seq,
            turn: e.turn.clone(),
            began: starts.then_some(e.ts),
            ended: None,
            height: 2,
            dirty: true,
            wrapped: None,
        })
    }
}

fn key(class: Class, id: &str) -> Key {
    Key { class, id: id.to_owned() }
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn bounded(text: &str, clean: impl Fn(&str) -> Cow<'_, str>) -> String {
    let kept = cut(text, MAX_HEAD);
    let mut out = clean(kept).into_owned();
    if kept.len() < text.len() {
        out.push_str(&format!(" … [{} bytes more are not shown]", text.len() - kept.len()));
    }
    out
}

fn head(text: &str) -> String {
    bounded(text, text::line)
}

/// For what a person decides on: nothing is dropped, all is shown.
fn exact(text: &str) -> String {
    bounded(text, text::exact)
}

/// A tool's input in one line: `key: value` for objects, else JSON.
fn compact(value: &serde_json::Value) -> String {
    let short = |v: &serde_json::Value| match v {
        serde_json::Value::String(s) => s.clone(),
        v => v.to_string(),
    };
    let said = match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Object(o) if o.len() == 1 => o.values().map(short).collect(),
        serde_json::Value::Object(o) => {
            o.iter().map(|(k, v)| format!("{k}: {}", short(v))).collect::<Vec<_>>().join(", ")
        }
        v => short(v),
    };
    bounded(&said, text::exact_line)
}

/// A tool's output as text: strings as they are, all else as indented JSON.
fn plain_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(s) => s.clone(),
        v => serde_json::to_string_pretty(v).unwrap_or_else(|_| v.to_string()),
    }
}
