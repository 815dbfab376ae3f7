//! The transcript of one session as cards. (A plain list of events until the cards land.)

use fracta::event::{Body, Event};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::theme::Theme;

pub struct Transcript {
    theme: Theme,
    lines: Vec<(u64, String, Option<String>)>,
    last: u64,
    height: usize,
    top: usize,
    follow: bool,
    selected: usize,
}

#[allow(dead_code)]
impl Transcript {
    pub fn new(theme: &Theme) -> Self {
        Self { theme: *theme, lines: vec![], last: 0, height: 1, top: 0, follow: true, selected: 0 }
    }
    fn line(event: &Event) -> (u64, String, Option<String>) {
        let approval = match &event.body {
            Body::ApprovalRequested { approval, .. } => Some(approval.clone()),
            _ => None,
        };
        (event.seq, format!("{:?}", event.body), approval)
    }
    pub fn apply(&mut self, event: &Event) {
        if event.seq > self.last {
            self.last = event.seq;
            self.lines.push(Self::line(event));
        }
    }
    pub fn prepend(&mut self, earlier: &[Event]) {
        let new: Vec<_> = earlier.iter().map(Self::line).collect();
        self.top += new.len();
        self.lines.splice(0..0, new);
    }
    pub fn first_seq(&self) -> Option<u64> {
        self.lines.first().map(|l| l.0)
    }
    pub fn last_seq(&self) -> u64 {
        self.last
    }
    pub fn set_theme(&mut self, theme: &Theme) {
        self.theme = *theme;
    }
    pub fn layout(&mut self, _width: u16, height: u16) {
        self.height = usize::from(height.max(1));
        let max = self.lines.len().saturating_sub(self.height);
        self.top = if self.follow { max } else { self.top.min(max) };
    }
    pub fn draw(&self, area: Rect, buf: &mut Buffer, _focused: bool) {
        for (y, l) in (area.y..area.bottom()).zip(self.lines.iter().skip(self.top)) {
            buf.set_stringn(area.x, y, &l.1, usize::from(area.width), self.theme.text);
        }
    }
    pub fn scroll(&mut self, rows: isize) {
        let max = self.lines.len().saturating_sub(self.height);
        self.top = self.top.saturating_add_signed(rows).min(max);
        self.follow = self.top == max && rows > 0;
    }
    pub fn scroll_page(&mut self, pages: isize) {
        self.scroll(pages * self.height as isize);
    }
    pub fn scroll_home(&mut self) {
        self.top = 0;
        self.follow = false;
    }
    pub fn follow(&mut self) {
        self.follow = true;
    }
    pub fn following(&self) -> bool {
        self.follow
    }
    pub fn rows_below(&self) -> usize {
        self.lines.len().saturating_sub(self.top + self.height)
    }
    pub fn at_top(&self) -> bool {
        self.top == 0
    }
    pub fn select_next(&mut self) {
        self.selected = (self.selected + 1).min(self.lines.len().saturating_sub(1));
    }
    pub fn select_prev(&mut self) {
        self.selected = self.selected.saturating_sub(1);
    }
    pub fn toggle_fold(&mut self) {}
    pub fn toggle_all(&mut self) {}
    pub fn focused_approval(&self) -> Option<&str> {
        self.lines.get(self.selected).and_then(|l| l.2.as_deref())
    }
    pub fn focus_approval(&mut self, id: &str) {
        if let Some(i) = self.lines.iter().position(|l| l.2.as_deref() == Some(id)) {
            self.selected = i;
        }
    }
    pub fn focused_text(&self) -> Option<String> {
        self.lines.get(self.selected).map(|l| l.1.clone())
    }
}
