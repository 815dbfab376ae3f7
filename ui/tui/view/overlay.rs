//! What lies over the body of the screen.

use fracta::control::wire::Runtime;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::line::{fit, put, put_at, put_right, wrap};
use super::{help, inbox, spawn};
use crate::tui::model::Model;
use crate::tui::overlay::{Confirm, Overlay, Pager};
use crate::tui::theme::Theme;

/// The area inside an overlay: below its title.
fn inside(body: Rect) -> Rect {
    let side = if body.width > 20 { 2 } else { 0 };
    let top = if body.height > 3 { 2 } else { u16::from(body.height > 1) };
    Rect::new(
        body.x + side,
        body.y + top,
        body.width.saturating_sub(2 * side),
        body.height.saturating_sub(top),
    )
}

/// Brings scroll positions back into what there is.
pub fn layout(model: &mut Model, body: Rect) {
    let area = inside(body);
    let rows = usize::from(area.height);
    inbox::layout(model, area.width, area.height);
    let total = match &model.overlay {
        Some(Overlay::Help(_)) => help::length(model),
        Some(Overlay::Runtimes(_)) => runtime_lines(model, area.width).len(),
        Some(Overlay::Diff(p)) => p.diff.as_ref().map_or(0, |d| d.ranges.len()),
        _ => return,
    };
    let most = total.saturating_sub(rows);
    match &mut model.overlay {
        Some(Overlay::Help(top) | Overlay::Runtimes(top)) => *top = (*top).min(most),
        Some(Overlay::Diff(p)) => p.top = p.top.min(most),
        _ => {}
    }
}

pub fn draw(model: &Model, body: Rect, buf: &mut Buffer) -> Option<Position> {
    let overlay = model.overlay.as_ref()?;
    if let Overlay::Confirm(c) = overlay {
        confirm(model, c, body, buf);
        return None;
    }
    clear(body, buf);
    let area = inside(body);
    let title = Rect { x: area.x, width: area.width, height: u16::from(area.y > body.y), ..body };
    let t = &model.theme;
    match overlay {
        Overlay::Help(top) => {
            heading(title, "keys and commands", "esc closes", t, buf);
            help::draw(model, *top, area, buf);
            None
        }
        Overlay::Runtimes(top) => {
            heading(title, "runtimes", "esc closes", t, buf);
            for (y, (text, style)) in
                (0..area.height).zip(runtime_lines(model, area.width).into_iter().skip(*top))
            {
                put_at(buf, area, 0, y, &text, style);
            }
            None
        }
        Overlay::Inbox(i) => {
            let n = model.list.requests();
            let title_text = if n == 1 { "1 request waits".to_owned() } else { format!("{n} requests wait") };
            heading(title, &title_text, &inbox::hint(model), t, buf);
            inbox::draw(model, i, area, buf);
            None
        }
        Overlay::Diff(p) => {
            diff(model, p, title, area, buf);
            None
        }
        Overlay::Spawn(f) => {
            heading(title, "spawn an agent", "tab next · ctrl-s start · esc cancel", t, buf);
            spawn::draw(model, f, area, buf)
        }
        Overlay::Confirm(_) => None,
    }
}

fn clear(area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    for y in area.y..area.bottom() {
        for x in area.x..area.right() {
            buf[(x, y)].reset();
        }
    }
}

fn heading(area: Rect, title: &str, hint: &str, t: &Theme, buf: &mut Buffer) {
    let x = put(buf, area, 0, title, t.heading);
    if usize::from(area.width) > usize::from(x) + super::width(hint) + 2 {
        put_right(buf, area, 0, hint, t.dim);
    }
}

/// A question over the lower rows of the body.
fn confirm(model: &Model, what: &Confirm, body: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let (text, style) = match what {
        Confirm::Abort { name } => (format!("End the running turn of {name}? The session goes on."), t.warn),
        Confirm::Kill { name, force: false } => (
            format!(
                "Kill {name}? Its turn ends; workspace and branch go. Refused where work would be lost. Its journal stays."
            ),
            t.error,
        ),
        Confirm::Kill { name, force: true } => (
            format!(
                "Kill {name} and lose its unmerged work? Workspace and branch go for good. Its journal stays."
            ),
            t.error,
        ),
        Confirm::Merge { name } => {
            (format!("Merge the work of {name} into the branch checked out at the project's root?"), t.strong)
        }
    };
    let rows = wrap(&text, usize::from(body.width.saturating_sub(4)).max(1));
    let need = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(3);
    let height = need.min(body.height);
    let area = Rect { y: body.bottom() - height, height, ..body };
    clear(area, buf);
    buf.set_stringn(
        area.x,
        area.y,
        "─".repeat(usize::from(area.width)),
        usize::from(area.width),
        t.border_focused,
    );
    // The answer line stays in sight on the smallest screens.
    let last = height.saturating_sub(1);
    for (y, row) in (1..last).zip(&rows) {
        put_at(buf, area, 2, y, row, style);
    }
    let x = put_at(buf, area, 2, last, "y", t.accent);
    put_at(buf, area, x, last, " yes   any other key: no", t.dim);
}

