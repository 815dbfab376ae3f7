//! Makes the picture of the README: opens `fracta demo` in a pseudo-terminal, presses a few keys, and
//! writes what the terminal shows as SVG.
//!
//!     cargo build && cargo run --example picture -- assets/screen.svg

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use vt100::Color;

const COLUMNS: u16 = 120;
const ROWS: u16 = 34;
/// Size of a cell and of its letters, in pixels.
const CELL: (f64, f64) = (8.4, 18.0);
const LETTERS: f64 = 14.0;
const MARGIN: f64 = 14.0;
const PAPER: &str = "#14161b";
const INK: &str = "#d8dee9";

/// What must stand on the screen, and the keys pressed then.
type Step = (fn(&str) -> bool, &'static str);

const STEPS: &[Step] = &[
    // Somebody is through, somebody failed, somebody asks, and the others are in the middle of it.
    (
        |t| {
            let row = |a: &str, b: &str| t.lines().any(|l| l.contains(a) && l.contains(b));
            row("nightly", "failed")
                && (row("survey", "running") || row("survey", "completed"))
                && row("summary", "running")
                && t.contains("/20")
                && row("explain", "running")
                && row("release", "approval")
        },
        // The request stands first.
        "g",
    ),
    (|t| t.contains("a approve  x deny") && t.contains("waits for you"), ""),
];

fn main() -> Result<()> {
    let out = std::env::args().nth(1).map(PathBuf::from).context("usage: picture FILE.svg")?;
    let svg = draw(&shoot()?);
    std::fs::write(&out, &svg)?;
    if svg.len() > 80_000 {
        bail!("{} has {} bytes; a README's picture should have fewer than 80000", out.display(), svg.len());
    }
    Ok(())
}

/// Runs the demo until all steps are done; the screen then.
fn shoot() -> Result<vt100::Screen> {
    let here = std::env::current_exe()?;
    let fracta =
        here.parent().and_then(|d| d.parent()).map(|d| d.join("fracta")).context("no target folder")?;
    let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size)?;
    let mut command = CommandBuilder::new(fracta);
    command.arg("demo");
    command.cwd(std::env::current_dir()?);
    command.env("TERM", "xterm-256color");
    command.env_remove("NO_COLOR");
    let mut reader = pair.master.try_clone_reader()?;
    let mut writer = pair.master.take_writer()?;
    let mut child = pair.slave.spawn_command(command)?;
    drop(pair.slave);
    let cells = |n: u16| n.try_into().context("an empty terminal");
    let mut terminal = vt100::Parser::new(cells(ROWS)?, cells(COLUMNS)?, 0);
    let mut steps = STEPS.iter().peekable();
    let mut shot = None;
    let mut buf = [0; 16 << 10];
    loop {
        let n = reader.read(&mut buf).unwrap_or(0);
        if n == 0 {
            break;
        }
        terminal.process(&buf[..n]);
        // Only whole frames.
        if shot.is_some() || !buf[..n].ends_with(b"\x1b[?2026l") {
            continue;
        }
        let text = terminal.screen().contents();
        if let Some((_, keys)) = steps.next_if(|(fits, _)| fits(&text)) {
            writer.write_all(keys.as_bytes())?;
        }
        if steps.peek().is_none() {
            shot = Some(terminal.screen().clone());
            writer.write_all(b"q")?;
        }
    }
    child.wait()?;
    shot.context("the demo ended before it looked as wanted")
}

/// How a run of cells looks.
#[derive(PartialEq, Clone)]
struct Look {
    ink: String,
    paper: Option<String>,
    bold: bool,
    italic: bool,
    underline: bool,
}

fn look(cell: &vt100::Cell) -> Look {
    let (mut ink, mut paper) = (colour(cell.fgcolor()), colour(cell.bgcolor()));
    if cell.inverse() {
        (ink, paper) = (Some(paper.unwrap_or_else(|| PAPER.into())), Some(ink.unwrap_or_else(|| INK.into())));
    }
    let ink = match ink {
        None if cell.dim() => "#8a93a3".to_owned(),
        None => INK.to_owned(),
        Some(c) => c,
    };
    Look { ink, paper, bold: cell.bold(), italic: cell.italic(), underline: cell.underline() }
}

fn colour(c: Color) -> Option<String> {
    const BASE: [&str; 16] = [
        "#2b303b", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4", "#7f8896",
        "#ef7f88", "#a9d48a", "#f0cf8f", "#7fc1f7", "#d592ea", "#70cbd6", "#ffffff",
    ];
    let (r, g, b) = match c {
        Color::Default => return None,
        Color::Idx(i @ 0..=15) => return Some(BASE[usize::from(i)].to_owned()),
        Color::Idx(i @ 16..=231) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let i = i - 16;
            (level(i / 36), level(i / 6 % 6), level(i % 6))
        }
        Color::Idx(i) => (8 + 10 * (i - 232), 8 + 10 * (i - 232), 8 + 10 * (i - 232)),
        Color::Rgb(r, g, b) => (r, g, b),
    };
    Some(format!("#{r:02x}{g:02x}{b:02x}"))
}

