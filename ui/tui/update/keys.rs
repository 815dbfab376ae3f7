//! Keys, paste and mouse: who gets them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind};
use ratatui_textarea::{CursorMove, TextArea};

use super::{actions, command};
use crate::tui::keymap::{Action, Key, Scope};
use crate::tui::model::{Focus, Level, Model};
use crate::tui::msg::Effect;
use crate::tui::overlay::{BACKENDS, Confirm, Field, Form, Overlay, TIERS};
use crate::tui::prompt::{Kind, Prompt};
use fracta::runtime::Mode;

/// Longest text of an input (law 1).
const LONGEST: usize = 1 << 20;
/// Commands remembered.
const HISTORY: usize = 100;

pub fn key(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    if event.kind == KeyEventKind::Release {
        return vec![];
    }
    let key = Key::from(event);
    model.note = None;
    if model.prompt.is_some() {
        return prompt(model, key);
    }
    if model.overlay.is_some() {
        return overlay(model, key, event);
    }
    if model.focus == Focus::Input {
        return match model.keys.lookup(Scope::Input, key) {
            Some(a) => actions::action(model, a),
            None => {
                if key == ctrl('c') {
                    return leave_or_clear(model);
                }
                edit(&mut model.input, key, event);
                vec![]
            }
        };
    }
    let scope = if model.focus == Focus::List { Scope::List } else { Scope::Session };
    match model.keys.lookup(scope, key) {
        Some(a) => actions::action(model, a),
        None => {
            model.note(
                Level::Info,
                format!("{key} does nothing here; {} lists the keys", model.keys.key_of(Action::Help)),
            );
            vec![]
        }
    }
}

fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), mods: KeyModifiers::CONTROL }
}

fn leave_or_clear(model: &mut Model) -> Vec<Effect> {
    if model.input.is_empty() {
        model.focus = Focus::Session;
    } else {
        model.input = crate::tui::model::text_area("");
    }
    vec![]
}

/// Line editing as shells have it.
fn edit(area: &mut TextArea<'static>, key: Key, event: KeyEvent) {
    match key {
        k if k == ctrl('u') => {
            area.delete_line_by_head();
        }
        Key { code: KeyCode::Left, mods: KeyModifiers::ALT } => area.move_cursor(CursorMove::WordBack),
        Key { code: KeyCode::Right, mods: KeyModifiers::ALT } => area.move_cursor(CursorMove::WordForward),
        _ => {
            area.input(event);
        }
    }
}

/// Pasted text is text, whatever it holds: no key of it is ever carried out.
pub fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    let clean: String = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .collect();
    if clean.len() > LONGEST {
        model.note(Level::Bad, "the paste is longer than 1 MiB: put it into a file and name that");
        return vec![];
    }
    let one_line = || clean.replace(['\n', '\t'], " ");
    if let Some(p) = &mut model.prompt {
        one_line().chars().for_each(|c| p.insert(c));
        filter(model);
        return vec![];
    }
    match &mut model.overlay {
        Some(Overlay::Spawn(form)) => match form.field {
            Field::Name => drop(form.name.insert_str(one_line().trim())),
            Field::Model => drop(form.model.insert_str(one_line().trim())),
            Field::Base => drop(form.base.insert_str(one_line().trim())),
            Field::Contract => drop(form.contract.insert_str(&clean)),
            _ => {}
        },
        Some(_) => {}
        None if model.list.selected().is_some() => {
            model.focus = Focus::Input;
            model.input.insert_str(&clean);
        }
        None => model.note(Level::Info, "no agent is selected: nowhere to paste to"),
    }
    vec![]
}

pub fn mouse(model: &mut Model, mouse: MouseEvent) -> Vec<Effect> {
    let by = match mouse.kind {
        MouseEventKind::ScrollDown => 3,
        MouseEventKind::ScrollUp => -3,
        _ => return vec![],
    };
    match &mut model.overlay {
        Some(Overlay::Diff(p)) => p.top = p.top.saturating_add_signed(by),
        Some(Overlay::Help(top) | Overlay::Runtimes(top)) => *top = top.saturating_add_signed(by),
        Some(_) => {}
        None => {
            if let Some(s) = model.shown_mut() {
                s.transcript.scroll(by);
            }
        }
    }
    vec![]
}

fn filter(model: &mut Model) {
    if let Some(Prompt { kind: Kind::Filter { .. }, .. }) = &model.prompt {
        let text = model.prompt.as_ref().map(Prompt::text).unwrap_or_default();
        model.list.set_filter(text);
    }
}

