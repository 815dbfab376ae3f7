//! What is visible: the anchor, the layout and the keys that move them.

use super::Transcript;
use super::card::{Card, Fold};
use super::render::{rewrap, toggled};

/// Columns of the gutter; none where the screen is too narrow for it.
pub const GUTTER: u16 = 2;
const NARROW: u16 = 5;

/// Whether the view stays at the end, or at its anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Follow,
    At,
}

/// Rows of one card on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub serial: i64,
    /// First row of the card that is visible, how many, and where on the screen.
    pub from: usize,
    pub rows: usize,
    pub y: usize,
}

/// Columns of the gutter at this width.
pub fn gutter_width(width: u16) -> u16 {
    if width < NARROW { 0 } else { GUTTER }
}

impl Transcript {
    /// Wraps what is visible and has changed, for a screen of this size.
    pub fn layout(&mut self, width: u16, height: u16) {
        self.width = usize::from(width - gutter_width(width)).max(1);
        self.height = usize::from(height).max(1);
        self.arrange();
    }

    /// The rows of a card, wrapped anew if they must be.
    pub(super) fn measure(&mut self, index: usize) -> usize {
        let (width, serial) = (self.width.max(1), self.serial(index));
        let Some(card) = self.cards.get_mut(index) else { return 0 };
        if card.dirty || card.wrapped.as_ref().is_none_or(|w| w.width != width) {
            let before = card.height;
            rewrap(card, width);
            let after = card.height;
            self.total = (self.total + after).saturating_sub(before);
            if serial < self.anchor.0 {
                self.above = (self.above + after).saturating_sub(before);
            }
        }
        self.cards[index].height
    }

    fn arrange(&mut self) {
        self.slices.clear();
        if self.cards.is_empty() {
            self.at_bottom = true;
            return;
        }
        match self.view {
            View::Follow => self.align_bottom(self.cards.len() - 1),
            View::At => {
                let at = self.anchor_index();
                let rows = self.measure(at);
                self.anchor.1 = self.anchor.1.min(rows.saturating_sub(1));
            }
        }
        if !self.fill() {
            // Less than a screen below the anchor (a fold, a larger screen): show what is above too.
            self.align_bottom(self.cards.len() - 1);
            self.fill();
        }
    }

    fn anchor_index(&mut self) -> usize {
        match self.index_of(self.anchor.0) {
            Some(i) => i,
            None => {
                (self.anchor, self.above) = ((self.front, 0), 0);
                0
            }
        }
    }

    /// Moves the anchor so that the last row of this card is the last of the screen; a view that is
    /// too short starts at the top.
    fn align_bottom(&mut self, last: usize) {
        let want = self.height + 1;
        let (mut have, mut i) = (self.measure(last), last);
        while have < want && i > 0 {
            i -= 1;
            have += self.measure(i);
        }
        self.set_anchor(i, have.saturating_sub(want));
        if last + 1 == self.cards.len() {
            self.above = self.total.saturating_sub(have);
        }
    }

    /// Puts the anchor on a card, walking from where it is.
    fn set_anchor(&mut self, index: usize, row: usize) {
        let old = self.anchor_index();
        for i in old..index {
            self.above += self.cards[i].height;
        }
        for i in index..old {
            self.above = self.above.saturating_sub(self.cards[i].height);
        }
        self.anchor = (self.serial(index), row);
    }

    /// Notes what is visible from the anchor on. False if rows stay free though there are more above.
    fn fill(&mut self) -> bool {
        self.slices.clear();
        let (mut i, mut from, mut y) = (self.anchor_index(), self.anchor.1, 0);
        while y < self.height && i < self.cards.len() {
            let all = self.measure(i).saturating_sub(from);
            let rows = all.min(self.height - y);
            self.slices.push(Slice { serial: self.serial(i), from, rows, y });
            y += all;
            from = 0;
            i += 1;
        }
        // The blank row behind the last card need not be seen.
        self.at_bottom = i == self.cards.len() && y <= self.height + 1;
        let short = y < self.height && i == self.cards.len();
        let top = self.anchor == (self.front, 0);
        !(short && !top && y + 1 < self.height)
    }

    /// Scrolls by rows; down is positive. Reaching the end follows again.
    pub fn scroll(&mut self, rows: isize) {
        if self.height == 0 || self.cards.is_empty() || rows == 0 || (rows > 0 && self.following()) {
            return;
        }
        if rows < 0 {
            self.arrange();
            self.up(rows.unsigned_abs());
            self.arrange();
            if !self.at_bottom {
                self.view = View::At;
            }
        } else {
            self.down(rows.unsigned_abs());
            self.arrange();
            if self.at_bottom {
                self.view = View::Follow;
                self.arrange();
            }
        }
    }

