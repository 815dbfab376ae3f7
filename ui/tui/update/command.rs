//! The `:` commands.

use fracta::control::wire::{Spawn, Tier};
use fracta::event::Decision;
use fracta::runtime::Mode;

use super::actions;
use crate::tui::keymap::Action;
use crate::tui::model::{Level, Model};
use crate::tui::msg::Effect;
use crate::tui::overlay::Confirm;
use crate::tui::theme::Theme;

/// Name, arguments, what it does: for completion and the `?` page.
pub const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "spawn",
        "NAME [--runtime R] [--mode M] [--tier T] [--model M] [--base B] [--backend B] [TEXT]",
        "a new agent",
    ),
    ("say", "TEXT", "a message to the selected agent"),
    ("steer", "TEXT", "into its running turn"),
    ("approve", "[ID]", "approve a pending request"),
    ("deny", "[ID]", "deny it"),
    ("approvals", "", "every request that waits, of all agents"),
    ("abort", "[NAME]", "end the running turn"),
    ("kill", "[NAME]", "remove the agent; refused where work would be lost"),
    ("kill!", "[NAME]", "remove it and the work not merged"),
    ("diff", "[NAME]", "its work against its base"),
    ("merge", "[NAME]", "merge its work into the branch checked out"),
    ("runtimes", "", "runtimes and what each can do"),
    ("theme", "NAME", "default or mono"),
    ("help", "", "the keys"),
    ("q", "", "leave; the agents go on"),
];

/// Carries a command line out; what is wrong with it is said.
pub fn run(model: &mut Model, line: &str) -> Vec<Effect> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(a, b)| (a, b.trim()));
    let arg = (!rest.is_empty()).then_some(rest);
    match name {
        "" => vec![],
        "q" | "quit" => vec![Effect::Quit],
        "help" => actions::action(model, Action::Help),
        "approvals" => actions::action(model, Action::Inbox),
        "runtimes" => actions::action(model, Action::Runtimes),
        "say" | "steer" => speak(model, rest, name == "steer"),
        "approve" => answer(model, arg, Decision::Approved),
        "deny" => answer(model, arg, Decision::Denied),
        "abort" => actions::abort(model, arg),
        "kill" => actions::confirm(model, arg, |name| Confirm::Kill { name, force: false }),
        "kill!" => actions::confirm(model, arg, |name| Confirm::Kill { name, force: true }),
        "merge" => actions::confirm(model, arg, |name| Confirm::Merge { name }),
        "diff" => actions::diff(model, arg),
        "theme" => theme(model, rest),
        "spawn" if rest.is_empty() => actions::action(model, Action::Spawn),
        "spawn" => match parse_spawn(rest) {
            Ok(s) => {
                model.note(Level::Info, format!("{}: starting…", s.name));
                vec![Effect::Spawn(Box::new(s))]
            }
            Err(e) => wrong(model, e),
        },
        other => {
            let near = COMMANDS
                .iter()
                .map(|c| c.0)
                .filter(|c| strsim::damerau_levenshtein(c, other) <= 2)
                .min_by_key(|c| strsim::damerau_levenshtein(c, other));
            let hint = near.map_or_else(|| "`?` lists them".to_owned(), |n| format!("did you mean :{n}?"));
            wrong(model, format!("there is no command :{other}; {hint}"))
        }
    }
}

fn wrong(model: &mut Model, text: String) -> Vec<Effect> {
    model.note(Level::Bad, text);
    vec![]
}

fn speak(model: &mut Model, text: &str, steer: bool) -> Vec<Effect> {
    if text.is_empty() {
        return wrong(model, format!("usage: :{} TEXT", if steer { "steer" } else { "say" }));
    }
    let Some(agent) = actions::target(model, None) else { return vec![] };
    if steer && let Some(Err(why)) = model.steers(&agent.runtime) {
        return wrong(model, format!("{}: cannot be steered: {why}", agent.name));
    }
    actions::say(model, &agent, text.to_owned(), steer)
}

fn answer(model: &mut Model, id: Option<&str>, decision: Decision) -> Vec<Effect> {
    let Some(agent) = actions::target(model, None) else { return vec![] };
    if id.is_none() && agent.pending_approvals.len() > 1 {
        let ids: Vec<&str> = agent.pending_approvals.iter().map(|p| p.id.as_str()).collect();
        return wrong(model, format!("{}: several requests wait; say which: {}", agent.name, ids.join(", ")));
    }
    let id = id.map(str::to_owned).or_else(|| agent.pending_approvals.first().map(|p| p.id.clone()));
    actions::answer_id(model, &agent, id, decision)
}