fn draw(screen: &vt100::Screen) -> String {
    let (width, height) =
        (f64::from(COLUMNS) * CELL.0 + 2.0 * MARGIN, f64::from(ROWS) * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"{LETTERS}\">\n\
         <title>fracta demo: five agents of Codex, Claude and OpenCode, one of them waits for an approval</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n"
    );
    for y in 0..ROWS {
        row(screen, y, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The cells of a row: column, letter, look; the demo's temporary folder has a neutral name.
fn cells(screen: &vt100::Screen, y: u16) -> Vec<(u16, String, Look)> {
    let mut all: Vec<(u16, String, Look)> = Vec::new();
    for x in 0..COLUMNS {
        let Some(cell) = screen.cell(y, x).filter(|c| !c.is_wide_continuation()) else { continue };
        let text = if cell.has_contents() { cell.contents().to_owned() } else { " ".to_owned() };
        all.push((x, text, look(cell)));
    }
    let letters: Vec<char> = all.iter().map(|(_, t, _)| t.chars().next().unwrap_or(' ')).collect();
    let name: Vec<char> = "/fracta-demo-".chars().collect();
    if let Some(at) = letters.windows(name.len()).position(|w| w == name) {
        let begin = (0..at).rev().take_while(|i| !letters[*i].is_whitespace()).last().unwrap_or(at);
        let inside = |stop: fn(&char) -> bool, from: usize| {
            letters[from..].iter().position(stop).map_or(letters.len(), |n| from + n)
        };
        let folder = inside(|c| *c == '/' || c.is_whitespace(), at + name.len());
        let end = inside(|c| c.is_whitespace(), folder);
        let rest: String = letters[folder..end].iter().collect();
        let (name, width) = (format!("~/demo{rest}"), end - begin);
        // The title stands at the right edge.
        let neutral = if y == 0 { format!("{name:>width$}") } else { format!("{name:width$}") };
        for (i, c) in (begin..end).zip(neutral.chars()) {
            all[i].1 = c.to_string();
        }
    }
    all
}

fn row(screen: &vt100::Screen, y: u16, svg: &mut String) {
    let all = cells(screen, y);
    let top = MARGIN + f64::from(y) * CELL.1;
    let mut at = 0;
    while at < all.len() {
        let look = all[at].2.clone();
        let end = all[at..].iter().position(|c| c.2 != look).map_or(all.len(), |n| at + n);
        let (from, to) = (all[at].0, all.get(end).map_or(COLUMNS, |c| c.0));
        let left = MARGIN + f64::from(from) * CELL.0;
        if let Some(paper) = &look.paper {
            let w = f64::from(to - from) * CELL.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{}\" fill=\"{paper}\" shape-rendering=\"crispEdges\"/>",
                CELL.1
            );
        }
        run(&all[at..end], &look, top, svg);
        at = end;
    }
}

/// The letters of a run, cut at wide gaps; lines and blocks are drawn, so that they join.
fn run(cells: &[(u16, String, Look)], look: &Look, top: f64, svg: &mut String) {
    let mut word = String::new();
    let (mut first, mut next) = (0, 0);
    let mut flush = |word: &mut String, first: u16, next: u16| {
        let text = word.trim_end();
        if !text.is_empty() {
            let n = next - first - u16::try_from(word.len() - text.len()).unwrap_or(0);
            text_at(text, first, n, look, top, svg);
        }
        word.clear();
    };
    let mut shapes = Vec::new();
    for (x, text, _) in cells {
        let shape = matches!(text.as_str(), "│" | "─" | "▌");
        let gap = text == " " && (word.is_empty() || word.ends_with(' '));
        if shape || gap {
            flush(&mut word, first, next);
            if shape {
                shapes.push((*x, text.as_str()));
            }
            continue;
        }
        if word.is_empty() {
            first = *x;
        }
        word.push_str(text);
        next = x + 1;
    }
    flush(&mut word, first, next);
    for (x, shape) in shapes {
        let left = MARGIN + f64::from(x) * CELL.0;
        let (dx, dy, w, h) = match shape {
            "│" => (CELL.0 / 2.0 - 0.5, 0.0, 1.0, CELL.1),
            "─" => (0.0, CELL.1 / 2.0 - 0.5, CELL.0, 1.0),
            _ => (0.0, 0.0, CELL.0 / 2.0, CELL.1),
        };
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{}\"/>",
            left + dx,
            top + dy,
            look.ink
        );
    }
}

fn text_at(text: &str, column: u16, columns: u16, look: &Look, top: f64, svg: &mut String) {
    let clean = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (x, y) = (MARGIN + f64::from(column) * CELL.0, top + CELL.1 - 5.0);
    let mut style = format!("fill=\"{}\"", look.ink);
    for (on, attribute) in [
        (look.bold, " font-weight=\"bold\""),
        (look.italic, " font-style=\"italic\""),
        (look.underline, " text-decoration=\"underline\""),
    ] {
        if on {
            style.push_str(attribute);
        }
    }
    // Whatever the font: as wide as its cells.
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" {style}>{clean}</text>",
        f64::from(columns) * CELL.0
    );
}
