//! The form of a new agent.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::input::text_area;
use super::line::{fit, put_at, wrap};
use crate::tui::model::Model;
use crate::tui::overlay::{BACKENDS, Field, Form, TIERS};

/// Column where the values begin.
const VALUES: u16 = 11;

pub fn draw(model: &Model, f: &Form, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let t = &model.theme;
    // One row a field; the contract takes what is left, up to ten.
    let contract = area.height.saturating_sub(10).clamp(1, 10);
    let mut cursor = None;
    let mut y = 0;
    for field in Field::ALL {
        let height = if field == Field::Contract { contract } else { 1 };
        // On small screens the focused field is always shown: rows above it make room.
        let skip = usize::from(area.height) < Field::ALL.len()
            && Field::ALL.iter().position(|x| *x == field) < focused(f, area.height);
        if skip {
            continue;
        }
        if y >= area.height {
            break;
        }
        let place = Rect { y: area.y + y, height: height.min(area.height - y), ..area };
        cursor = row(model, f, field, place, buf).or(cursor);
        y += height + u16::from(field == Field::Contract && area.height > 11);
    }
    if let Some(problem) = &f.problem {
        for (i, text) in (y..area.height).zip(wrap(problem, usize::from(area.width))) {
            put_at(buf, area, 0, i, &text, t.error);
        }
    } else if f.busy {
        put_at(buf, area, 0, y, "starting…", t.dim);
    }
    cursor
}

/// Index of the first field shown on a screen too low for all of them.
fn focused(f: &Form, height: u16) -> Option<usize> {
    let at = Field::ALL.iter().position(|x| *x == f.field)?;
    Some((at + 1).saturating_sub(usize::from(height)))
}

fn row(model: &Model, f: &Form, field: Field, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let t = &model.theme;
    let on = f.field == field;
    if on {
        put_at(buf, area, 0, 0, "›", t.accent);
    }
    let label = match field {
        Field::Name => "name",
        Field::Runtime => "runtime",
        Field::Mode => "mode",
        Field::Model => "model",
        Field::Contract => "contract",
        Field::Base => "base",
        Field::Backend => "backend",
        Field::Start => "",
    };
    put_at(buf, area, 2, 0, label, if on { t.strong } else { t.dim });
    let values =
        Rect { x: area.x + VALUES.min(area.width), width: area.width.saturating_sub(VALUES), ..area };
    let mut choice = |text: &str, why: &str| {
        let x =
            put_at(buf, values, 0, 0, &if on { format!("‹ {text} ›") } else { text.to_owned() }, t.text) + 2;
        let room = usize::from(values.width.saturating_sub(x));
        put_at(buf, values, x, 0, &fit(why, room), t.dim);
    };
    match field {
        Field::Name => return entry(&f.name, "letters, digits and -", on, model, values, buf),
        Field::Runtime => {
            let (name, why) = runtime(model, f);
            choice(&name, &why);
        }
        Field::Mode => match f.mode {
            None => choice("default", "as fracta.yaml says"),
            Some(fracta::runtime::Mode::Batch) => choice("batch", "one process for each turn"),
            Some(fracta::runtime::Mode::Stream) => choice("stream", "one long-lived process"),
        },
        Field::Model if f.model.is_empty() => {
            let tier = TIERS[f.tier % TIERS.len()].map_or("default", |t| t.word());
            choice(tier, "arrows choose a tier, or type a model");
            return on.then(|| Position::new(values.x, values.y)).filter(|_| values.width > 0);
        }
        Field::Model => return entry(&f.model, "", on, model, values, buf),
        Field::Contract => return entry(&f.contract, "what the agent is to do", on, model, values, buf),
        Field::Base => return entry(&f.base, "as fracta.yaml says; or a branch", on, model, values, buf),
        Field::Backend => match BACKENDS[f.backend % BACKENDS.len()] {
            None => choice("default", "as fracta.yaml says"),
            Some("local") => choice("local", "a process on this machine"),
            Some(other) => choice(other, "a pod in the cluster"),
        },
        Field::Start => {
            put_at(buf, values, 0, 0, " Start ", if on { t.selection } else { t.dim });
        }
    }
    None
}

fn entry(
    text: &ratatui_textarea::TextArea<'static>,
    hint: &str,
    on: bool,
    model: &Model,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    if text.is_empty() {
        put_at(buf, area, 0, 0, hint, model.theme.dim);
        return on.then(|| Position::new(area.x, area.y)).filter(|_| area.width > 0);
    }
    let cursor = text_area(text, area, buf);
    if on { cursor } else { None }
}

/// The chosen runtime and what is worth knowing of it.
fn runtime(model: &Model, f: &Form) -> (String, String) {
    let Some(runtimes) = &model.runtimes else { return ("default".to_owned(), "asking…".to_owned()) };
    let Some(r) = f.chosen(runtimes) else { return ("default".to_owned(), String::new()) };
    let open = f.runtime == 0;
    let name = if open { "default".to_owned() } else { r.name.clone() };
    let mut facts = if open { vec![r.name.clone()] } else { vec![] };
    if r.path.is_none() {
        facts.push(format!("not installed: {}", r.install));
        return (name, facts.join("  "));
    }
    facts.extend(r.version.clone());
    if let Some(c) = &r.capabilities {
        let steer = if c.steer.is_ok() { "steers" } else { "no steering: messages are queued" };
        facts.push(steer.to_owned());
        facts.extend((!c.approvals).then(|| "no approvals".to_owned()));
    }
    facts.extend((!r.warnings.is_empty()).then(|| format!("! {}", r.warnings.join("; "))));
    (name, facts.join(" · "))
}