fn theme(model: &mut Model, name: &str) -> Vec<Effect> {
    let Some(theme) = Theme::named(name) else {
        return wrong(model, format!("there is no theme {name:?}; themes: {}", Theme::NAMES.join(", ")));
    };
    if model.no_color && name != "mono" {
        return wrong(model, "colours are off here (NO_COLOR, TERM or ui.theme)".to_owned());
    }
    model.theme = theme;
    for s in &mut model.sessions {
        s.transcript.set_theme(&theme);
    }
    vec![]
}

/// Reads `NAME [--option VALUE]… [TEXT]`.
fn parse_spawn(line: &str) -> Result<Spawn, String> {
    let mut s = Spawn {
        name: String::new(),
        runtime: None,
        mode: None,
        tier: None,
        model: None,
        contract: None,
        base: None,
        backend: None,
        dry_run: false,
    };
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if let Some(option) = word.strip_prefix("--") {
            let tail = tail.trim_start();
            let (value, after) = tail.split_once(char::is_whitespace).unwrap_or((tail, ""));
            if value.is_empty() {
                return Err(format!("--{option} needs a value"));
            }
            set(&mut s, option, value)?;
            rest = after;
        } else if s.name.is_empty() && !word.is_empty() {
            s.name = word.parse::<fracta::id::AgentName>().map_err(|e| e.to_string())?.to_string();
            rest = tail;
        } else {
            break;
        }
    }
    if s.name.is_empty() {
        return Err("usage: :spawn NAME [--runtime R] … [TEXT]".to_owned());
    }
    let text = rest.trim();
    s.contract = (!text.is_empty()).then(|| text.to_owned());
    Ok(s)
}

fn set(s: &mut Spawn, option: &str, value: &str) -> Result<(), String> {
    let v = Some(value.to_owned());
    match option {
        "runtime" => s.runtime = v,
        "model" => s.model = v,
        "base" => s.base = v,
        "backend" => s.backend = v,
        "mode" => {
            s.mode = Some(match value {
                "batch" => Mode::Batch,
                "stream" => Mode::Stream,
                _ => return Err(format!("--mode {value}: use batch or stream")),
            });
        }
        "tier" => {
            s.tier = Some(match value {
                "heavy" => Tier::Heavy,
                "medium" => Tier::Medium,
                "light" => Tier::Light,
                _ => return Err(format!("--tier {value}: use heavy, medium or light")),
            });
        }
        _ => {
            return Err(format!(
                "there is no --{option}; use --runtime, --mode, --tier, --model, --base, --backend"
            ));
        }
    }
    Ok(())
}

/// The command that a beginning can only mean, for tab.
pub fn complete<'a>(model: &'a Model, head: &str) -> Option<String> {
    let (verb, arg) = head.split_once(' ').map_or((head, None), |(a, b)| (a, Some(b)));
    let only = |mut found: Vec<&'a str>| {
        found.sort_unstable();
        found.dedup();
        let first = *found.first()?;
        let last = *found.last()?;
        let common = first.char_indices().zip(last.chars()).take_while(|((_, a), b)| a == b);
        Some(first[..common.map(|((i, c), _)| i + c.len_utf8()).last().unwrap_or(0)].to_owned())
    };
    match arg {
        None => only(COMMANDS.iter().map(|c| c.0).filter(|c| c.starts_with(verb)).collect()),
        Some(a) if matches!(verb, "abort" | "kill" | "kill!" | "diff" | "merge") => {
            let name = only(model.list.names().filter(|n| n.starts_with(a)).collect())?;
            Some(format!("{verb} {name}"))
        }
        Some(a) if verb == "theme" => {
            only(Theme::NAMES.iter().copied().filter(|n| n.starts_with(a)).collect())
                .map(|n| format!("theme {n}"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spawn_lines() {
        let s = parse_spawn("fix --runtime codex --mode stream --tier heavy mend the  login").unwrap();
        assert_eq!((s.name.as_str(), s.runtime.as_deref()), ("fix", Some("codex")));
        assert_eq!((s.mode, s.tier), (Some(Mode::Stream), Some(Tier::Heavy)));
        assert_eq!(s.contract.as_deref(), Some("mend the  login"));
        for (bad, says) in [
            ("--mode", "needs a value"),
            ("x --mode fast", "batch or stream"),
            ("x --nope 1", "--nope"),
            ("Bad_Name", "bad-name"),
            ("--mode batch", "usage"),
        ] {
            let e = parse_spawn(bad).unwrap_err();
            assert!(e.contains(says), "{bad}: {e}");
        }
    }
}
