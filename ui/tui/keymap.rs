//! The one table of keys: dispatch, the `?` page and the hints at the foot are all made from it.

use std::collections::BTreeMap;
use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
    NextArea,
    PrevArea,
    Open,
    Back,
    Input,
    CardNext,
    CardPrev,
    Fold,
    FoldAll,
    Approve,
    Deny,
    Spawn,
    Diff,
    Merge,
    Abort,
    Kill,
    Runtimes,
    Inbox,
    Copy,
    NextWaiting,
    Filter,
    Command,
    Help,
    Redraw,
    Suspend,
    Quit,
    Send,
    Newline,
    Leave,
}

/// Where a key acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the list and in the session.
    Screen,
    /// In the session only; wins over `Screen` there.
    Session,
    /// In the list only; wins over `Screen` there.
    List,
    /// While a message is typed.
    Input,
}

impl Scope {
    /// Heading of the `?` page.
    pub fn title(self) -> &'static str {
        match self {
            Scope::Screen => "everywhere",
            Scope::Session => "in the session",
            Scope::List => "in the list",
            Scope::Input => "while typing",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    pub action: Action,
    /// The name in `ui.keys`.
    pub name: &'static str,
    pub scope: Scope,
    pub keys: &'static [&'static str],
    pub help: &'static str,
    /// Word for the hints at the foot; empty: not hinted.
    pub hint: &'static str,
}

const fn row(
    action: Action,
    name: &'static str,
    scope: Scope,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
) -> Entry {
    Entry { action, name, scope, keys, help, hint }
}

/// All keys, in the order of the `?` page.
pub const TABLE: &[Entry] = &[
    row(Action::Down, "down", Scope::Screen, &["j", "down"], "", "next agent, or scroll down"),
    row(Action::Up, "up", Scope::Screen, &["k", "up"], "", "previous agent, or scroll up"),
    row(Action::PageDown, "page_down", Scope::Screen, &["pagedown", "ctrl-d", "ctrl-f"], "", "a page down"),
    row(Action::PageUp, "page_up", Scope::Screen, &["pageup", "ctrl-u", "ctrl-b"], "", "a page up"),
    row(Action::Top, "top", Scope::Screen, &["g", "home"], "", "to the beginning"),
    row(Action::Bottom, "bottom", Scope::Screen, &["G", "end"], "", "to the end; follow a session"),
    row(Action::NextArea, "next_area", Scope::Screen, &["tab"], "", "next area: list, session, input"),
    row(Action::PrevArea, "prev_area", Scope::Screen, &["shift-tab"], "", "previous area"),
    row(Action::NextWaiting, "next_waiting", Scope::Screen, &["w"], "", "next agent that needs you"),
    row(Action::Input, "input", Scope::Screen, &["i"], "say", "write to the agent: say, or steer"),
    row(Action::Approve, "approve", Scope::Screen, &["a"], "approve", "approve the pending request"),
    row(Action::Deny, "deny", Scope::Screen, &["x"], "deny", "deny the pending request"),
    row(Action::Inbox, "approvals", Scope::Screen, &["A"], "", "every request that waits, of all agents"),
    row(Action::Spawn, "spawn", Scope::Screen, &["s", "n"], "spawn", "a new agent"),
    row(Action::Diff, "diff", Scope::Screen, &["d"], "diff", "the agent's work against its base"),
    row(Action::Merge, "merge", Scope::Screen, &["m"], "merge", "merge the agent's work (asks first)"),
    row(Action::Abort, "abort", Scope::Screen, &["ctrl-x"], "", "end the running turn (asks first)"),
    row(Action::Kill, "kill", Scope::Screen, &["ctrl-k"], "", "remove the agent (asks first)"),
    row(Action::Runtimes, "runtimes", Scope::Screen, &["r"], "", "runtimes: versions and what each can do"),
    row(Action::Copy, "copy", Scope::Screen, &["y"], "", "send the card to the terminal's clipboard"),
    row(Action::Filter, "filter", Scope::Screen, &["/"], "filter", "filter the list"),
    row(Action::Command, "command", Scope::Screen, &[":"], "command", "type a command"),
    row(Action::Help, "help", Scope::Screen, &["?", "f1"], "help", "this page"),
    row(Action::Redraw, "redraw", Scope::Screen, &["ctrl-l"], "", "draw the whole screen again"),
    row(Action::Suspend, "suspend", Scope::Screen, &["ctrl-z"], "", "stop fracta's screen; `fg` comes back"),
    row(Action::Quit, "quit", Scope::Screen, &["q", "ctrl-c"], "quit", "leave; the agents go on"),
    row(Action::Back, "back", Scope::Screen, &["esc"], "", "out: overlay, filter, session"),
    row(Action::Open, "open", Scope::List, &["enter", "right", "l"], "open", "go to the session"),
    row(Action::Back, "to_list", Scope::Session, &["left", "h"], "", "back to the list"),
    row(Action::CardNext, "card_next", Scope::Session, &["]", "J", "ctrl-n"], "card", "next card"),
    row(Action::CardPrev, "card_prev", Scope::Session, &["[", "K", "ctrl-p"], "", "previous card"),
    row(Action::Fold, "fold", Scope::Session, &["space", "enter", "o"], "fold", "fold or unfold the card"),
    row(Action::FoldAll, "fold_all", Scope::Session, &["z", "O"], "", "fold or unfold all cards"),
    row(Action::Send, "send", Scope::Input, &["enter"], "", "send: the prompt says whether as say or steer"),
    row(
        Action::Newline,
        "newline",
        Scope::Input,
        &["alt-enter", "shift-enter", "ctrl-j"],
        "line",
        "a new line",
    ),
    row(Action::Leave, "leave", Scope::Input, &["esc"], "out", "leave the input; the text stays"),
    row(Action::NextArea, "input_next", Scope::Input, &["tab"], "", "next area"),
    row(Action::PrevArea, "input_prev", Scope::Input, &["shift-tab"], "", "previous area"),
    row(Action::Suspend, "input_suspend", Scope::Input, &["ctrl-z"], "", "stop fracta's screen"),
];

