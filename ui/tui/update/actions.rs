//! What the keys of the screen do.

use fracta::control::wire::{Agent, Answer};
use fracta::event::Decision;
use fracta::session::state::State;

use crate::tui::keymap::Action;
use crate::tui::model::{Focus, Level, Model, Route, Stream};
use crate::tui::msg::Effect;
use crate::tui::overlay::{Confirm, Form, Overlay, Pager};
use crate::tui::prompt::{Kind, Prompt};

pub fn action(model: &mut Model, action: Action) -> Vec<Effect> {
    use Action::*;
    match action {
        Down | Up | PageDown | PageUp | Top | Bottom => movement(model, action),
        CardNext | CardPrev | Fold | FoldAll => card(model, action),
        NextArea | PrevArea | Open | Back | Input | Leave => area(model, action),
        NextWaiting => {
            if !model.list.next_waiting() {
                model.note(Level::Info, "no agent needs you");
            }
            vec![]
        }
        Approve => answer(model, Decision::Approved),
        Deny => answer(model, Decision::Denied),
        Spawn => {
            model.overlay = Some(Overlay::Spawn(Box::new(Form::new())));
            vec![Effect::Runtimes]
        }
        Diff => diff(model, None),
        Merge => confirm(model, None, |name| Confirm::Merge { name }),
        Abort => abort(model, None),
        Kill => confirm(model, None, |name| Confirm::Kill { name, force: false }),
        Runtimes => {
            model.overlay = Some(Overlay::Runtimes(0));
            vec![Effect::Runtimes]
        }
        Inbox => super::inbox::open(model),
        Copy => copy(model),
        Filter => {
            let before = model.list.filter().to_owned();
            model.prompt = Some(Prompt::new(Kind::Filter { before: before.clone() }, &before));
            vec![]
        }
        Command => {
            model.prompt = Some(Prompt::new(Kind::Command, ""));
            vec![]
        }
        Help => {
            model.overlay = Some(Overlay::Help(0));
            vec![]
        }
        Redraw => vec![Effect::Redraw],
        Suspend => vec![Effect::Suspend],
        Quit => vec![Effect::Quit],
        Send => send(model),
        Newline => {
            model.input.insert_newline();
            vec![]
        }
    }
}

/// The agent a command is about: the named one, else the selected one. Says so where there is none.
pub fn target(model: &mut Model, name: Option<&str>) -> Option<Agent> {
    let found = match name {
        Some(n) => model.list.named(n).cloned(),
        None => model.list.selected().cloned(),
    };
    if found.is_none() {
        match name {
            Some(n) => model.note(Level::Bad, format!("there is no agent {n:?} in the list")),
            None => model.note(Level::Info, "no agent is selected; `s` spawns one"),
        }
    }
    found
}

fn movement(model: &mut Model, action: Action) -> Vec<Effect> {
    let page = isize::try_from(model.size.1.saturating_sub(4).max(1)).unwrap_or(1);
    if model.focus == Focus::List {
        match action {
            Action::Down => model.list.step(1),
            Action::Up => model.list.step(-1),
            Action::PageDown => model.list.step(page / 2),
            Action::PageUp => model.list.step(-page / 2),
            Action::Top => model.list.step(isize::MIN),
            _ => model.list.step(isize::MAX),
        }
    } else if unread(model) {
        not_yet(model);
    } else if let Some(s) = model.shown_mut() {
        match action {
            Action::Down => s.transcript.scroll(1),
            Action::Up => s.transcript.scroll(-1),
            Action::PageDown => s.transcript.scroll_page(1),
            Action::PageUp => s.transcript.scroll_page(-1),
            Action::Top => s.transcript.scroll_home(),
            _ => s.transcript.follow(),
        }
    }
    vec![]
}

/// Nothing of the shown session is there yet.
fn unread(model: &Model) -> bool {
    model.shown().is_none_or(|s| s.stream == Stream::Loading && s.transcript.last_seq() == 0)
}

fn not_yet(model: &mut Model) {
    model.note(Level::Info, "the session is still being read; press it again in a moment");
}

fn card(model: &mut Model, action: Action) -> Vec<Effect> {
    if unread(model) {
        not_yet(model);
    }
    if let Some(s) = model.shown_mut() {
        match action {
            Action::CardNext => s.transcript.select_next(),
            Action::CardPrev => s.transcript.select_prev(),
            Action::Fold => s.transcript.toggle_fold(),
            _ => s.transcript.toggle_all(),
        }
    }
    vec![]
}

fn area(model: &mut Model, action: Action) -> Vec<Effect> {
    let any = model.list.selected().is_some();
    model.focus = match (action, model.focus) {
        (Action::Input, _) | (Action::NextArea, Focus::Session) | (Action::PrevArea, Focus::List) if any => {
            Focus::Input
        }
        (Action::Open, _) | (Action::NextArea, Focus::List) | (Action::PrevArea, Focus::Input) if any => {
            Focus::Session
        }
        (Action::Leave, _) => Focus::Session,
        (Action::NextArea, Focus::Input) | (Action::PrevArea, Focus::Session) => Focus::List,
        (Action::Back, Focus::List) => {
            if !model.list.filter().is_empty() {
                model.list.set_filter(String::new());
            }
            Focus::List
        }
        (Action::Back, _) => Focus::List,
        (_, stay) => {
            model.note(Level::Info, "no agent is selected; `s` spawns one");
            stay
        }
    };
    vec![]
}

