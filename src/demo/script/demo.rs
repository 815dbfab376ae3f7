//! The script of `fracta demo`: it knows the demo's own contracts, and does a small piece of work for
//! anything else that a person types.

use std::time::Duration;

use super::prompt::{PromptScript, rest_of};
use super::prose;
use crate::demo::model::{PlanMark, Script, Step, Turn};

/// Long prose, streamed.
pub const EXPLAIN: &str =
    "Explain to a new colleague how the readings are parsed and why it is done this way.";
/// Several commands.
pub const SURVEY: &str = "Look around in the repository and say what is there and what is missing.";
/// A plan that is worked off.
pub const SUMMARY: &str = "Add a `--summary` flag that prints one line for each station. Work from a plan.";
/// Waits for an approval.
pub const RELEASE: &str = "Tag the release 0.2.0. Ask before you touch anything outside of the workspace.";
/// What the recording for any other prompt answers.
pub const ANYTHING: &str = "What is the state of the work?";
/// Fails.
pub const NIGHTLY: &str = "Compare today's readings with the archive on the build server.";

/// Characters of a streamed piece and the time between two: about the pace of a real model.
const PIECE: usize = 14;
const PACE: Duration = Duration::from_millis(35);

/// The pace of what is to be steered: pieces that make small recordings.
const SLOW_PIECE: usize = 24;
const SLOW: Duration = Duration::from_millis(120);

/// The demo's model. Directives in a prompt (see [`PromptScript`]) work here, too.
#[derive(Debug, Default)]
pub struct DemoScript {
    directives: PromptScript,
}