fn diff(model: &Model, p: &Pager, title: Rect, area: Rect, buf: &mut Buffer) {
    let t = &model.theme;
    let Some(d) = &p.diff else {
        heading(title, &format!("diff of {}", p.name), "", t, buf);
        put(buf, area, 0, "reading…", t.dim);
        return;
    };
    let at =
        format!("{}/{}  esc closes", (p.top + usize::from(area.height)).min(d.ranges.len()), d.ranges.len());
    heading(title, &format!("diff of {} against {}", p.name, d.base), &at, t, buf);
    let sum = Rect { y: title.y + 1, ..title };
    if title.height > 0 && sum.y < area.y {
        let files = if d.files == 1 { "1 file".to_owned() } else { format!("{} files", d.files) };
        let x = put(buf, sum, 0, &files, t.dim) + 2;
        let x = put(buf, sum, x, &format!("+{}", d.added), t.added) + 1;
        let x = put(buf, sum, x, &format!("-{}", d.removed), t.removed) + 2;
        if d.truncated {
            put(buf, sum, x, "cut at the limit; the workspace has it all", t.warn);
        }
    }
    if d.ranges.is_empty() {
        put(buf, area, 0, "no changes", t.dim);
    }
    for y in 0..area.height {
        let n = p.top + usize::from(y);
        let Some(line) = d.line(n) else { break };
        let style = line_style(t, line);
        // Only what can be seen is measured, so that one enormous line costs no more than any.
        let text: String = line.chars().take(p.left + usize::from(area.width) * 2).collect();
        let text = fracta::text::block(&text);
        let rest: String = text.chars().skip(p.left).collect();
        put_at(buf, area, 0, y, &rest, style);
    }
}

/// The style of a line of a unified diff.
fn line_style(t: &Theme, line: &str) -> Style {
    if line.starts_with("diff ") || line.starts_with("+++ ") || line.starts_with("--- ") {
        t.strong
    } else if line.starts_with("@@") {
        t.hunk
    } else if line.starts_with('+') {
        t.added
    } else if line.starts_with('-') {
        t.removed
    } else if line.starts_with(' ') {
        t.text
    } else {
        t.dim
    }
}

fn runtime_lines(model: &Model, columns: u16) -> Vec<(String, Style)> {
    let t = &model.theme;
    let Some(runtimes) = &model.runtimes else {
        return vec![("asking…".to_owned(), t.dim)];
    };
    let mut out = Vec::new();
    for r in runtimes {
        runtime(r, t, usize::from(columns), &mut out);
        out.push((String::new(), t.text));
    }
    if runtimes.is_empty() {
        out.push(("no runtime is configured (agents.agent_runtimes in fracta.yaml)".to_owned(), t.warn));
    }
    out
}

fn runtime(r: &Runtime, t: &Theme, columns: usize, out: &mut Vec<(String, Style)>) {
    let default = if r.default { "  (default)" } else { "" };
    let version = r.version.as_deref().unwrap_or("version not known");
    match &r.path {
        Some(path) => {
            out.push((format!("{}{default}  {version}", r.name), t.strong));
            out.push((fit(&format!("  {}  {path}", r.adapter), columns), t.dim));
        }
        None => {
            out.push((format!("{}{default}  not installed", r.name), t.error));
            out.push((fit(&format!("  install: {}", r.install), columns), t.text));
        }
    }
    if let Some(model) = &r.model {
        out.push((fit(&format!("  model {model}"), columns), t.text));
    }
    let tiers: Vec<String> = r.model_tiers.iter().map(|(k, v)| format!("{k} {v}")).collect();
    if !tiers.is_empty() {
        out.push((fit(&format!("  tiers {}", tiers.join(", ")), columns), t.text));
    }
    let permissions: Vec<String> = r.permissions.iter().map(|(m, p)| format!("{m} {}", p.word())).collect();
    let login =
        r.auth_profile.as_deref().map_or("the CLI's own login".to_owned(), |p| format!("profile {p}"));
    out.push((
        fit(&format!("  permissions {}  ·  credentials {login}", permissions.join(", ")), columns),
        t.text,
    ));
    match &r.capabilities {
        None => out.push((format!("  this build has no adapter {:?}", r.adapter), t.error)),
        Some(c) => {
            let word = |on: bool, w: &str| format!("{} {w}", if on { "✓" } else { "✗" });
            let list = [
                word(c.batch, "batch"),
                word(c.stream, "stream"),
                word(c.steer.is_ok(), "steer"),
                word(c.approvals, "approvals"),
                word(c.interrupt, "interrupt"),
                word(c.resume, "resume"),
                word(c.mcp, "mcp"),
            ];
            out.push((fit(&format!("  {}", list.join("  ")), columns), t.text));
            if let Err(why) = &c.steer {
                for row in wrap(&format!("no steer: {why}"), columns.saturating_sub(2)) {
                    out.push((format!("  {row}"), t.dim));
                }
            }
        }
    }
    for w in &r.warnings {
        for row in wrap(w, columns.saturating_sub(2)) {
            out.push((format!("  {row}"), t.warn));
        }
    }
}
