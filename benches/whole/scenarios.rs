//! What is measured.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::clock;
use crate::figures::{Report, Times};
use crate::proc::{self, Memory, Used};
use crate::project::{PATIENCE, Project};
use crate::screen::Screen;

pub struct Plan {
    pub exe: PathBuf,
    /// Fewer runs and shorter ones, to see that it works.
    pub quick: bool,
}

impl Plan {
    pub fn times(&self, n: usize) -> usize {
        if self.quick { n.div_ceil(5) } else { n }
    }

    fn seconds(&self, n: u64) -> Duration {
        Duration::from_secs(if self.quick { n.div_ceil(5) } else { n })
    }

    fn project(&self, agents: usize) -> Project {
        Project::new(self.exe.clone(), agents)
    }

    fn screen(&self, project: &Project) -> Screen {
        let mut screen = Screen::start(&self.exe, &project.root());
        screen.until(PATIENCE, listed).expect("the list comes up");
        screen.settle(Duration::from_millis(500));
        screen
    }
}

type Scenario = fn(&Plan, &mut Report);

pub const ALL: &[(&str, Scenario)] = &[
    ("start_cold", start_cold),
    ("start_warm", start_warm),
    ("key_quiet", key_quiet),
    ("idle", idle),
    ("loaded", loaded),
    ("rss", rss),
    ("spawn", crate::spawn::spawn),
    ("flood", flood),
];

/// Where the session's pane begins.
const SESSION: u16 = 47;

fn listed(text: &str) -> bool {
    text.contains(" agent")
}

/// Starts the screen so often; times of the first frame and of the first frame with the list.
fn starts(plan: &Plan, project: &Project, n: usize, between: impl Fn(&Project)) -> (Times, Times) {
    let (mut first, mut list) = (Times::default(), Times::default());
    for _ in 0..n {
        between(project);
        let mut screen = Screen::start(&plan.exe, &project.root());
        let started = screen.started;
        let Some(frame) = screen.frame(started + PATIENCE) else { continue };
        first.add(frame.first - started);
        let shown = if listed(&screen.text()) { Some(frame) } else { screen.until(PATIENCE, listed) };
        if let Some(frame) = shown {
            list.add(frame.first - started);
        }
        screen.settle(Duration::from_millis(100));
        screen.quit();
    }
    (first, list)
}

fn start_cold(plan: &Plan, report: &mut Report) {
    for agents in [0, 10] {
        let project = plan.project(agents);
        let (first, list) = starts(plan, &project, plan.times(25), |p| p.stop(false));
        report.row(&format!("start cold, {agents} agents: first frame"), first.text(), "≤ 150 ms");
        report.row(&format!("start cold, {agents} agents: frame with the list"), list.text(), "≤ 150 ms");
    }
}

fn start_warm(plan: &Plan, report: &mut Report) {
    let project = plan.project(10);
    let (first, list) = starts(plan, &project, plan.times(40), |_| {});
    report.row("start, server running: first frame", first.text(), "≤ 12 ms");
    report.row("start, server running: frame with the list", list.text(), "≤ 12 ms");
}

/// From a key that moves the selection to the first byte of the frame that shows it.
fn key(screen: &mut Screen, key: &str) -> Option<Duration> {
    let before = screen.selected()?;
    let pressed = screen.key(key);
    let until = pressed + Duration::from_secs(5);
    loop {
        let frame = screen.frame(until)?;
        if screen.selected().is_some_and(|row| row != before) {
            return Some(frame.first.saturating_duration_since(pressed));
        }
    }
}

fn key_quiet(plan: &Plan, report: &mut Report) {
    let project = plan.project(10);
    let mut screen = plan.screen(&project);
    let mut times = Times::default();
    for i in 0..plan.times(100) {
        screen.settle(Duration::from_millis(150));
        if let Some(t) = key(&mut screen, if i % 2 == 0 { "j" } else { "k" }) {
            times.add(t);
        }
    }
    report.row("key to its frame, quiet", times.text(), "median ≤ 2 ms");
    screen.quit();
}

fn idle(plan: &Plan, report: &mut Report) {
    let project = plan.project(10);
    project.say("rate=100 ms=2000");
    project.idle();
    let mut screen = plan.screen(&project);
    screen.settle(Duration::from_secs(2));
    let server = project.server();
    let shims = proc::children(server);
    let pid = screen.pid();
    let all = || {
        let shims = shims.iter().map(|p| proc::used(*p)).fold(Used::default(), std::ops::Add::add);
        [proc::used(server), proc::used(pid), shims]
    };
    let time = plan.seconds(20);
    let (begun, bytes) = (all(), screen.bytes);
    let until = Instant::now() + time;
    let mut frames = 0;
    while screen.frame(until).is_some() {
        frames += 1;
    }
    let ended = all();
    let seconds = time.as_secs_f64();
    report.row(
        "idle, 10 agents: bytes to the terminal",
        format!("{} in {frames} frames", screen.bytes - bytes),
        "0",
    );
    let cpu = |i: usize| 100.0 * (ended[i] - begun[i]).cpu / seconds;
    report.row(
        "idle, 10 agents: CPU of a core",
        format!("server {:.3} %  screen {:.3} %  shims {:.3} %", cpu(0), cpu(1), cpu(2)),
        "< 0.2 % server and screen",
    );
    let sleeps = |i: usize| (ended[i] - begun[i]).sleeps as f64 / seconds;
    report.row(
        "idle, 10 agents: wakeups a second",
        format!("server {:.2}  screen {:.2}  shims {:.2}", sleeps(0), sleeps(1), sleeps(2)),
        "",
    );
    screen.quit();
}

