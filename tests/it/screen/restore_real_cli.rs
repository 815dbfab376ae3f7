//! However the screen ends, the terminal is as it was.

use fracta::session::state::State;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::escapes;
use super::pty::Screen;
use crate::plane_support::{Plane, Setup};

const LEFT: [&str; 4] = ["\x1b[?25h", "\x1b[?2004l", "\x1b[?1004l", "\x1b[<1u"];

async fn screen() -> Option<(Screen, Plane)> {
    let p = Plane::new(Setup::default())?;
    p.spawn_agent("a", "stream", "fracta:say hello there\nfracta:hang").await;
    let s = Screen::open(&p, &[], 100, 30);
    s.wait_for(|t| t.contains("hello there") && t.contains("running"));
    assert_ne!(s.settings_now(), s.settings, "raw mode is on");
    Some((s, p))
}

/// The bytes end with everything undone, the alternate screen last.
#[track_caller]
fn restored(s: &mut Screen) -> bool {
    let (ok, raw, settings) = s.finish_with_settings();
    assert_eq!(settings, s.settings, "the terminal's settings");
    let text = String::from_utf8(raw).unwrap();
    let (before, after) = text.rsplit_once("\x1b[?1049l").expect("the alternate screen is left");
    assert!(!after.contains('\x1b'), "nothing is drawn after it: {after:?}");
    for mode in LEFT {
        let on = format!("{}h", &mode[..mode.len() - 1]);
        let undone = before.rfind(mode).unwrap_or_else(|| panic!("{mode:?} is missing"));
        if mode.ends_with('l') {
            assert!(before.rfind(&on).is_none_or(|at| at < undone), "{mode:?} comes last");
        }
    }
    assert!(before.rfind("\x1b[?25l").unwrap() < before.rfind("\x1b[?25h").unwrap(), "the cursor is shown");
    assert!(!text.contains("\x1b[?1000h"), "the mouse was never asked for");
    escapes::read(text.as_bytes()).unwrap();
    ok
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_by_key_restores_the_terminal() {
    let Some((mut s, p)) = screen().await else { return };
    s.keys("q");
    assert!(restored(&mut s));
    assert_eq!(p.agent("a").await["state"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_restore_the_terminal() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let Some((mut s, p)) = screen().await else { return };
        s.signal(signal);
        restored(&mut s);
        assert_eq!(p.agent("a").await["state"], "running", "after {signal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_ends_the_screen_and_no_agent() {
    let Some((mut s, p)) = screen().await else { return };
    s.hang_up();
    p.wait_state("a", State::Running).await;
    // Neither a screen nor a helper of it is left; the agent is.
    p.gone(|f| f.argv.trim_end() == crate::plane_support::FRACTA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_screen_stops_no_agent() {
    let Some((mut s, p)) = screen().await else { return };
    s.signal(Signal::SIGKILL);
    let (ok, _) = s.finish();
    assert!(!ok);
    assert_eq!(p.agent("a").await["state"], "running");
    let again = Screen::open(&p, &[], 100, 30);
    again.wait_for(|t| t.contains("hello there") && t.contains("running"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_and_going_on_draws_all_again() {
    let Some((mut s, _p)) = screen().await else { return };
    let pid = Pid::from_raw(s.pid());
    for by_key in [false, true] {
        // With nothing unread, which is told a moment later: else it would not come back the same.
        let before = s.wait_for(|t| t.contains("hello there") && !t.contains(" +"));
        let mark = s.mark();
        if by_key {
            s.keys("\x1a");
        } else {
            s.signal(Signal::SIGTSTP);
        }
        let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
        assert_eq!(s.settings_now(), s.settings, "while it is stopped, the terminal is the shell's");
        s.wait_bytes(mark, |b| memchr::memmem::find(b, b"\x1b[?1049l").is_some());
        assert!(!s.look(vt100::Screen::alternate_screen));
        // The shell writes over everything, the window gets another size.
        s.resize(110, 28);
        let mark = s.mark();
        s.signal(Signal::SIGCONT);
        s.wait_bytes(mark, |b| memchr::memmem::find(b, b"\x1b[?1049h").is_some());
        let text = s.wait_for(|t| t.contains("hello there") && t.contains("running") && t.contains("? help"));
        assert!(s.look(|t| t.alternate_screen() && t.bracketed_paste()));
        s.resize(100, 30);
        // Blanks that were written and cells that never were are the same to a person.
        let rows = |t: &str| t.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
        let want = rows(&before);
        let after = s.wait_for(|t| rows(t) == want);
        assert_eq!(rows(&after), want, "{text}");
    }
    s.keys("q");
    assert!(restored(&mut s));
}
