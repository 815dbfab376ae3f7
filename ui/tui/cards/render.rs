//! A card to rows.

use fracta::event::{Change, Decision, Delivery, Outcome, PlanStatus};
use fracta::text;
use unicode_width::UnicodeWidthStr;

use super::body::{Body, Mode, Unit, UnitKind};
use super::card::{Approval, Card, Fold, Kind, Notice, Progress};
use super::words::{duration, tick, tokens};
use super::wrap::{Line, Row, Tone, wrap};
use super::{diff, markdown};

/// The rows of a card for one width. The rows of final units are kept when more text comes.
#[derive(Debug, Default)]
pub struct Wrapped {
    pub width: usize,
    pub head: Vec<Row>,
    pub body: Vec<Row>,
    pub foot: Vec<Row>,
    /// Stands at the right end of the first row.
    pub fact: Option<(Tone, String)>,
    /// Something is folded away.
    pub hides: bool,
    generation: u32,
    /// Units whose rows are final, and how many rows those are; 0 while folded.
    units: usize,
    sealed: usize,
    /// Units rendered so far, for tests: what a delta costs.
    #[cfg(test)]
    pub rendered: usize,
}

impl Wrapped {
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len() + self.foot.len()
    }

    pub fn row(&self, n: usize) -> Option<&Row> {
        let (head, body) = (self.head.len(), self.head.len() + self.body.len());
        match n {
            n if n < head => self.head.get(n),
            n if n < body => self.body.get(n - head),
            n => self.foot.get(n - body),
        }
    }
}

/// How much of a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    All,
    First(usize),
    Last(usize),
}

/// Wraps what has changed of a card.
pub fn rewrap(card: &mut Card, width: usize) {
    let mut w = card
        .wrapped
        .take()
        .filter(|w| w.width == width && w.generation == card.body.generation)
        .unwrap_or_default();
    (w.width, w.generation) = (width, card.body.generation);
    (w.head, w.foot, w.hides) = (Vec::new(), Vec::new(), false);
    let limit = limit(card);
    for line in head(card, width, limit != Limit::All) {
        wrap(&line, width, &mut w.head);
    }
    match limit {
        Limit::All => all(card, width, &mut w),
        Limit::First(n) => first(card, width, n, &mut w),
        Limit::Last(n) => last(card, width, n, &mut w),
    }
    for line in foot(card) {
        wrap(&line, width, &mut w.foot);
    }
    w.fact = fact(card);
    if w.len() == 0 && w.fact.is_none() {
        wrap(
            &Line::new(Tone::Dim, if card.progress == Progress::Running { "…" } else { "(empty)" }),
            width,
            &mut w.head,
        );
    }
    if let Some((tone, said)) = &w.fact
        && w.row(0).is_none_or(|r| r.width() + 2 + said.width() > width)
    {
        // No room beside the first row: it gets one of its own, for it may say that a command failed.
        wrap(&Line::new(*tone, said.clone()), width, &mut w.foot);
        w.fact = None;
    }
    card.height = w.len() + 1;
    card.wrapped = Some(w);
    card.dirty = false;
}

fn all(card: &Card, width: usize, w: &mut Wrapped) {
    let body = &card.body;
    w.body.truncate(w.sealed);
    for n in w.units..body.units.len() {
        unit(card, n, body.units[n], false, width, w);
    }
    (w.units, w.sealed) = (body.units.len(), w.body.len());
    if let Some(tail) = body.tail() {
        unit(card, body.units.len(), tail, card.progress == Progress::Running, width, w);
    }
}

fn unit_at(body: &Body, n: usize) -> Option<Unit> {
    body.units.get(n).copied().or_else(|| body.tail().filter(|_| n == body.units.len()))
}