fn prompt(model: &mut Model, key: Key) -> Vec<Effect> {
    let Some(p) = &mut model.prompt else { return vec![] };
    match (key.code, key.mods) {
        (KeyCode::Esc, _) => return prompt_out(model),
        (KeyCode::Char('c'), KeyModifiers::CONTROL) => return prompt_out(model),
        (KeyCode::Backspace, _) if p.is_empty() => return prompt_out(model),
        (KeyCode::Enter, _) => return prompt_done(model),
        (KeyCode::Tab, _) => {
            let head = p.head();
            if p.kind == Kind::Command
                && let Some(full) = command::complete(model, &head)
                && let Some(p) = &mut model.prompt
            {
                p.set(&full);
            }
        }
        (KeyCode::Up | KeyCode::Down, _) => recall(model, key.code == KeyCode::Up),
        (KeyCode::Backspace, _) | (KeyCode::Char('h'), KeyModifiers::CONTROL) => p.backspace(),
        (KeyCode::Delete, _) | (KeyCode::Char('d'), KeyModifiers::CONTROL) => p.delete(),
        (KeyCode::Left, _) | (KeyCode::Char('b'), KeyModifiers::CONTROL) => p.left(),
        (KeyCode::Right, _) | (KeyCode::Char('f'), KeyModifiers::CONTROL) => p.right(),
        (KeyCode::Home, _) | (KeyCode::Char('a'), KeyModifiers::CONTROL) => p.home(),
        (KeyCode::End, _) | (KeyCode::Char('e'), KeyModifiers::CONTROL) => p.end(),
        (KeyCode::Char('u'), KeyModifiers::CONTROL) => p.kill_head(),
        (KeyCode::Char('w'), KeyModifiers::CONTROL) => p.kill_word(),
        (KeyCode::Char(c), KeyModifiers::NONE) => p.insert(c),
        _ => {}
    }
    filter(model);
    vec![]
}

fn prompt_out(model: &mut Model) -> Vec<Effect> {
    if let Some(Prompt { kind: Kind::Filter { before }, .. }) = model.prompt.take() {
        model.list.set_filter(before);
    }
    vec![]
}

fn prompt_done(model: &mut Model) -> Vec<Effect> {
    let Some(p) = model.prompt.take() else { return vec![] };
    if p.kind != Kind::Command {
        return vec![];
    }
    let line = p.text();
    if !line.trim().is_empty() && model.history.last() != Some(&line) {
        model.history.push(line.clone());
        if model.history.len() > HISTORY {
            model.history.remove(0);
        }
    }
    command::run(model, &line)
}

fn recall(model: &mut Model, older: bool) {
    let n = model.history.len();
    let Some(p) = &mut model.prompt else { return };
    if p.kind != Kind::Command {
        return;
    }
    p.recall = if older { (p.recall + 1).min(n) } else { p.recall.saturating_sub(1) };
    let line = match p.recall {
        0 => String::new(),
        r => model.history.get(n - r).cloned().unwrap_or_default(),
    };
    p.set(&line);
}

fn overlay(model: &mut Model, key: Key, event: KeyEvent) -> Vec<Effect> {
    // What leaves or redraws the screen works everywhere but in a text field.
    if key == ctrl('z') {
        return vec![Effect::Suspend];
    }
    match &mut model.overlay {
        Some(Overlay::Spawn(_)) => form(model, key, event),
        Some(Overlay::Confirm(_)) => confirmed(model, key),
        Some(Overlay::Inbox(_)) => super::inbox::key(model, key),
        _ => pager(model, key),
    }
}

fn pager(model: &mut Model, key: Key) -> Vec<Effect> {
    let page = usize::from(model.size.1.saturating_sub(4).max(1));
    let action = model.keys.lookup(Scope::Screen, key);
    let (top, left) = match &mut model.overlay {
        Some(Overlay::Diff(p)) => (&mut p.top, Some(&mut p.left)),
        Some(Overlay::Help(top) | Overlay::Runtimes(top)) => (top, None),
        _ => return vec![],
    };
    match (action, key.code) {
        (Some(Action::Down), _) | (_, KeyCode::Enter) => *top = top.saturating_add(1),
        (Some(Action::Up), _) => *top = top.saturating_sub(1),
        (Some(Action::PageDown), _) | (_, KeyCode::Char(' ')) => *top = top.saturating_add(page),
        (Some(Action::PageUp), _) => *top = top.saturating_sub(page),
        (Some(Action::Top), _) => *top = 0,
        // Layout brings it back to the last page.
        (Some(Action::Bottom), _) => *top = usize::MAX,
        (_, KeyCode::Left | KeyCode::Char('h')) => {
            if let Some(l) = left {
                *l = l.saturating_sub(8);
            }
        }
        (_, KeyCode::Right | KeyCode::Char('l')) => {
            if let Some(l) = left {
                *l = (*l + 8).min(2000);
            }
        }
        (Some(Action::Redraw), _) => return vec![Effect::Redraw],
        (Some(Action::Back | Action::Quit | Action::Help | Action::Diff | Action::Runtimes), _) => {
            model.overlay = None;
        }
        (Some(Action::Command), _) => model.prompt = Some(Prompt::new(Kind::Command, "")),
        _ => {}
    }
    vec![]
}

