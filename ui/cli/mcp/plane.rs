//! The way to the control plane, for as long as the client lives: it may end and come back meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fracta::backend::local::MARKER_ENV;
use fracta::control::client::{Client, ClientError};

use crate::cli::context::Context;

/// So many vain tries to reach one, and no more.
const TRIES: u32 = 20;
/// Between tries: a control plane that is just ending still takes connections.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Plane {
    context: Context,
    /// This process belongs to an agent of fracta's.
    inside: bool,
}

impl Plane {
    pub fn new(context: &Context) -> anyhow::Result<Self> {
        let home = project_of_agent(&context.cwd()?);
        let inside = home.is_some() || std::env::var_os(MARKER_ENV).is_some();
        let mut context = context.clone();
        if context.config.is_none() {
            // An agent's worktree may hold the project's own fracta.yaml, and would be a project of
            // its own by that, whose agents `max_running` of the real one does not count.
            context.root = home.or(context.root);
        }
        Ok(Self { context, inside })
    }

    /// A control plane that an agent starts is part of what ends with the agent, and its agents with
    /// it. So none is started there; there is one anyway while the agent does what it was told to.
    async fn client(&self) -> anyhow::Result<Client> {
        if !self.inside {
            return self.context.client().await;
        }
        let none = || {
            let root = self.context.layout().map(|l| l.root().display().to_string()).unwrap_or_default();
            anyhow::anyhow!(
                "no control plane runs for {root}, and one that an agent starts would end with that agent: \
                 ask the person to run `fracta list` there"
            )
        };
        self.context.running().await?.ok_or_else(none)
    }

    /// Asks the control plane, which is found or started anew each time. Tries again where nobody
    /// answered; never where it is not known whether the request was carried out.
    pub async fn ask<T, F>(&self, request: impl Fn(Client) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut vain = 0;
        loop {
            match request(self.client().await?).await {
                Err(ClientError::Unreachable { .. }) if vain < TRIES => {
                    vain += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// The root of the project in one of whose agents' worktrees `cwd` is.
fn project_of_agent(cwd: &Path) -> Option<PathBuf> {
    cwd.ancestors().skip(1).find_map(|dir| {
        let state = dir.parent()?;
        (dir.file_name()? == "worktrees" && state.file_name()? == ".fracta")
            .then(|| state.parent().map(Path::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_of_an_agent_is_the_one_that_made_its_worktree() {
        let of = |p: &str| project_of_agent(Path::new(p));
        assert_eq!(of("/p/.fracta/worktrees/a"), Some("/p".into()));
        assert_eq!(of("/p/.fracta/worktrees/a/src/x"), Some("/p".into()));
        let nested = "/p/.fracta/worktrees/a/.fracta/worktrees/b";
        assert_eq!(of(nested), Some("/p/.fracta/worktrees/a".into()));
        for no in ["/p", "/p/.fracta/worktrees", "/p/worktrees/a", "/p/.fracta/sessions/a", "/"] {
            assert_eq!(of(no), None, "{no}");
        }
    }
}