fn first(card: &Card, width: usize, rows: usize, w: &mut Wrapped) {
    (w.units, w.sealed) = (0, 0);
    w.body.clear();
    let (total, mut n) = (card.body.len(), 0);
    while n < total && w.body.len() < rows {
        if let Some(u) = unit_at(&card.body, n) {
            unit(card, n, u, false, width, w);
        }
        n += 1;
    }
    let cut = w.body.len() > rows;
    w.body.truncate(rows);
    w.hides = cut || n < total;
    if w.hides && rows > 0 {
        let said = if n < total { format!("… {} more lines", total - n) } else { "… more".to_owned() };
        wrap(&Line::new(Tone::Dim, said), width, &mut w.foot);
    }
}

fn last(card: &Card, width: usize, rows: usize, w: &mut Wrapped) {
    (w.units, w.sealed) = (0, 0);
    w.body.clear();
    let total = card.body.len();
    let mut from = total.saturating_sub(rows);
    if from == 1 && rows > 1 {
        // A row that says "1 more line" could as well be that line.
        from = 0;
    }
    for n in from..total {
        if let Some(u) = unit_at(&card.body, n) {
            unit(card, n, u, false, width, w);
        }
    }
    let extra = if from == 0 && total <= rows + 1 { total.max(rows) } else { rows };
    let over = w.body.len().saturating_sub(extra);
    w.body.drain(..over);
    w.hides = from > 0 || over > 0;
    if w.hides && rows > 0 {
        let said = if from > 0 { format!("… {from} more lines") } else { "… more".to_owned() };
        let mut note = Vec::new();
        wrap(&Line::new(Tone::Dim, said), width, &mut note);
        w.body.splice(0..0, note);
    }
}

/// Appends the rows of one unit.
fn unit(card: &Card, n: usize, unit: Unit, open: bool, width: usize, w: &mut Wrapped) {
    #[cfg(test)]
    {
        w.rendered += 1;
    }
    let said = card.body.unit_text(n);
    let bare = said.trim_end_matches('\n');
    match unit.kind {
        UnitKind::Markdown => {
            let lines = markdown::render(said, open);
            if n > 0 && !unit.glued && !lines.is_empty() {
                w.body.push(Row::default());
            }
            for mut line in lines {
                recolour(card, &mut line);
                wrap(&line, width, &mut w.body);
            }
        }
        UnitKind::FenceOpen if n > 0 => w.body.push(Row::default()),
        UnitKind::FenceOpen | UnitKind::FenceClose => {}
        UnitKind::Code => wrap(&Line::new(Tone::Code, format!("  {bare}")).hard(), width, &mut w.body),
        UnitKind::Line if card.body.mode == Mode::Diff => wrap(&diff::line(bare), width, &mut w.body),
        UnitKind::Line => {
            let tone = match card.kind {
                Kind::User { .. } => Tone::User,
                Kind::Command { .. }
                | Kind::Tool { .. }
                | Kind::Notice { what: Notice::Raw | Notice::Session, .. } => Tone::Dim,
                Kind::Notice { what: Notice::Error, .. } => Tone::Error,
                _ if of_the_machine(card) => Tone::Dim,
                Kind::Notice { .. } => Tone::Warn,
                _ => Tone::Text,
            };
            let line = Line::new(tone, bare);
            wrap(&if card.body.mode == Mode::Output { line.hard() } else { line }, width, &mut w.body);
        }
    }
}

/// What a model thinks, and what a system says, is quieter than what it says.
fn recolour(card: &Card, line: &mut Line) {
    let tone = match card.kind {
        Kind::Reasoning => Tone::Reasoning,
        Kind::Message { system: true } => Tone::Dim,
        _ => return,
    };
    line.spans.iter_mut().filter(|(ink, _)| ink.tone == Tone::Text).for_each(|(ink, _)| ink.tone = tone);
}

fn auto(card: &Card) -> Limit {
    match &card.kind {
        Kind::Reasoning | Kind::Notice { what: Notice::Raw, .. } => Limit::First(0),
        Kind::Plan { newest: false, .. } => Limit::First(0),
        _ if of_the_machine(card) => Limit::First(0),
        Kind::Command { .. } => Limit::Last(12),
        Kind::Tool { .. } => Limit::First(6),
        Kind::File { .. } if card.body.len() > 24 => Limit::First(20),
        _ => Limit::All,
    }
}

