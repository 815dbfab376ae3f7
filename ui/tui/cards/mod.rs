//! The transcript of one session as cards: a bounded window of events, folded to what a person reads.
//!
//! `fold` turns events into cards; `body` keeps their long texts in units that are final; `render`
//! wraps what changed; `scroll` lays out what is visible; `draw` only copies rows to the screen. A
//! frame costs the rows on the screen, a delta what it brings. The view is held by an anchor (a card
//! and a row in it), so that nothing that happens elsewhere moves what a person reads.

mod body;
mod card;
mod diff;
mod draw;
mod fold;
mod markdown;
mod render;
mod scroll;
mod words;
mod wrap;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};

use fracta::event::Usage;

use super::theme::Theme;
use card::{Card, Fold, Key, Kind};
use scroll::{Slice, View};

/// A bounded window of one session's cards: at most 2,000 cards and 4 MiB of text (twice that while
/// the view stands at its top).
pub struct Transcript {
    theme: Theme,
    /// Oldest first. A card's serial number is its place plus `front`; it never changes.
    cards: VecDeque<Card>,
    front: i64,
    index: HashMap<Key, i64>,
    /// Cards that something more may come to.
    open: BTreeSet<i64>,
    bytes: usize,
    first_seq: Option<u64>,
    last_seq: u64,
    /// Number of the last event that a person had seen when the window was made.
    seen: u64,
    /// Folder of the last command.
    cwd: Option<String>,
    newest_plan: Option<i64>,
    turn_usage: Option<(Option<String>, Usage)>,

    /// Columns for text (without the gutter) and rows, as of the last layout; 0 before the first.
    width: usize,
    height: usize,
    view: View,
    /// The card and the row in it at the top of the screen.
    anchor: (i64, usize),
    /// Rows of all cards, and of those above the anchor's card. Estimates where a card was never wrapped.
    total: usize,
    above: usize,
    /// What is on the screen.
    slices: Vec<Slice>,
    /// The last row of the last card is on the screen.
    at_bottom: bool,
    selected: Option<i64>,
    /// The fold that new cards get.
    all: Fold,
    #[cfg(test)]
    work: std::cell::Cell<usize>,
}

impl Transcript {
    /// An empty window that follows.
    pub fn new(theme: &Theme) -> Self {
        Self {
            theme: *theme,
            cards: VecDeque::new(),
            front: 0,
            index: HashMap::new(),
            open: BTreeSet::new(),
            bytes: 0,
            first_seq: None,
            last_seq: 0,
            seen: u64::MAX,
            cwd: None,
            newest_plan: None,
            turn_usage: None,
            width: 0,
            height: 0,
            view: View::Follow,
            anchor: (0, 0),
            total: 0,
            above: 0,
            slices: Vec::new(),
            at_bottom: true,
            selected: None,
            all: Fold::Auto,
            #[cfg(test)]
            work: std::cell::Cell::new(0),
        }
    }

    /// Warnings after event `seq` are shown, also those that come again with every session.
    pub fn unseen_after(mut self, seq: u64) -> Self {
        self.seen = seq;
        self
    }

    /// Number of the first event that the window still tells; what is before can be fetched.
    pub fn first_seq(&self) -> Option<u64> {
        self.first_seq
    }

    /// Number of the last event seen; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Costs nothing but the next draw.
    pub fn set_theme(&mut self, theme: &Theme) {
        self.theme = *theme;
    }

    /// The pending approval that is selected, by the runtime's id.
    pub fn focused_approval(&self) -> Option<&str> {
        match &self.card(self.selected?)?.kind {
            Kind::Approval(a) if a.resolved.is_none() => Some(&a.id),
            _ => None,
        }
    }

    /// The text of the selected card (else of the last that has some), whole and clean.
    pub fn focused_text(&self) -> Option<String> {
        match self.selected.and_then(|s| self.card(s)) {
            Some(card) => Some(card.copied()).filter(|t| !t.is_empty()),
            None => self.cards.iter().rev().map(Card::copied).find(|t| !t.is_empty()),
        }
    }

    fn index_of(&self, serial: i64) -> Option<usize> {
        usize::try_from(serial - self.front).ok().filter(|i| *i < self.cards.len())
    }

    fn card(&self, serial: i64) -> Option<&Card> {
        self.cards.get(self.index_of(serial)?)
    }

    fn serial(&self, index: usize) -> i64 {
        self.front + index as i64
    }

    /// Changes a card and keeps the books.
    fn change(&mut self, serial: i64, f: impl FnOnce(&mut Card)) {
        let Some(card) = self.index_of(serial).and_then(|i| self.cards.get_mut(i)) else { return };
        let before = card.bytes();
        f(card);
        card.dirty = true;
        self.bytes = (self.bytes + card.bytes()).saturating_sub(before);
    }

    fn push_back(&mut self, mut card: Card) -> i64 {
        let serial = self.serial(self.cards.len());
        card.fold = self.all;
        self.open.insert(serial);
        self.index.insert(card.key.clone(), serial);
        self.bytes += card.bytes();
        self.total += card.height;
        self.cards.push_back(card);
        serial
    }

    fn push_front(&mut self, mut card: Card) {
        self.front -= 1;
        // The page was folded in a window of its own; here it is wrapped when it is looked at.
        card.wrapped = None;
        card.dirty = true;
        card.height = 2 + card.body.text.len() / self.width.max(20);
        if card.progress == card::Progress::Running {
            self.open.insert(self.front);
        }
        self.index.insert(card.key.clone(), self.front);
        self.bytes += card.bytes();
        self.total += card.height;
        if self.cards.is_empty() {
            self.anchor = (self.front, 0);
        } else {
            self.above += card.height;
        }
        self.cards.push_front(card);
    }

    fn pop_front(&mut self) {
        let Some(card) = self.cards.pop_front() else { return };
        let serial = self.front;
        self.front += 1;
        self.index.remove(&card.key);
        self.open.remove(&serial);
        self.bytes = self.bytes.saturating_sub(card.bytes());
        self.total = self.total.saturating_sub(card.height);
        if serial < self.anchor.0 {
            self.above = self.above.saturating_sub(card.height);
        } else {
            self.anchor = (self.front, 0);
        }
        self.selected = self.selected.filter(|s| *s != serial);
        self.newest_plan = self.newest_plan.filter(|s| *s != serial);
        self.first_seq = self.cards.front().map(|c| c.seq).or(Some(self.last_seq));
    }
}