/// A key as it is looked up: shift is part of the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    pub mods: KeyModifiers,
}

impl From<KeyEvent> for Key {
    fn from(e: KeyEvent) -> Self {
        let known = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let mut mods = e.modifiers & known;
        let code = match e.code {
            KeyCode::BackTab => {
                mods |= KeyModifiers::SHIFT;
                KeyCode::Tab
            }
            KeyCode::Char(c) => {
                // Some terminals report shift as a modifier of the small letter.
                let c = if mods.contains(KeyModifiers::SHIFT) && c.is_ascii_lowercase() {
                    c.to_ascii_uppercase()
                } else {
                    c
                };
                mods -= KeyModifiers::SHIFT;
                KeyCode::Char(c)
            }
            other => other,
        };
        Self { code, mods }
    }
}

/// Why the `ui.keys` of a config cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("ui.keys: there is no action {name:?}{}; `?` in the TUI lists them", hint.as_ref().map(|h| format!("; did you mean {h:?}?")).unwrap_or_default())]
    NoAction { name: String, hint: Option<String> },
    #[error(
        "ui.keys.{action}: {key:?} is not a key; write one character, or ctrl-x, alt-x, enter, esc, tab, space, up, f1, …"
    )]
    NoKey { action: String, key: String },
    #[error("ui.keys: {key} is bound to both {first} and {second}")]
    Twice { key: String, first: &'static str, second: &'static str },
}

impl Key {
    /// Reads `g`, `ctrl-x`, `alt-enter`, `pagedown`, …
    pub fn parse(s: &str) -> Option<Self> {
        let mut mods = KeyModifiers::NONE;
        let mut rest = s;
        loop {
            let (m, tail) = if let Some(t) = rest.strip_prefix("ctrl-") {
                (KeyModifiers::CONTROL, t)
            } else if let Some(t) = rest.strip_prefix("alt-") {
                (KeyModifiers::ALT, t)
            } else if let Some(t) = rest.strip_prefix("shift-") {
                (KeyModifiers::SHIFT, t)
            } else {
                break;
            };
            mods |= m;
            rest = tail;
        }
        let code = match rest {
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "tab" => KeyCode::Tab,
            "space" => KeyCode::Char(' '),
            "backspace" => KeyCode::Backspace,
            "delete" => KeyCode::Delete,
            "insert" => KeyCode::Insert,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "pageup" => KeyCode::PageUp,
            "pagedown" => KeyCode::PageDown,
            _ => {
                let mut chars = rest.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) if !c.is_control() => KeyCode::Char(c),
                    (Some('f'), Some(_)) => {
                        KeyCode::F(rest[1..].parse().ok().filter(|n| (1..=24).contains(n))?)
                    }
                    _ => return None,
                }
            }
        };
        Some(Self::from(KeyEvent::new(code, mods)))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (m, word) in
            [(KeyModifiers::CONTROL, "ctrl-"), (KeyModifiers::ALT, "alt-"), (KeyModifiers::SHIFT, "shift-")]
        {
            if self.mods.contains(m) {
                f.write_str(word)?;
            }
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str("space"),
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::F(n) => write!(f, "f{n}"),
            KeyCode::Up => f.write_str("↑"),
            KeyCode::Down => f.write_str("↓"),
            KeyCode::Left => f.write_str("←"),
            KeyCode::Right => f.write_str("→"),
            KeyCode::PageUp => f.write_str("pgup"),
            KeyCode::PageDown => f.write_str("pgdn"),
            other => write!(f, "{}", format!("{other:?}").to_ascii_lowercase()),
        }
    }
}

/// The table with the config's changes.
#[derive(Debug, Clone)]
pub struct KeyMap {
    /// Parallel to [`TABLE`].
    keys: Vec<Vec<Key>>,
}

