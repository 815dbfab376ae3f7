//! The table of what each runtime can do, with the real CLIs from end to end: the `fracta` binary, its
//! control plane and shims, each CLI as installed, a scripted model. A test that fits all runtimes is
//! written once, see [`each_runtime`].

mod approvals_real_cli;
mod batch_real_cli;
mod choice_real_cli;
mod guard_real_cli;
mod stream_real_cli;
mod survival_real_cli;

use std::ops::Deref;

use fracta::session::state::State;
use serde_json::Value;

use crate::plane_support::{Plane, Setup, kind, says};
use crate::support::require_cli;

/// Makes tests of functions that take a runtime: `each_runtime! { f: codex claude opencode }`.
macro_rules! each_runtime {
    ($($what:ident: $($cli:ident)+;)+) => { $( mod $what { $(
        #[tokio::test]
        async fn $cli() {
            if let Some(cli) = crate::runtimes::installed(stringify!($cli)) {
                super::$what(cli).await;
            }
        }
    )+ } )+ };
}
use each_runtime;

/// A CLI that is there.
pub fn installed(cli: &'static str) -> Option<&'static str> {
    require_cli(cli).map(|_| cli)
}

/// A project whose agents are of one runtime.
pub struct World {
    plane: Plane,
    pub cli: &'static str,
}

impl Deref for World {
    type Target = Plane;
    fn deref(&self) -> &Plane {
        &self.plane
    }
}

impl World {
    pub fn new(cli: &'static str, setup: Setup) -> Self {
        Self { plane: Plane::without_cli(setup), cli }
    }

    /// `fracta spawn` of this runtime; its row.
    pub async fn spawn(&self, name: &str, mode: &str, contract: &str) -> Value {
        self.json(&["spawn", "--task", name, "--runtime", self.cli, "--mode", mode, "--contract", contract])
            .await
    }

    /// The session's next turn works.
    pub async fn goes_on(&self, name: &str) {
        self.run(&["say", name, "Go on.\nfracta:say still here"]).await.ok();
        self.wait_event(name, |e| kind(e) == "message.completed" && says(e, "still here")).await;
        self.wait_agent(name, |a| matches!(a.state, State::Idle | State::Completed)).await;
    }

    /// A steer is refused with the reason before anything is touched.
    pub async fn refuses_to_steer(&self, name: &str) {
        let said = |events: &[Value]| of(events, "user.message").into_iter().cloned().collect::<Vec<_>>();
        let before = said(&self.events(name).await);
        let words = self.run(&["steer", name, "hello"]).await.refused();
        assert!(words.contains("fracta say") && words.contains("next"), "{words}");
        assert_eq!(said(&self.events(name).await), before, "nothing was written");
    }

    /// No process with the mark is alive.
    pub fn none_left(&self, mark: &str) {
        let left: Vec<_> = self.processes().into_iter().filter(|f| f.argv.contains(mark)).collect();
        assert!(left.is_empty(), "{left:#?}");
    }

    pub fn file(&self, agent: &str, file: &str) -> std::path::PathBuf {
        self.layout().state_dir().join("worktrees").join(agent).join(file)
    }
}

/// Events of a kind.
pub fn of<'e>(events: &'e [Value], wanted: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| kind(e) == wanted).collect()
}

/// Nothing was lost, and nothing not understood.
pub fn all_understood(events: &[Value]) {
    for unwanted in ["gap", "raw", "error"] {
        assert_eq!(of(events, unwanted), Vec::<&Value>::new());
    }
}