    fn up(&mut self, mut rows: usize) {
        self.view = View::At;
        let mut i = self.anchor_index();
        loop {
            let step = rows.min(self.anchor.1);
            self.anchor.1 -= step;
            rows -= step;
            if rows == 0 || i == 0 {
                return;
            }
            i -= 1;
            let height = self.measure(i);
            self.above = self.above.saturating_sub(height);
            self.anchor = (self.serial(i), height);
        }
    }

    fn down(&mut self, rows: usize) {
        let mut i = self.anchor_index();
        self.anchor.1 = self.anchor.1.saturating_add(rows);
        loop {
            let height = self.measure(i);
            if self.anchor.1 < height || i + 1 == self.cards.len() {
                self.anchor.1 = self.anchor.1.min(height.saturating_sub(1));
                return;
            }
            self.above += height;
            i += 1;
            self.anchor = (self.serial(i), self.anchor.1 - height);
        }
    }

    /// Scrolls by screens, keeping one row of overlap.
    pub fn scroll_page(&mut self, pages: isize) {
        let page = isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(isize::MAX);
        self.scroll(pages.saturating_mul(page));
    }

    /// To the first row of the window.
    pub fn scroll_home(&mut self) {
        if self.cards.is_empty() {
            return;
        }
        (self.anchor, self.above, self.view) = ((self.front, 0), 0, View::At);
        if self.height > 0 {
            self.arrange();
            if self.at_bottom {
                self.view = View::Follow;
            }
        }
    }

    /// To the end, and stay there.
    pub fn follow(&mut self) {
        self.view = View::Follow;
        if self.height > 0 {
            self.arrange();
        }
    }

    pub fn following(&self) -> bool {
        self.view == View::Follow
    }

    /// Rows below the screen; an estimate for cards that were never looked at.
    pub fn rows_below(&self) -> usize {
        if self.at_bottom && self.view == View::Follow {
            return 0;
        }
        self.total.saturating_sub(self.above + self.anchor.1 + self.height + 1)
    }

    /// The first row of the window is on the screen: time to fetch an earlier page.
    pub fn at_top(&self) -> bool {
        self.cards.is_empty() || self.anchor == (self.front, 0)
    }

    /// Selects the next card; without a selection the lowest on the screen.
    pub fn select_next(&mut self) {
        self.select(1);
    }

    /// Selects the card before; without a selection the lowest on the screen.
    pub fn select_prev(&mut self) {
        self.select(-1);
    }

    fn select(&mut self, step: i64) {
        let Some(last) = self.cards.len().checked_sub(1).map(|i| self.serial(i)) else { return };
        let next = match self.selected {
            Some(s) => (s + step).clamp(self.front, last),
            None => self.slices.last().map_or(last, |s| s.serial),
        };
        self.selected = Some(next);
        self.reveal(next);
    }

    /// Brings a card onto the screen: whole if it fits, else its first rows.
    fn reveal(&mut self, serial: i64) {
        let Some(index) = self.index_of(serial).filter(|_| self.height > 0) else { return };
        self.arrange();
        let rows = self.measure(index).saturating_sub(1);
        let shown = self.slices.iter().find(|s| s.serial == serial).copied();
        if shown.is_some_and(|s| s.from == 0 && (s.rows >= rows || (s.y == 0 && s.rows >= self.height))) {
            return;
        }
        let last = index + 1 == self.cards.len();
        if last && rows <= self.height {
            return self.follow();
        }
        if index > self.anchor_index() && rows <= self.height {
            self.align_bottom(index);
        } else {
            self.set_anchor(index, 0);
        }
        self.view = View::At;
        self.arrange();
    }

    /// Opens or closes the selected card, else the lowest on the screen. What is opened grows
    /// downwards: the view stops following, so that its first row stays in sight.
    pub fn toggle_fold(&mut self) {
        let Some(serial) = self.selected.or_else(|| self.slices.last().map(|s| s.serial)) else { return };
        let Some(fold) = self.card(serial).map(toggled) else { return };
        self.change(serial, |c| c.fold = fold);
        if self.height == 0 {
            return;
        }
        if fold == Fold::Open {
            self.view = View::At;
        } else if self.anchor.0 == serial {
            self.anchor.1 = 0;
        }
        self.arrange();
        if self.at_bottom {
            self.view = View::Follow;
        }
    }

    /// Opens all cards, also those to come; the next time all are as their kinds have it.
    pub fn toggle_all(&mut self) {
        self.all = if self.all == Fold::Open { Fold::Auto } else { Fold::Open };
        for card in &mut self.cards {
            (card.fold, card.dirty) = (self.all, true);
        }
        if self.height > 0 {
            self.arrange();
        }
    }

    /// Selects a pending or answered approval by the runtime's id and brings it onto the screen.
    pub fn focus_approval(&mut self, id: &str) -> bool {
        let is = |c: &Card| matches!(&c.kind, super::Kind::Approval(a) if a.id == id);
        let Some(index) = self.cards.iter().rposition(is) else { return false };
        let serial = self.serial(index);
        self.selected = Some(serial);
        self.reveal(serial);
        true
    }
}