impl Default for KeyMap {
    fn default() -> Self {
        Self { keys: TABLE.iter().map(|e| e.keys.iter().filter_map(|k| Key::parse(k)).collect()).collect() }
    }
}

impl KeyMap {
    /// The table with `overrides` (action name → its keys, replacing the ones of the table).
    ///
    /// # Errors
    /// Unknown action, unknown key, or one key for two actions of the same place.
    pub fn new(overrides: &BTreeMap<String, Vec<String>>) -> Result<Self, KeyError> {
        let mut map = Self::default();
        for (name, keys) in overrides {
            let Some(at) = TABLE.iter().position(|e| e.name == name) else {
                let hint = TABLE
                    .iter()
                    .map(|e| e.name)
                    .filter(|n| strsim::damerau_levenshtein(n, name) <= 3)
                    .min_by_key(|n| strsim::damerau_levenshtein(n, name));
                return Err(KeyError::NoAction { name: name.clone(), hint: hint.map(str::to_owned) });
            };
            map.keys[at] = keys
                .iter()
                .map(|k| {
                    Key::parse(k).ok_or_else(|| KeyError::NoKey { action: name.clone(), key: k.clone() })
                })
                .collect::<Result<_, _>>()?;
        }
        for (i, a) in TABLE.iter().enumerate() {
            for (j, b) in TABLE.iter().enumerate().skip(i + 1) {
                if a.scope == b.scope
                    && let Some(k) = map.keys[i].iter().find(|k| map.keys[j].contains(k))
                {
                    return Err(KeyError::Twice { key: k.to_string(), first: a.name, second: b.name });
                }
            }
        }
        Ok(map)
    }

    /// The action of a key in a place; the place's own keys win over the screen's.
    pub fn lookup(&self, scope: Scope, key: Key) -> Option<Action> {
        let find = |s: Scope| {
            TABLE
                .iter()
                .zip(&self.keys)
                .find(|(e, k)| e.scope == s && k.contains(&key))
                .map(|(e, _)| e.action)
        };
        find(scope).or_else(|| match scope {
            Scope::List | Scope::Session => find(Scope::Screen),
            Scope::Screen | Scope::Input => None,
        })
    }

    /// The table with the keys in force.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Entry, &[Key])> {
        TABLE.iter().zip(self.keys.iter().map(Vec::as_slice))
    }

    /// The first key of an action, for hints; empty where it has none.
    pub fn key_of(&self, action: Action) -> String {
        self.entries()
            .find(|(e, k)| e.action == action && !k.is_empty())
            .map(|(_, k)| k[0].to_string())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &[&str])]) -> Result<KeyMap, KeyError> {
        KeyMap::new(
            &pairs
                .iter()
                .map(|(n, k)| ((*n).to_owned(), k.iter().map(|k| (*k).to_owned()).collect()))
                .collect(),
        )
    }

    #[test]
    fn the_table_is_sound() {
        map(&[]).unwrap();
        for e in TABLE {
            for k in e.keys {
                assert!(Key::parse(k).is_some(), "{k}");
            }
            assert!(!e.help.is_empty());
        }
        let mut names: Vec<_> = TABLE.iter().map(|e| e.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len(), "names are unique");
    }

    #[test]
    fn overrides_replace_and_errors_name_the_culprit() {
        let m = map(&[("spawn", &["ctrl-n", "f2"])]).unwrap();
        assert_eq!(m.lookup(Scope::List, Key::parse("f2").unwrap()), Some(Action::Spawn));
        assert_eq!(m.lookup(Scope::List, Key::parse("s").unwrap()), None);
        let e = map(&[("spwan", &["x"])]).unwrap_err().to_string();
        assert!(e.contains("spwan") && e.contains("\"spawn\""), "{e}");
        let e = map(&[("spawn", &["hyper-x"])]).unwrap_err().to_string();
        assert!(e.contains("ui.keys.spawn") && e.contains("hyper-x"), "{e}");
        let e = map(&[("spawn", &["q"])]).unwrap_err().to_string();
        assert!(e.contains("spawn") && e.contains("quit"), "{e}");
    }

    #[test]
    fn arrows_and_vim_keys_do_the_same() {
        let m = KeyMap::default();
        for (a, b) in [("j", "down"), ("k", "up"), ("g", "home"), ("G", "end"), ("l", "right")] {
            let (a, b) = (Key::parse(a).unwrap(), Key::parse(b).unwrap());
            assert_eq!(m.lookup(Scope::List, a), m.lookup(Scope::List, b));
            assert!(m.lookup(Scope::List, a).is_some());
        }
    }

    #[test]
    fn shift_is_part_of_the_character() {
        let plain = Key::from(KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT));
        let kitty = Key::from(KeyEvent::new(KeyCode::Char('g'), KeyModifiers::SHIFT));
        assert_eq!(plain, kitty);
        assert_eq!(plain, Key::parse("G").unwrap());
        let tab = Key::from(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT));
        assert_eq!(tab, Key::parse("shift-tab").unwrap());
    }
}