impl DemoScript {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Script for DemoScript {
    fn reply(&self, turn: &Turn) -> Vec<Step> {
        if turn.prompt.lines().any(|l| l.trim().starts_with("fracta:")) {
            return self.directives.reply(turn);
        }
        let said = |contract| turn.prompt.contains(contract);
        let steps = match () {
            () if said(EXPLAIN) => explain(),
            () if said(SURVEY) => survey(),
            () if said(SUMMARY) => summary(),
            () if said(RELEASE) => release(),
            () if said(NIGHTLY) => nightly(),
            () => anything(&turn.prompt),
        };
        rest_of(steps, turn)
    }
}

fn say(text: impl Into<String>) -> Step {
    Step::Text { text: text.into(), chunk: PIECE, delay: PACE }
}

fn run(command: &str) -> Step {
    Step::Shell { command: command.to_owned() }
}

/// Streams for more than a minute, so that there is something to steer and to end. In parts with
/// commands between them: a steered text is read when the next part is asked for.
fn explain() -> Vec<Step> {
    let say = |text: String| Step::Text { text, chunk: SLOW_PIECE, delay: SLOW };
    let mut steps = vec![
        Step::Reasoning { text: "**Reading the parser**\n\nStart with the data, then the code.".to_owned() },
        run("sed -n 1,40p src/lib.rs"),
        say("# How readings are parsed\n\nA reading is one line: `station;tenths`. \
             The whole of it is this:\n\n```rust\nlet (station, value) = line.split_once(';')?;\n```\n\n"
            .to_owned()),
    ];
    let parts = [
        ("The data", "head -3 data/readings.txt"),
        ("One line", "grep -n split_once src/parse.rs"),
        ("No floating point", "grep -n tenths src/*.rs"),
        ("What is wrong is named", "grep -n ParseError src/*.rs"),
        ("The command line", "sed -n 3,9p src/main.rs"),
        ("What is tested", "grep -n -A4 '#.test' src/parse.rs"),
    ];
    for (i, (title, command)) in parts.into_iter().enumerate() {
        steps.push(run(command));
        steps.push(say(format!("## {}. {title}\n\n{}\n\n", i + 1, prose::words_from(i, 330))));
    }
    steps.push(say(
        "## In short\n\n1. One line, one reading.\n2. No floating point.\n3. Errors name their line.\n"
            .to_owned(),
    ));
    steps
}

/// What is said between two commands, as slowly as a model that thinks: a person who opens the demo
/// finds its agents at work.
fn muse(text: &str) -> Step {
    Step::Text { text: text.to_owned(), chunk: 8, delay: Duration::from_millis(330) }
}

/// Some twenty seconds.
fn survey() -> Vec<Step> {
    vec![
        muse("I look at the history first: it says what the project wants to be.\n"),
        run("git log --oneline && git status --short"),
        muse("One commit, nothing open. Now the files, and how large they are.\n"),
        run("ls -R src data && wc -l src/*.rs"),
        muse("Small enough to read as a whole. What is public comes before what is not.\n"),
        run("grep -n '^pub' src/*.rs"),
        muse("One function and two types. The parser is where mistakes would cost most.\n"),
        run("sed -n 1,20p src/parse.rs"),
        muse("It names the line that is wrong. Is that tested, and is anything else?\n"),
        run("grep -n -A6 '#.test' src/*.rs"),
        muse("One test, of the error. The good case has none. Now the data.\n"),
        run("sort data/readings.txt | cut -d';' -f1 | uniq -c"),
        muse("Four stations. Last, what a person is told about all this.\n"),
        run("cat README.md"),
        say(
            "## What is there\n\n- a parser (`src/parse.rs`) with a test of its error\n- a thin `main`\n- four stations of data\n\n\
             ## What is missing\n\n- a test of a good line\n- a summary for each station\n- a reading of standard input\n",
        ),
    ]
}

/// Some twenty-five seconds: longer than the survey.
fn summary() -> Vec<Step> {
    let plan = |done: usize| {
        let steps = [
            "Read how readings are kept",
            "Write summarise()",
            "Add the module",
            "Try it on the data",
            "Say it in the README",
        ];
        let mark = |i: usize| match i.cmp(&done) {
            std::cmp::Ordering::Less => PlanMark::Completed,
            std::cmp::Ordering::Equal => PlanMark::InProgress,
            std::cmp::Ordering::Greater => PlanMark::Pending,
        };
        Step::Plan { steps: steps.iter().enumerate().map(|(i, s)| ((*s).to_owned(), mark(i))).collect() }
    };
    vec![
        muse("Five steps. I read first, so that the function fits what is there.\n"),
        plan(0),
        run("sed -n 1,20p src/lib.rs"),
        muse(
            "A reading has a station and tenths of a degree. So a summary is the lowest and the highest of each station, in tenths, too: no floating point.\n",
        ),
        plan(1),
        Step::Write { path: "src/summary.rs".to_owned(), text: SUMMARY_RS.to_owned() },
        muse(
            "A `BTreeMap`, so that the stations come out in the same order every time. Now the library has to know of it.\n",
        ),
        plan(2),
        run(
            "sed -i.bak 's/^mod parse;/mod parse;\\nmod summary;/' src/lib.rs && rm -f src/lib.rs.bak && git diff --stat",
        ),
        muse(
            "One line more in `lib.rs`. Before I go on, what the numbers should be, counted by other means.\n",
        ),
        plan(3),
        run("sort -t';' -k1,1 -k2,2n data/readings.txt"),
        muse(
            "Oslo from -51 to -38, Lima from 187 to 192, one reading each for Cairo and Perth. That is what the function says.\n",
        ),
        plan(4),
        run(
            "printf '\\n`--summary` prints one line for each station.\\n' >> README.md && git diff README.md",
        ),
        plan(5),
        say("`--summary` prints one line for each station. `src/summary.rs` holds the function.\n"),
    ]
}

fn release() -> Vec<Step> {
    vec![
        say("The tag is written outside of the sandbox, so I ask first.\n"),
        Step::Ask { command: "git tag v0.2.0".to_owned(), why: "Tag the release v0.2.0?".to_owned() },
        say("The answer is noted. The release notes are the log since the last tag.\n"),
    ]
}

fn nightly() -> Vec<Step> {
    vec![Step::error(500, "the archive model is not available")]
}

fn anything(prompt: &str) -> Vec<Step> {
    vec![
        say("I look at the state of the work first.\n"),
        run("git status --short && git log --oneline -3"),
        say(prose::answer(prompt)),
    ]
}

const SUMMARY_RS: &str = "\
//! One line for each station.

use std::collections::BTreeMap;

use crate::Reading;

/// Lowest and highest reading of each station, in tenths of a degree.
pub fn summarise(readings: &[Reading]) -> BTreeMap<&str, (i32, i32)> {
    let mut out = BTreeMap::new();
    for r in readings {
        let range = out.entry(r.station.as_str()).or_insert((r.tenths, r.tenths));
        range.0 = range.0.min(r.tenths);
        range.1 = range.1.max(r.tenths);
    }
    out
}
";