/// A warning outside of any turn: it is about the machine or the settings, and comes again with every
/// session. A line of it is enough, and it is quiet; one that nobody has seen is shown.
fn of_the_machine(card: &Card) -> bool {
    matches!(card.kind, Kind::Notice { what: Notice::Warning, .. }) && card.turn.is_none() && !card.fresh
}

fn limit(card: &Card) -> Limit {
    match (card.fold, &card.kind) {
        (Fold::Open, _) => Limit::All,
        (Fold::Auto, _) => auto(card),
        // What waits for an answer is never hidden.
        (Fold::Closed, Kind::Approval(a)) if a.resolved.is_none() => Limit::All,
        (Fold::Closed, Kind::Message { .. } | Kind::User { .. }) => Limit::First(1),
        (Fold::Closed, _) => Limit::First(0),
    }
}

/// What a toggle makes of a card.
pub fn toggled(card: &Card) -> Fold {
    let hides = card.wrapped.as_ref().is_some_and(|w| w.hides);
    match card.fold {
        Fold::Closed => Fold::Open,
        Fold::Auto if hides || (auto(card) == Limit::First(0) && folds_head(card)) => Fold::Open,
        Fold::Auto => Fold::Closed,
        Fold::Open => match auto(card) {
            Limit::All => Fold::Closed,
            Limit::First(n) | Limit::Last(n) if card.body.len() > n + 1 || folds_head(card) => Fold::Auto,
            _ => Fold::Closed,
        },
    }
}

/// Its head is what is folded, not its body.
fn folds_head(card: &Card) -> bool {
    matches!(card.kind, Kind::Plan { .. } | Kind::Reasoning | Kind::Notice { .. })
}

/// The glyph in the gutter.
pub fn gutter(card: &Card) -> (&'static str, Tone) {
    match &card.kind {
        Kind::Message { .. } => ("•", Tone::Accent),
        Kind::User { .. } => ("›", Tone::User),
        Kind::Reasoning => ("~", Tone::Reasoning),
        Kind::Command { exit, .. } => match (card.progress, exit) {
            (Progress::Running, _) => ("$", Tone::Accent),
            (_, Some(0)) => ("$", Tone::Ok),
            (_, Some(_)) => ("$", Tone::Error),
            (_, None) => ("$", Tone::Warn),
        },
        Kind::Tool { error, .. } => ("◆", if error.is_some() { Tone::Error } else { Tone::Accent }),
        Kind::File { .. } => ("±", Tone::Accent),
        Kind::Plan { .. } => ("≡", Tone::Accent),
        Kind::Approval(a) => ("?", if a.resolved.is_none() { Tone::Approval } else { Tone::Dim }),
        Kind::Turn { .. } | Kind::Step { .. } => ("─", Tone::Dim),
        Kind::TurnEnd { outcome, .. } => match outcome {
            Outcome::Completed => ("─", Tone::Ok),
            Outcome::Interrupted => ("─", Tone::Warn),
            Outcome::Failed => ("─", Tone::Error),
        },
        Kind::Notice { what, .. } => match what {
            Notice::Error => ("✗", Tone::Error),
            Notice::Warning => ("!", if of_the_machine(card) { Tone::Dim } else { Tone::Warn }),
            Notice::Gap => ("⋯", Tone::Warn),
            Notice::Raw | Notice::Session => ("·", Tone::Dim),
        },
    }
}

/// The first line of a folded text, at most `width` columns.
fn brief(card: &Card, width: usize) -> String {
    let first = card.body.text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let bare = first.trim_start_matches(['#', ' ']).replace("**", "");
    text::summary(&bare, width.saturating_sub(12).max(8))
}

