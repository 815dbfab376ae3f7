//! The one place where the model changes. Pure: what must be done outside comes back as [`Effect`]s.

mod actions;
mod command;
pub use command::COMMANDS;
mod data;
#[cfg(test)]
mod fuzz;
mod inbox;
mod keys;
mod results;
#[cfg(test)]
pub mod tests;

use super::model::{Focus, Model, text_area};
use super::msg::{Effect, Msg};

/// Changes the model by one message.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut effects = match msg {
        Msg::Key(key) => keys::key(model, key),
        Msg::Paste(text) => keys::paste(model, &text),
        Msg::Mouse(mouse) => keys::mouse(model, mouse),
        Msg::Resize(w, h) => {
            model.size = (w, h);
            vec![Effect::Redraw]
        }
        Msg::Focus(on) => {
            model.looked_at = on;
            vec![]
        }
        Msg::Watch(_)
        | Msg::LinkLost(_)
        | Msg::Events { .. }
        | Msg::Live { .. }
        | Msg::StreamLost { .. }
        | Msg::Earlier { .. } => data::data(model, msg),
        other => results::result(model, other),
    };
    settle(model, &mut effects);
    effects
}

/// What follows from the model as it is now, whatever led there: which session streams in, and what
/// the server is told is seen.
fn settle(model: &mut Model, effects: &mut Vec<Effect>) {
    let want = model.list.selected().map(|a| a.session.clone());
    if want != model.current {
        let draft = model.input.lines().join("\n");
        if let Some(old) = model.current.take() {
            if draft.is_empty() || model.list.get(&old).is_none() {
                model.drafts.remove(&old);
            } else {
                model.drafts.insert(old, draft);
            }
        }
        let draft = want.as_ref().and_then(|s| model.drafts.remove(s)).unwrap_or_default();
        model.input = text_area(&draft);
        if want.is_none() {
            model.focus = Focus::List;
            effects.push(Effect::Close);
        }
        model.current = want;
    }
    if model.shows_session()
        && let Some(id) = model.current.clone()
        && model.streaming.as_ref() != Some(&id)
    {
        let after = model.open(&id);
        model.streaming = Some(id.clone());
        effects.push(Effect::Open { session: id, after });
    }
    if model.current.is_none() {
        model.streaming = None;
    }
    if let Some((session, id)) = model.wanted.take() {
        // Kept until the card is there, or another session is.
        let here = model.current.as_ref() == Some(&session);
        let found = model.shown_mut().is_some_and(|s| s.id == session && s.transcript.focus_approval(&id));
        model.wanted = (here && !found).then_some((session, id));
    }
    let looked_at = model.shows_session() && model.looked_at && model.overlay.is_none();
    if looked_at && let Some(s) = model.shown_mut() {
        let last = s.transcript.last_seq();
        if s.transcript.following() && last > s.seen {
            s.seen = last;
            effects.push(Effect::Seen { session: s.id.clone(), seq: last });
        }
    }
}

/// What follows from the layout: at the top of what is loaded, the page before it is asked for.
pub fn after_layout(model: &mut Model) -> Vec<Effect> {
    if !model.shows_session() {
        return vec![];
    }
    let Some(s) = model.shown_mut() else { return vec![] };
    let Some(first) = s.transcript.first_seq() else { return vec![] };
    let ready = s.stream == super::model::Stream::Live && !s.fetching && s.exhausted != Some(first);
    if first <= 1 || !ready || !s.transcript.at_top() {
        return vec![];
    }
    s.fetching = true;
    vec![Effect::Earlier { session: s.id.clone(), before: first }]
}
