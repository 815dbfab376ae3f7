//! The one-line prompts at the foot: `:` for commands and `/` for the filter.

/// What is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Command,
    /// The filter as it was before, for `esc`.
    Filter {
        before: String,
    },
}

/// A line with a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub kind: Kind,
    text: Vec<char>,
    cursor: usize,
    /// Position in the history counted from its end; 0: the line being typed.
    pub recall: usize,
}

/// Longest line (law 1).
const LONGEST: usize = 4096;

impl Prompt {
    pub fn new(kind: Kind, text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        Self { kind, cursor: text.len(), text, recall: 0 }
    }

    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// The text left of the cursor.
    pub fn head(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    pub fn set(&mut self, text: &str) {
        self.text = text.chars().collect();
        self.cursor = self.text.len();
    }

    pub fn insert(&mut self, c: char) {
        if !c.is_control() && self.text.len() < LONGEST {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    pub fn backspace(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.cursor);
        }
    }

    pub fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    pub fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    pub fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.text.len());
    }

    pub fn home(&mut self) {
        self.cursor = 0;
    }

    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Removes all left of the cursor.
    pub fn kill_head(&mut self) {
        self.text.drain(..self.cursor);
        self.cursor = 0;
    }

    /// Removes the word left of the cursor.
    pub fn kill_word(&mut self) {
        let end = self.cursor;
        while self.cursor > 0 && self.text[self.cursor - 1] == ' ' {
            self.cursor -= 1;
        }
        while self.cursor > 0 && self.text[self.cursor - 1] != ' ' {
            self.cursor -= 1;
        }
        self.text.drain(self.cursor..end);
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}
