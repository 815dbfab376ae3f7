//! Any size, while text streams; without colours where none are wanted.

use std::ffi::OsString;

use super::escapes;
use super::pty::Screen;
use crate::plane_support::{Plane, Setup};

const SIZES: [(u16, u16); 6] = [(80, 24), (200, 50), (40, 12), (10, 3), (1, 1), (120, 34)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_while_text_streams() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("talker", "stream", "fracta:pace 12 2\nfracta:say 20000 words").await;
    for (columns, rows) in SIZES {
        let mut s = Screen::open(&p, &[], columns, rows);
        s.wait_bytes(0, |b| memchr::memmem::find(b, b"\x1b[?2026l").is_some());
        if columns >= 40 {
            s.wait_row(&["talker", "running"]);
            s.keys("\r");
        }
        let mark = s.mark();
        for (columns, rows) in SIZES {
            s.resize(columns, rows);
            s.keys("\t");
        }
        // The last size shows all.
        s.wait_for(|t| t.contains("talker") && t.contains("running") && t.lines().count() > 20);
        s.wait_bytes(mark, |b| b.len() > 1000);
        s.signal(nix::sys::signal::Signal::SIGTERM);
        let (_, raw) = s.finish();
        escapes::read(&raw).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_colour_where_none_is_wanted() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent(
        "a",
        "stream",
        "fracta:say # Words\\n\\nwith `code` in **them**\nfracta:run echo out\nfracta:hang",
    )
    .await;
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut env: Vec<(OsString, OsString)> = p.env().to_vec();
        env.push((name.into(), value.into()));
        let mut s = Screen::start(&p.root(), &[], &env, 120, 34);
        s.wait_for(|t| t.contains("code") && t.contains("running"));
        s.keys("?");
        s.wait_text("keys and commands");
        s.signal(nix::sys::signal::Signal::SIGTERM);
        let (_, raw) = s.finish();
        let found = escapes::read(&raw).unwrap();
        assert!(!found.coloured, "{name}={value}");
        if name == "TERM" {
            assert!(
                !String::from_utf8(raw).unwrap().contains("?2004h"),
                "a dumb terminal is asked for little"
            );
        }
    }
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_text("running");
    s.keys("q");
    let (_, raw) = s.finish();
    assert!(escapes::read(&raw).unwrap().coloured, "else there are colours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrolled_view_stands_still_while_text_streams() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("talker", "stream", "fracta:say 3000 words\nfracta:run true\nfracta:gate g\nfracta:say 3000 words\nfracta:run true\nfracta:gate h\nfracta:say the very end").await;
    let mut s = Screen::open(&p, &[], 120, 34);
    p.script.gate("g").reached().await;
    s.wait_row(&["talker", "running"]);
    s.keys("\r");
    s.wait_text("] card");
    s.keys("\x02\x02");
    s.wait_text("more below · G follows");
    let part = |t: &str| -> Vec<String> {
        let session = |l: &str| l.split_once('│').map(|(_, r)| r.trim_end().to_owned());
        t.lines().skip(4).take(20).filter_map(session).collect()
    };
    let before = part(&s.text());
    assert!(before.iter().filter(|l| !l.trim().is_empty()).count() > 10, "{before:#?}");
    let below = |t: &str| {
        let at = t.find(" more below")?;
        t[..at].rsplit(' ').next()?.parse::<u64>().ok()
    };
    let first = below(&s.text()).unwrap();
    p.script.gate("g").release();
    p.script.gate("h").reached().await;
    let text = s.wait_for(|t| below(t).is_some_and(|n| n > first));
    assert_eq!(part(&text), before, "what is read does not move");
    p.script.gate("h").release();
    s.keys("G");
    s.wait_for(|t| t.contains("the very end") && !t.contains("more below"));
}
