//! Law 2: no control sequence of an agent reaches whoever reads the verbs' output, on a pipe or on a
//! terminal. With the real Codex.

use std::io::Read;
use std::process::Command;

use crate::plane_support::{FRACTA, Plane, Setup, is_turn_end};

/// Sequences that would change a terminal, as the JSON of a model's reply carries them.
const HOSTILE: &str = "A\u{1b}[31mB\u{1b}]8;;http://evil.invalid\u{1b}\\C\u{1b}]52;c;ZXZpbA==\u{7}D\u{1b}P1$r\u{1b}\\E\u{9b}2JF\u{9d}0;t\u{9c}G\rH\u{202e}I\u{0}J\u{8}K\u{7f}L";

/// The characters that must not come out; a terminal's own line ends are `\r\n`.
fn bad(text: &str, terminal: bool) -> Option<char> {
    let text = if terminal { text.replace("\r\n", "\n") } else { text.to_owned() };
    text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c))
}

/// Runs a verb on a pseudo-terminal; what it wrote.
fn on_a_terminal(plane: &Plane, args: &[&str]) -> String {
    let size = portable_pty::PtySize { rows: 50, cols: 200, pixel_width: 0, pixel_height: 0 };
    let pty = portable_pty::native_pty_system().openpty(size).unwrap();
    let mut c = portable_pty::CommandBuilder::new(FRACTA);
    c.args(args);
    c.cwd(plane.root());
    for (k, v) in plane.env() {
        c.env(k, v);
    }
    let mut reader = pty.master.try_clone_reader().unwrap();
    let mut child = pty.slave.spawn_command(c).unwrap();
    drop(pty.slave);
    let mut bytes = Vec::new();
    // A terminal whose other side is gone is an error on Linux and an end elsewhere.
    let _ = reader.read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).expect("UTF-8 also on a terminal")
}

#[tokio::test]
async fn real_cli_nothing_an_agent_says_steers_the_terminal() {
    let Some(plane) = Plane::new(Setup::default()) else { return };
    let file = "evil\\033]0;x\\007\\033[31m\\342\\200\\256.txt";
    let words = format!(
        "fracta:say {HOSTILE}\nfracta:think {HOSTILE}\nfracta:run printf '\\033[31mred\\033]52;c;eA==\\007\\233\\r\\n'; touch \"$(printf '{file}')\"; printf 'x\\033[31m\\ny\\r' > tracked; # {HOSTILE}\nfracta:say end"
    );
    plane.spawn_agent("evil", "stream", &words.replace('\0', "")).await;
    plane.wait_event("evil", is_turn_end).await;
    plane.spawn_agent("fails", "stream", &format!("fracta:fail 400 {}", HOSTILE.replace('\0', ""))).await;
    plane.wait_event("fails", is_turn_end).await;

    let events = plane.run(&["events", "evil"]).await.ok().stdout;
    assert!(events.contains("\\u001b[31m"), "the text is kept, escaped: {events}");
    let verbs: [&[&str]; 9] = [
        &["list"],
        &["list", "--json"],
        &["peek", "evil", "-n", "100"],
        &["peek", "fails", "-n", "100"],
        &["events", "evil"],
        &["events", "fails"],
        &["approvals"],
        &["diff", "evil", "--json"],
        &["peek", "evil", "--json"],
    ];
    for args in verbs {
        let out = plane.run(args).await.ok();
        assert_eq!(bad(&out.stdout, false), None, "{args:?}: {:?}", out.stdout);
        assert_eq!(bad(&out.stderr, false), None, "{args:?}: {:?}", out.stderr);
    }
    let terminal: [&[&str]; 6] = [
        &["list"],
        &["peek", "evil", "-n", "100"],
        &["peek", "fails", "-n", "100"],
        &["events", "evil"],
        &["events", "evil", "--raw"],
        &["diff", "evil"],
    ];
    for args in terminal {
        let text = on_a_terminal(&plane, args);
        assert_eq!(bad(&text, true), None, "{args:?}: {text:?}");
        assert!(text.len() > 20, "{args:?}: {text:?}");
    }
    // `watch` ends with its agent.
    let watch = std::thread::scope(|s| {
        let watch = s.spawn(|| on_a_terminal(&plane, &["watch", "evil"]));
        let mut kill = Command::new(FRACTA);
        kill.args(["kill", "evil", "--force"]).current_dir(plane.root()).envs(plane.env().iter().cloned());
        assert!(kill.output().unwrap().status.success());
        watch.join().unwrap()
    });
    assert_eq!(bad(&watch, true), None, "{watch:?}");
}
