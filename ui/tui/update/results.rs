//! What became of the requests: each result is said, failures in the server's words.

use fracta::control::wire::{Code, Said};
use fracta::event::{Decision, Delivery};

use crate::tui::model::{Level, Model, text_area};
use crate::tui::msg::{Effect, Failure, Msg};
use crate::tui::overlay::{Lines, Overlay};

pub fn result(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Said { name, session, text, steer, result } => said(model, &name, &session, text, steer, result),
        Msg::Answered { name, decision, result } => match result {
            Ok(answered) => {
                super::inbox::answered(model, &name, &answered.approval, decision);
                let word = if decision == Decision::Approved { "approved" } else { "denied" };
                model.note(Level::Good, format!("{name}: {word}"));
            }
            Err(e) => bad(model, &name, "not answered", &e),
        },
        Msg::Aborted { name, result } => match result {
            Ok(()) => model.note(Level::Good, format!("{name}: the turn was ended")),
            Err(e) => bad(model, &name, "not aborted", &e),
        },
        Msg::Killed { name, result } => killed(model, &name, result),
        Msg::Merged { name, result } => match result {
            Ok(m) => match m.commit {
                Some(c) => {
                    let c: String = c.chars().take(10).collect();
                    model.note(Level::Good, format!("{name}: merged into {} at {c}", m.into));
                }
                None => model.note(Level::Info, format!("{name}: nothing to merge into {}", m.into)),
            },
            Err(e) => bad(model, &name, "not merged", &e),
        },
        Msg::Diff { name, result } => diff(model, &name, result),
        Msg::Spawned { name, result } => spawned(model, &name, result),
        Msg::Runtimes(result) => match result {
            Ok(r) => model.runtimes = Some(r),
            Err(e) => model.note(Level::Bad, format!("the runtimes could not be read: {}", e.text)),
        },
        _ => {}
    }
    vec![]
}

fn bad(model: &mut Model, name: &str, what: &str, e: &Failure) {
    model.note(Level::Bad, format!("{name}: {what}: {}", e.text));
}

fn said(
    model: &mut Model,
    name: &str,
    session: &str,
    text: String,
    steer: bool,
    result: Result<Said, Failure>,
) {
    let verb = if steer { "steer" } else { "message" };
    match result {
        Ok(said) => {
            let why = said.reason.map(|r| format!(": {r}")).unwrap_or_default();
            let (level, words) = match said.delivery {
                Delivery::Queued => (Level::Info, "queued"),
                Delivery::Accepted => (Level::Good, "accepted by the runtime"),
                Delivery::Rejected => (Level::Bad, "refused"),
                Delivery::Unconfirmed => {
                    (Level::Bad, "sent, but not confirmed; it is not sent again by itself")
                }
            };
            model.note(level, format!("{name}: {verb} {words}{why}"));
            if said.delivery == Delivery::Rejected {
                give_back(model, session, text);
            }
        }
        Err(e) => {
            bad(model, name, &format!("{verb} not sent"), &e);
            give_back(model, session, text);
        }
    }
}

/// A text that did not go out comes back to the input, unless something new is there already.
fn give_back(model: &mut Model, session: &str, text: String) {
    if model.current.as_deref() == Some(session) {
        if model.input.is_empty() {
            model.input = text_area(&text);
        }
    } else if model.list.get(session).is_some() {
        model.drafts.entry(session.to_owned()).or_insert(text);
    }
}

fn killed(model: &mut Model, name: &str, result: Result<(), Failure>) {
    match result {
        Ok(()) => model.note(Level::Good, format!("{name}: killed; its journal stays readable")),
        Err(e) if e.code == Some(Code::Conflict) => {
            model
                .note(Level::Bad, format!("{name}: not killed: {} (`:kill! {name}` does it anyway)", e.text));
        }
        Err(e) => bad(model, name, "not killed", &e),
    }
}

fn diff(model: &mut Model, name: &str, result: Result<fracta::control::wire::Diff, Failure>) {
    let Some(Overlay::Diff(pager)) = &mut model.overlay else { return };
    if pager.name != name {
        return;
    }
    match result {
        Ok(d) => pager.diff = Some(Lines::new(d)),
        Err(e) => {
            model.overlay = None;
            bad(model, name, "no diff", &e);
        }
    }
}

fn spawned(model: &mut Model, name: &str, result: Result<Box<fracta::control::wire::Agent>, Failure>) {
    let unasked = model.unasked.iter().position(|n| n == name).map(|at| model.unasked.swap_remove(at));
    match result {
        Ok(agent) if unasked.is_some() => drop(model.list.put(*agent)),
        Ok(agent) => {
            if matches!(model.overlay, Some(Overlay::Spawn(_))) {
                model.overlay = None;
            }
            let session = agent.session.clone();
            model.list.put(*agent);
            model.list.select(&session);
            model.note(Level::Good, format!("{name}: started"));
        }
        Err(e) => match &mut model.overlay {
            Some(Overlay::Spawn(form)) => {
                form.busy = false;
                form.problem = Some(e.text);
            }
            _ => bad(model, name, "not started", &e),
        },
    }
}