/// Answers the focused card's request, else the first one that waits.
fn answer(model: &mut Model, decision: Decision) -> Vec<Effect> {
    let Some(agent) = target(model, None) else { return vec![] };
    let focused = (model.focus == Focus::Session)
        .then(|| model.shown().and_then(|s| s.transcript.focused_approval()).map(str::to_owned))
        .flatten();
    let id = focused.or_else(|| agent.pending_approvals.first().map(|p| p.id.clone()));
    answer_id(model, &agent, id, decision)
}

pub fn answer_id(model: &mut Model, agent: &Agent, id: Option<String>, decision: Decision) -> Vec<Effect> {
    let Some(id) = id else {
        model.note(Level::Info, format!("{}: nothing waits for an answer", agent.name));
        return vec![];
    };
    let asks = agent.pending_approvals.iter().any(|p| p.id == id && p.questions.is_some());
    if asks && decision == Decision::Approved {
        if let Some(s) = model.shown_mut() {
            s.transcript.focus_approval(&id);
        }
        model.focus = Focus::Input;
        model.note(Level::Info, "these are questions: type the answers, one a line, and send them");
        return vec![];
    }
    model.note(Level::Info, format!("{}: answering…", agent.name));
    vec![Effect::Answer {
        name: agent.name.to_string(),
        answer: Answer { approval: Some(id), decision, answers: None },
    }]
}

pub fn diff(model: &mut Model, name: Option<&str>) -> Vec<Effect> {
    let Some(agent) = target(model, name) else { return vec![] };
    let name = agent.name.to_string();
    model.overlay = Some(Overlay::Diff(Pager { name: name.clone(), diff: None, top: 0, left: 0 }));
    vec![Effect::Diff { name }]
}

pub fn abort(model: &mut Model, name: Option<&str>) -> Vec<Effect> {
    let Some(agent) = target(model, name) else { return vec![] };
    if !matches!(agent.state, State::Running | State::Waiting | State::Starting | State::Unknown) {
        model.note(Level::Info, format!("{}: no turn runs ({})", agent.name, agent.state.word()));
        return vec![];
    }
    model.overlay = Some(Overlay::Confirm(Confirm::Abort { name: agent.name.to_string() }));
    vec![]
}

pub fn confirm(model: &mut Model, name: Option<&str>, what: fn(String) -> Confirm) -> Vec<Effect> {
    if let Some(agent) = target(model, name) {
        model.overlay = Some(Overlay::Confirm(what(agent.name.to_string())));
    }
    vec![]
}

fn copy(model: &mut Model) -> Vec<Effect> {
    match model.shown().and_then(|s| s.transcript.focused_text()) {
        Some(text) => {
            let lines = text.lines().count();
            model.note(Level::Info, format!("sent to the terminal's clipboard ({lines} lines)"));
            vec![Effect::Copy(text)]
        }
        None if unread(model) => {
            not_yet(model);
            vec![]
        }
        None => {
            model.note(Level::Info, "there is no card to copy");
            vec![]
        }
    }
}

/// Sends the input as the prompt says.
fn send(model: &mut Model) -> Vec<Effect> {
    let text = model.input.lines().join("\n");
    let Some(agent) = target(model, None) else { return vec![] };
    if text.trim().is_empty() {
        model.note(Level::Info, "nothing to send yet");
        return vec![];
    }
    match model.route(&agent) {
        Route::No(why) => {
            model.note(Level::Bad, why);
            vec![]
        }
        Route::Answer(id) => {
            model.input = crate::tui::model::text_area("");
            let questions =
                agent.pending_approvals.iter().find(|p| p.id == id).and_then(|p| p.questions.as_ref());
            vec![Effect::Answer {
                name: agent.name.to_string(),
                answer: Answer {
                    approval: Some(id),
                    decision: Decision::Approved,
                    answers: Some(answers(questions, &text)),
                },
            }]
        }
        Route::Steer => say(model, &agent, text, true),
        Route::Say(_) => say(model, &agent, text, false),
    }
}

/// The answers of a text: JSON as it is; else line n answers question n, keyed by its id.
pub fn answers(questions: Option<&serde_json::Value>, text: &str) -> serde_json::Value {
    if let Ok(v @ serde_json::Value::Object(_)) = serde_json::from_str(text) {
        return v;
    }
    let list = questions.map(|q| q.get("questions").unwrap_or(q));
    let ids: Vec<String> = list
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(n, q)| q.get("id").and_then(|i| i.as_str()).map_or_else(|| n.to_string(), str::to_owned))
        .collect();
    if ids.len() < 2 {
        let id = ids.into_iter().next().unwrap_or_else(|| "0".to_owned());
        return serde_json::json!({ id: text.trim() });
    }
    let lines = text.lines().chain(std::iter::repeat(""));
    ids.into_iter()
        .zip(lines)
        .map(|(id, l)| (id, serde_json::Value::from(l.trim())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub fn say(model: &mut Model, agent: &Agent, text: String, steer: bool) -> Vec<Effect> {
    if model.current.as_deref() == Some(&agent.session) && model.input.lines().join("\n") == text {
        model.input = crate::tui::model::text_area("");
    }
    if let Some(s) = model.shown_mut()
        && s.id == agent.session
    {
        s.transcript.follow();
    }
    model.note(Level::Info, format!("{}: sending…", agent.name));
    vec![Effect::Say { name: agent.name.to_string(), session: agent.session.clone(), text, steer }]
}
