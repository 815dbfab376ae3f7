//! Everything that keys do, with the real Codex.

use fracta::session::state::State;

use super::escapes;
use super::pty::Screen;
use crate::plane_support::{Plane, Setup, says};

const ESC: &str = "\x1b";
const CTRL_K: &str = "\x0b";
const CTRL_S: &str = "\x13";
const CTRL_X: &str = "\x18";

fn plane(permissions: &'static str) -> Option<Plane> {
    Plane::new(Setup { permissions: Some(permissions), ..Setup::default() })
}

/// Spawns by the form, as a person does.
fn spawn(s: &mut Screen, name: &str, contract: &str) {
    s.keys("s");
    s.wait_text("spawn an agent");
    s.keys(name);
    s.keys("\t\t\t\t");
    s.wait_row(&["›", "contract"]);
    s.paste(contract);
    s.keys(CTRL_S);
    s.wait_for(|t| t.contains(&format!("{name}: started")) && !t.contains("spawn an agent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_spawned_steered_and_talked_to() {
    let Some(p) = plane("auto") else { return };
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_text("no agents yet");
    spawn(&mut s, "alpha", "fracta:say hello from the model\nfracta:gate g\nfracta:say the end");
    s.wait_text("hello from the model");
    s.wait_row(&["alpha", "running"]);
    p.script.gate("g").reached().await;

    s.keys("i");
    s.wait_text("steer · goes into the running turn");
    s.keys("also do this\r");
    s.wait_text("steer accepted by the runtime");
    p.script.gate("g").release();
    s.wait_text("steered: also do this");
    s.wait_row(&["alpha", "idle"]);

    s.wait_text("say · starts a turn");
    s.keys("and once more\r");
    s.wait_text("You asked: and once more");
    s.wait_row(&["alpha", "idle"]);

    // A batch of pasted lines is one message.
    s.paste("fracta:say the last turn\nfracta:hang");
    s.keys("\r");
    s.wait_row(&["alpha", "running"]);
    s.wait_text("the last turn");
    s.keys(ESC);
    s.wait_text("? help");
    s.keys(CTRL_X);
    s.wait_text("End the running turn of alpha?");
    s.keys("n");
    s.wait_text("nothing done");
    s.wait_row(&["alpha", "running"]);
    s.keys(CTRL_X);
    s.wait_text("End the running turn of alpha?");
    s.keys("y");
    s.wait_text("alpha: the turn was ended");
    let text = s.wait_for(|t| {
        t.contains("interrupted") && t.lines().any(|l| l.contains("alpha") && l.contains("idle"))
    });
    assert!(text.contains("the last turn"), "{text}");
    s.keys(CTRL_X);
    s.wait_text("alpha: no turn runs (idle)");

    s.keys("q");
    let (ok, raw) = s.finish();
    assert!(ok);
    let bye = String::from_utf8_lossy(&raw).into_owned();
    assert!(bye.contains("1 agent goes on without the screen"), "{bye}");
    escapes::read(&raw).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_are_answered_by_keys() {
    let Some(p) = plane("ask") else { return };
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_text("no agents yet");
    let file = p.root().join("written");
    let contract = format!(
        "fracta:ask touch {}\nfracta:ask touch no-{}\nfracta:say all is answered",
        file.display(),
        "this"
    );
    spawn(&mut s, "asker", &contract);
    s.wait_text("▲ 1 needs you");
    s.wait_row(&["▲ $ touch", "a approve", "x deny"]);
    s.wait_row(&["▌ $", "touch"]);
    assert!(!file.exists());
    s.keys("a");
    s.wait_text("asker: approved");
    s.wait_row(&["▌ $", "no-this"]);
    s.wait_row(&["▲ $ touch", "a approve", "x deny"]);
    p.wait_event("asker", |e| e["kind"] == "approval.resolved").await;
    s.keys("x");
    s.wait_text("asker: denied");
    s.wait_row(&["asker", "idle"]);
    s.wait_for(|t| !t.contains("needs you"));
    assert!(file.exists(), "what was approved was done");
    let events = p.events("asker").await;
    let decisions: Vec<&str> = events.iter().filter_map(|e| e["decision"].as_str()).collect();
    assert_eq!(decisions, ["approved", "denied"], "{events:#?}");
    s.keys("a");
    s.wait_text("asker: nothing waits for an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_looked_at_merged_and_thrown_away() {
    let Some(p) = plane("auto") else { return };
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_text("no agents yet");
    spawn(&mut s, "worker", "fracta:patch notes.txt <<one line\\nand another\nfracta:say written");
    s.wait_text("• written");
    s.wait_row(&["worker", "idle"]);
    s.keys("d");
    s.wait_for(|t| {
        t.contains("diff of worker against") && t.contains("+one line") && t.contains("+and another")
    });
    s.keys(ESC);
    s.wait_for(|t| !t.contains("diff of worker"));

    s.keys(CTRL_K);
    s.wait_text("Kill worker?");
    s.keys("y");
    let text = s.wait_text("worker: not killed");
    assert!(text.lines().any(|l| l.contains("worker") && l.contains("idle")), "{text}");
    s.keys("m");
    s.wait_text("Merge the work of worker");
    s.keys("y");
    s.wait_text("worker: merged into main at");
    assert_eq!(p.project.read("notes.txt").as_deref(), Some("one line\nand another\n"));

    spawn(&mut s, "loser", "fracta:patch lost.txt <<gone\nfracta:say written");
    s.wait_text("• written");
    s.wait_row(&["loser", "idle"]);
    s.keys(CTRL_K);
    s.wait_text("Kill loser?");
    s.keys("y");
    s.wait_text("loser: not killed");
    s.command("kill! loser");
    s.wait_text("lose its unmerged work?");
    s.keys("y");
    s.wait_text("loser: killed; its journal stays readable");
    assert_eq!(p.project.read("lost.txt"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_filter_help_and_leaving() {
    let Some(p) = plane("auto") else { return };
    p.spawn_agent("first", "stream", "fracta:say one\nfracta:gate g\nfracta:say finished").await;
    p.spawn_agent("second", "stream", "fracta:say two").await;
    p.wait_event("second", |e| e["kind"] == "turn.completed").await;
    let mut s = Screen::open(&p, &[], 120, 40);
    s.wait_row(&["first", "running"]);
    s.wait_row(&["second", "idle"]);
    s.wait_row(&["▌", "first"]);
    s.keys("j");
    s.wait_row(&["▌", "second"]);
    s.wait_text("• two");

    s.keys("/fir");
    s.wait_for(|t| !t.contains("second") && t.contains("first"));
    s.keys("\r");
    s.keys(ESC);
    s.wait_text("second");
    s.keys("/zzz");
    s.wait_text("no agent matches the filter");
    s.keys(ESC);
    s.wait_text("second");

    s.keys("?");
    let text = s.wait_text("keys and commands");
    for (key, help) in [
        ("a", "approve the pending request"),
        ("ctrl-x", "end the running turn (asks first)"),
        ("ctrl-k", "remove the agent (asks first)"),
        ("q  ctrl-c", "leave; the agents go on"),
    ] {
        assert!(text.lines().any(|l| l.trim_start().starts_with(key) && l.contains(help)), "{key}: {text}");
    }
    s.keys("G");
    s.wait_row(&[":kill! [NAME]", "remove it and the work not merged"]);
    s.keys(ESC);
    s.wait_for(|t| !t.contains("keys and commands"));

    s.command("kil");
    s.wait_text("there is no command :kil; did you mean :kill?");
    s.command("runtimes");
    s.wait_row(&["codex", "(default)"]);
    s.wait_text("✓ steer");
    s.keys(ESC);
    s.wait_for(|t| !t.contains("✓ steer"));
    s.keys("j");
    s.wait_row(&["▌", "second"]);
    s.command("say fracta:say by command");
    s.wait_text("• by command");
    s.command("spawn third --mode batch fracta:say three words now");
    s.wait_row(&["third", "completed"]);
    s.wait_text("• three words now");

    s.command("q");
    let (ok, raw) = s.finish();
    assert!(ok);
    assert!(String::from_utf8_lossy(&raw).contains("2 agents go on without the screen"));
    // They do.
    p.script.gate("g").release();
    p.wait_event("first", |e| says(e, "finished")).await;
    p.wait_state("first", State::Idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copying_sends_the_text_and_promises_no_more() {
    let Some(p) = plane("auto") else { return };
    p.spawn_agent("a", "stream", "fracta:say words to copy").await;
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_text("• words to copy");
    s.keys("\r");
    s.wait_text("] card");
    let mark = s.mark();
    s.keys("y");
    let text = s.wait_text("sent to the terminal's clipboard");
    assert!(!text.contains("copied"), "whether the terminal took it is not known: {text}");
    let found = escapes::read(&s.bytes_since(mark)).unwrap();
    assert_eq!(found.clipboard.len(), 1);
    use base64::Engine;
    let sent = base64::engine::general_purpose::STANDARD.decode(&found.clipboard[0]).unwrap();
    assert!(!sent.is_empty());
    let sent = String::from_utf8(sent).unwrap();
    assert!(sent.contains("words to copy"), "{sent:?}");
}