fn confirmed(model: &mut Model, key: Key) -> Vec<Effect> {
    let Some(Overlay::Confirm(what)) = model.overlay.take() else { return vec![] };
    if key.code != KeyCode::Char('y') || !key.mods.is_empty() {
        model.note(Level::Info, "nothing done");
        return vec![];
    }
    let (name, doing, effect) = match what {
        Confirm::Abort { name } => (name.clone(), "ending the turn…", Effect::Abort { name }),
        Confirm::Kill { name, force } => (name.clone(), "killing…", Effect::Kill { name, force }),
        Confirm::Merge { name } => (name.clone(), "merging…", Effect::Merge { name }),
    };
    model.note(Level::Info, format!("{name}: {doing}"));
    vec![effect]
}

fn form(model: &mut Model, key: Key, event: KeyEvent) -> Vec<Effect> {
    let runtimes = model.runtimes.as_ref().map_or(0, Vec::len);
    let Some(Overlay::Spawn(f)) = &mut model.overlay else { return vec![] };
    match (key.code, key.mods) {
        (KeyCode::Esc, _) | (KeyCode::Char('c'), KeyModifiers::CONTROL) => {
            model.overlay = None;
            return vec![];
        }
        (KeyCode::Enter | KeyCode::Char('s'), KeyModifiers::CONTROL) => return start(model),
        (KeyCode::Enter, KeyModifiers::NONE) if f.field == Field::Start => return start(model),
        (KeyCode::Tab, m) => f.step(!m.contains(KeyModifiers::SHIFT)),
        (KeyCode::Down | KeyCode::Up, _) if f.field != Field::Contract => f.step(key.code == KeyCode::Down),
        (KeyCode::Up, _) if f.contract.cursor().0 == 0 => f.step(false),
        (KeyCode::Down, _) if f.contract.cursor().0 + 1 >= f.contract.lines().len() => f.step(true),
        (KeyCode::Enter, _) if f.field != Field::Contract => f.step(true),
        _ => field(f, key, event, runtimes),
    }
    vec![]
}

/// A key for the focused field: letters for texts, arrows for choices.
fn field(f: &mut Form, key: Key, event: KeyEvent, runtimes: usize) {
    let turn = match key.code {
        KeyCode::Right | KeyCode::Char(' ' | 'l') => 1,
        KeyCode::Left | KeyCode::Char('h') => -1,
        _ => 0,
    };
    let cycle = |at: usize, n: usize| (at + n).saturating_add_signed(turn) % n;
    f.problem = None;
    match f.field {
        Field::Name => edit(&mut f.name, key, event),
        Field::Runtime => f.runtime = cycle(f.runtime, runtimes + 1),
        Field::Mode => {
            const MODES: [Option<Mode>; 3] = [None, Some(Mode::Batch), Some(Mode::Stream)];
            let at = MODES.iter().position(|m| *m == f.mode).unwrap_or(0);
            f.mode = MODES[cycle(at, MODES.len())];
        }
        // Arrows choose a tier while no model is typed.
        Field::Model if f.model.is_empty() && matches!(key.code, KeyCode::Left | KeyCode::Right) => {
            f.tier = cycle(f.tier, TIERS.len());
        }
        Field::Model => edit(&mut f.model, key, event),
        Field::Base => edit(&mut f.base, key, event),
        Field::Backend => f.backend = cycle(f.backend, BACKENDS.len()),
        Field::Contract if key.code == KeyCode::Enter => f.contract.insert_newline(),
        Field::Contract => edit(&mut f.contract, key, event),
        Field::Start => {}
    }
}

fn start(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Spawn(f)) = &mut model.overlay else { return vec![] };
    if f.busy {
        return vec![];
    }
    match f.spawn(model.runtimes.as_deref().unwrap_or_default()) {
        Ok(spawn) => {
            f.busy = true;
            f.problem = None;
            vec![Effect::Spawn(Box::new(spawn))]
        }
        Err((field, why)) => {
            f.field = field;
            f.problem = Some(why);
            vec![]
        }
    }
}
