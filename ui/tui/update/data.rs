//! What the control plane sends by itself: the list and the events.

use fracta::control::wire::{Agent, Watch};
use fracta::text;

use crate::tui::list::Group;
use crate::tui::model::{Level, Link, Model, Stream};
use crate::tui::msg::{Effect, Msg};

pub fn data(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Watch(w) => watch(model, w),
        Msg::LinkLost(why) => {
            model.link = Link::Lost(why);
            vec![]
        }
        Msg::Events { session, events } => {
            if let Some(s) = model.session_mut(&session) {
                for e in &events {
                    s.transcript.apply(e);
                }
            }
            vec![]
        }
        Msg::Live { session } => {
            if let Some(s) = model.session_mut(&session) {
                s.stream = Stream::Live;
            }
            vec![]
        }
        Msg::StreamLost { session, why, gone } => {
            if let Some(s) = model.session_mut(&session) {
                s.stream = if gone { Stream::Gone } else { Stream::Lost(why) };
            }
            vec![]
        }
        Msg::Earlier { session, events } => earlier(model, &session, events),
        _ => vec![],
    }
}

fn earlier(
    model: &mut Model,
    session: &str,
    events: Result<Vec<fracta::event::Event>, crate::tui::msg::Failure>,
) -> Vec<Effect> {
    let Some(s) = model.session_mut(session) else { return vec![] };
    s.fetching = false;
    let before = s.transcript.first_seq();
    let failed = match events {
        Ok(events) => {
            s.transcript.prepend(&events);
            None
        }
        Err(e) => Some(e.text),
    };
    if s.transcript.first_seq() == before {
        s.exhausted = before;
    }
    if let Some(text) = failed {
        model.note(Level::Bad, format!("the earlier events could not be read: {text}"));
    }
    vec![]
}

fn watch(model: &mut Model, watch: Watch) -> Vec<Effect> {
    match watch {
        Watch::Agents { agents } => {
            let first = model.link == Link::Connecting;
            let mut calls: Vec<String> = Vec::new();
            if !first {
                for a in &agents {
                    let old = model.list.get(&a.session).map(Group::of);
                    calls.extend(call(a, old));
                }
            }
            model.link = Link::Up;
            model.list.replace(agents);
            forget(model);
            let mut effects = if model.runtimes.is_none() { vec![Effect::Runtimes] } else { vec![] };
            effects.extend(notify(model, calls));
            effects
        }
        Watch::Agent { agent } => {
            let now = agent.clone();
            let old = model.list.put(*agent);
            let calls = call(&now, old).into_iter().collect();
            notify(model, calls)
        }
        Watch::Gone { session, .. } => {
            model.list.remove(&session);
            forget(model);
            vec![]
        }
    }
}

/// Drops what is kept of sessions that are gone from the list, the shown one excepted.
fn forget(model: &mut Model) {
    let (list, current) = (&model.list, &model.current);
    model.sessions.retain(|s| list.get(&s.id).is_some() || current.as_ref() == Some(&s.id));
    model.drafts.retain(|id, _| list.get(id).is_some());
}

/// The words for an agent that newly needs a person.
fn call(agent: &Agent, before: Option<Group>) -> Option<String> {
    if Group::of(agent) != Group::NeedsYou || before == Some(Group::NeedsYou) {
        return None;
    }
    let what = match agent.pending_approvals.first() {
        Some(p) => text::line(&p.what).into_owned(),
        None => agent.state.word().to_owned(),
    };
    Some(format!("{}: {what}", agent.name))
}

fn notify(model: &Model, calls: Vec<String>) -> Vec<Effect> {
    if !model.notify || model.looked_at {
        return vec![];
    }
    match calls.len() {
        0 => vec![],
        1 => calls.into_iter().map(Effect::Notify).collect(),
        n => vec![Effect::Notify(format!("{n} agents need you"))],
    }
}