fn head(card: &Card, width: usize, folded: bool) -> Vec<Line> {
    match &card.kind {
        Kind::Message { .. } | Kind::User { .. } => Vec::new(),
        Kind::Reasoning if folded => {
            vec![Line::new(Tone::Reasoning, "thinking ").then(Tone::Dim, brief(card, width))]
        }
        Kind::Reasoning => vec![Line::new(Tone::Reasoning, "thinking")],
        Kind::Command { command, cwd, .. } => {
            let mut lines: Vec<Line> = command.lines().map(|l| Line::new(Tone::Strong, l).hard()).collect();
            if lines.is_empty() {
                lines.push(Line::new(Tone::Dim, "(its start is not in this window)"));
            }
            if folded && lines.len() > 8 {
                let more = lines.len() - 6;
                lines.truncate(6);
                lines.push(Line::new(Tone::Dim, format!("… {more} more lines of the command")));
            }
            lines.extend(cwd.as_ref().map(|d| Line::new(Tone::Dim, format!("in {d}"))));
            lines
        }
        Kind::Tool { name, input, .. } => {
            let input =
                if folded { text::summary(input, width.saturating_mul(2).max(40)) } else { input.clone() };
            vec![Line::new(Tone::Strong, name.clone()).then(Tone::Dim, format!(" {input}"))]
        }
        Kind::File { path, change, .. } => {
            let word = match change {
                Change::Added => "new",
                Change::Modified => "edit",
                Change::Deleted => "delete",
                Change::Renamed => "rename",
            };
            vec![Line::new(Tone::Dim, format!("{word} ")).then(Tone::Strong, path.clone())]
        }
        Kind::Plan { plan, .. } => {
            let done = plan.steps.iter().filter(|s| s.status == PlanStatus::Completed).count();
            let mut lines = vec![
                Line::new(Tone::Strong, "plan ").then(Tone::Dim, format!("{done}/{}", plan.steps.len())),
            ];
            if !folded {
                lines.extend(plan.steps.iter().map(|s| {
                    let tone = match s.status {
                        PlanStatus::Completed => Tone::Dim,
                        PlanStatus::InProgress => Tone::Strong,
                        PlanStatus::Pending => Tone::Text,
                    };
                    Line::new(tone, s.text.clone()).indent(Tone::Accent, &format!("{} ", tick(s.status)))
                }));
            }
            lines
        }
        Kind::Approval(a) => approval(a),
        Kind::Turn { step } => {
            let step = step.map_or(String::new(), |(n, limit)| format!(" · step {n} of {limit}"));
            vec![Line::new(Tone::Dim, format!("turn{step}"))]
        }
        Kind::Step { n, limit } => vec![Line::new(Tone::Dim, format!("step {n} of {limit}"))],
        Kind::TurnEnd { outcome, error, .. } => {
            let (tone, word) = match outcome {
                Outcome::Completed => (Tone::Dim, "turn completed"),
                Outcome::Interrupted => (Tone::Warn, "turn interrupted"),
                Outcome::Failed => (Tone::Error, "turn failed"),
            };
            let mut lines = vec![Line::new(tone, word)];
            lines.extend(error.iter().flat_map(|e| e.lines()).map(|l| Line::new(Tone::Error, l)));
            lines
        }
        Kind::Notice { what: Notice::Raw, .. } => vec![
            Line::new(Tone::Dim, "raw ")
                .then(Tone::Dim, if folded { brief(card, width) } else { String::new() }),
        ],
        Kind::Notice { what: Notice::Gap, .. } => vec![Line::new(Tone::Warn, "something is missing here")],
        Kind::Notice { .. } if folded && of_the_machine(card) => {
            vec![Line::new(Tone::Dim, text::summary(&card.body.text, width.max(8)))]
        }
        Kind::Notice { .. } => Vec::new(),
    }
}

fn approval(a: &Approval) -> Vec<Line> {
    let tone = if a.resolved.is_none() { Tone::Approval } else { Tone::Text };
    let what = if a.what.is_empty() { "(what was asked is not in this window)" } else { &a.what };
    let mut lines: Vec<Line> = what.lines().map(|l| Line::new(tone, l)).collect();
    let command = a.command.iter().flat_map(|c| c.lines().enumerate());
    lines.extend(
        command.map(|(n, l)| {
            Line::new(Tone::Code, l).indent(Tone::Dim, if n == 0 { "$ " } else { "  " }).hard()
        }),
    );
    lines.extend(a.cwd.as_ref().map(|d| Line::new(Tone::Dim, format!("in {d}"))));
    lines.extend(a.questions.iter().flat_map(|q| q.lines()).map(|l| Line::new(Tone::Text, l)));
    lines
}