/// The newest stamps on the screen, in the session's pane.
fn stamps(screen: &Screen, after: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for row in screen.pane(SESSION) {
        for word in row.split_whitespace() {
            if let Some(n) = word.strip_prefix('t').filter(|d| d.len() == 19).and_then(|d| d.parse().ok())
                && n > after
            {
                found.push(n);
            }
        }
    }
    found
}

fn loaded(plan: &Plan, report: &mut Report) {
    let project = plan.project(50);
    let mut screen = plan.screen(&project);
    let (time, keys) = (plan.seconds(30), plan.times(150));
    let patience = time + Duration::from_secs(keys as u64 / 5 + 10);
    project.say(&format!("rate=100 ms={} stamp", patience.as_millis()));
    let server = project.server();
    let pids = [server, screen.pid()];
    let first = clock() + 1_000_000_000;
    let end = Instant::now() + Duration::from_secs(1);
    while screen.frame(end).is_some() {}
    let begun = (pids.map(proc::used), project.events(), Instant::now(), screen.bytes);
    let (mut times, mut last, mut frames) = (Times::default(), first, 0);
    let end = Instant::now() + time;
    while let Some(frame) = screen.frame(end) {
        frames += 1;
        for stamp in stamps(&screen, last) {
            times.of_nanos(frame.whole.saturating_sub(stamp));
            last = last.max(stamp);
        }
    }
    let used = [0, 1].map(|i| proc::used(pids[i]) - begun.0[i]);
    let (events, seconds) = ((project.events() - begun.1) as f64, begun.2.elapsed().as_secs_f64());
    report.row("byte to painted frame, 50 × 100/s", times.text(), "p99 ≤ 40 ms");
    let mut times = Times::default();
    for i in 0..keys {
        let until = Instant::now() + Duration::from_millis(97 + (i as u64 * 13) % 60);
        while screen.frame(until).is_some() {}
        if let Some(t) = key(&mut screen, if i % 2 == 0 { "j" } else { "k" }) {
            times.add(t);
        }
    }
    report.row("key to its frame, 50 × 100/s", times.text(), "p99 ≤ 16 ms");
    report.row(
        "50 × 100/s: events, frames, bytes, CPU",
        format!(
            "{:.0}/s  {:.1} frames/s  {:.1} B/event  server {:.0} %  screen {:.0} %",
            events / seconds,
            f64::from(frames) / seconds,
            (screen.bytes - begun.3) as f64 / events,
            100.0 * used[0].cpu / seconds,
            100.0 * used[1].cpu / seconds
        ),
        "",
    );
    report.row("memory of the server, 50 agents at 100/s", memory(server), "");
    screen.quit();
}

fn memory(pid: u32) -> String {
    let Memory { rss, anon, pss } = proc::memory(pid);
    format!("RSS {rss:.1}  anonymous {anon:.1}  PSS {pss:.1} MiB")
}

fn rss(plan: &Plan, report: &mut Report) {
    let project = plan.project(10);
    let mut screen = plan.screen(&project);
    let time = plan.seconds(60);
    project.say(&format!("rate=100 ms={}", time.as_millis()));
    let end = Instant::now() + time;
    while screen.frame(end).is_some() {}
    project.idle();
    screen.settle(Duration::from_millis(500));
    let server = project.server();
    report.row("memory of the server, 10 agents", memory(server), "RSS ≤ 25 MB");
    let shims = proc::children(server);
    let worst = shims.iter().copied().max_by(|a, b| proc::memory(*a).rss.total_cmp(&proc::memory(*b).rss));
    let name = format!("memory of a shim (the largest of {})", shims.len());
    report.row(&name, memory(worst.unwrap_or_default()), "RSS ≤ 5 MB");
    report.row("memory of the screen", memory(screen.pid()), "RSS ≤ 20 MB");
    screen.quit();
}

fn flood(plan: &Plan, report: &mut Report) {
    let project = plan.project(1);
    let mut screen = plan.screen(&project);
    let server = project.server();
    let shim = proc::children(server);
    let n = if plan.quick { 40_000 } else { 400_000 };
    let pids: Vec<u32> = [server, screen.pid()].into_iter().chain(shim).collect();
    let begun: Vec<_> = pids.iter().map(|p| proc::used(*p)).collect();
    let (before, start) = (screen.bytes, Instant::now());
    project.say_one(0, &format!("flood={n}"));
    let mut frames = 0;
    // Done when the list says so: the event's row is behind the last of the events.
    let mut took = None;
    while took.is_none() && start.elapsed() < PATIENCE * 2 {
        while screen.frame(Instant::now() + Duration::from_millis(200)).is_some() {
            frames += 1;
        }
        if project.agents().iter().all(|a| a.last_seq >= n && a.turn.is_none()) {
            took = Some(start.elapsed());
        }
    }
    let seconds = took.unwrap_or_else(|| start.elapsed()).as_secs_f64();
    let used: Vec<_> = pids.iter().zip(&begun).map(|(p, b)| (proc::used(*p) - *b).cpu).collect();
    let micros = |i: usize| used.get(i).copied().unwrap_or(f64::NAN) * 1e6 / n as f64;
    report.row(
        "flood of one agent: to the journal and the screen",
        format!(
            "{:.0} events/s  {frames} frames  {:.2} B/event",
            n as f64 / seconds,
            (screen.bytes - before) as f64 / n as f64
        ),
        "",
    );
    report.row(
        "flood of one agent: CPU for an event",
        format!("server {:.2}  screen {:.2}  shim {:.2} µs", micros(0), micros(1), micros(2)),
        "",
    );
    screen.quit();
}