fn foot(card: &Card) -> Vec<Line> {
    let mut lines = Vec::new();
    if card.body.cut > 0 {
        let size = card.body.cut.div_ceil(1024);
        let said = if card.body.mode == Mode::Output { "of the beginning are" } else { "more are" };
        lines.push(Line::new(Tone::Dim, format!("… {size} KiB {said} not kept here")));
    }
    match &card.kind {
        Kind::Tool { error: Some(e), .. } => lines.extend(e.lines().map(|l| Line::new(Tone::Error, l))),
        Kind::User { reason: Some(r), .. } => lines.push(Line::new(Tone::Warn, r.clone())),
        Kind::Notice { retryable: Some(true), .. } => {
            lines.push(Line::new(Tone::Dim, "the runtime tries again by itself"))
        }
        _ => {}
    }
    lines
}

fn fact(card: &Card) -> Option<(Tone, String)> {
    let took = match (card.began, card.ended) {
        (Some(a), Some(b)) => Some(duration(b.as_millisecond() - a.as_millisecond())),
        _ => None,
    };
    let with = |word: String| {
        [Some(word), took.clone()]
            .into_iter()
            .flatten()
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join(" · ")
    };
    match (&card.kind, card.progress) {
        (Kind::Command { .. } | Kind::Tool { .. }, Progress::Running) => {
            Some((Tone::Accent, "running".into()))
        }
        (Kind::Command { .. } | Kind::Tool { .. }, Progress::CutOff) => Some((Tone::Warn, "cut off".into())),
        (Kind::Command { exit: Some(0), .. }, _) => Some((Tone::Dim, with("exit 0".into()))),
        (Kind::Command { exit: Some(n), .. }, _) => Some((Tone::Error, with(format!("exit {n}")))),
        (Kind::Command { exit: None, .. }, _) => Some((Tone::Warn, with("no exit code".into()))),
        (Kind::Tool { error: Some(_), .. }, _) => Some((Tone::Error, with("failed".into()))),
        (Kind::Tool { .. } | Kind::Reasoning, _) => took.map(|t| (Tone::Dim, t)),
        (Kind::File { counts: (a, r), .. }, _) if a + r > 0 => Some((Tone::Dim, format!("+{a} −{r}"))),
        (Kind::Approval(a), _) => Some(match &a.resolved {
            None => (Tone::Approval, "waits for you".into()),
            Some((Decision::Approved, by)) => (Tone::Ok, format!("approved by {by}")),
            Some((Decision::Denied, by)) => (Tone::Error, format!("denied by {by}")),
            Some((Decision::Withdrawn, by)) => (Tone::Dim, format!("withdrawn by {by}")),
        }),
        (Kind::User { delivery, steer, .. }, _) => {
            let (tone, word) = match delivery {
                Some(Delivery::Queued) => (Tone::Warn, "queued"),
                Some(Delivery::Rejected) => (Tone::Error, "rejected"),
                Some(Delivery::Unconfirmed) => (Tone::Error, "unconfirmed"),
                Some(Delivery::Accepted) => (Tone::Dim, "accepted"),
                None => (Tone::Dim, ""),
            };
            let steer = if *steer { "steer" } else { "" };
            let said: Vec<&str> = [steer, word].into_iter().filter(|s| !s.is_empty()).collect();
            (!said.is_empty()).then(|| (tone, said.join(" · ")))
        }
        (Kind::TurnEnd { usage, .. }, _) => {
            let said = with(usage.as_ref().map_or(String::new(), tokens));
            (!said.is_empty()).then_some((Tone::Dim, said))
        }
        _ => None,
    }
}
