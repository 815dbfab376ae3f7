//! `fracta auth diagnose`: the credential plan of a runtime, dry.

use super::plane::Plane;
use crate::config::Chosen;
use crate::control::wire::{Code, Diagnose, Problem};
use crate::credentials::plan::Plan;
use crate::credentials::report::Report;
use crate::runtime::{Launch, Mode, Runtime, SessionSpec, Wire};
use crate::session::launch;
use crate::session::supervisor::problem;

impl Plane {
    /// The plan. A CLI that is not installed is one more problem of it, not the end.
    pub(super) async fn diagnose(&self, which: &Diagnose) -> Result<Report, Problem> {
        let bad = |text: String| problem(Code::BadRequest, text);
        let loaded = self.env.launcher.config()?;
        let config = &loaded.config;
        let chosen =
            config.runtime(which.runtime.as_deref(), &launch::lookup).map_err(|e| bad(e.to_string()))?;
        let backend = which.backend.clone().unwrap_or_else(|| config.runtime.backend.word().to_owned());
        if !["local", "kubernetes"].contains(&backend.as_str()) {
            return Err(bad(format!("there is no backend {backend:?}; there are local and kubernetes")));
        }
        let mode = which.mode.unwrap_or(config.agents.default_mode);
        let adapter = self.env.launcher.adapter(chosen.adapter)?;
        let (start, trouble) = match self.start_of(chosen, adapter, mode, &backend).await {
            Ok(start) => (start, None),
            Err(p) => (nothing(), Some(p.message)),
        };
        let mut report = self.credentials(chosen, &backend, &start)?.report();
        if let Some(trouble) = trouble {
            report.problems.push(trouble);
            report.ok = false;
        }
        Ok(report)
    }

    /// The credential plan of a runtime as this control plane would carry it out.
    pub(super) fn credentials(
        &self,
        chosen: Chosen<'_>,
        backend: &str,
        start: &Launch,
    ) -> Result<Plan, Problem> {
        let loaded = self.env.launcher.config()?;
        let host = launch::inherited();
        let files = crate::session::settings::credentials_for(backend, &self.layout.session_dir("SESSION"));
        let root = self.layout.root();
        Ok(launch::credentials(&loaded.config, chosen, backend, &host, start, root, &files))
    }

    /// What the adapter would start; only its variables matter here.
    async fn start_of(
        &self,
        chosen: Chosen<'_>,
        adapter: &dyn Runtime,
        mode: Mode,
        backend: &str,
    ) -> Result<Launch, Problem> {
        let command = launch::command(chosen.config, adapter.default_command())?;
        let cli = match backend {
            "local" => {
                let own_env = launch::own_env(chosen.config)?;
                self.env.launcher.find(&command, adapter, &own_env).await?.cli
            }
            // The CLI of the image is not known here.
            _ => crate::runtime::CliInfo::default(),
        };
        let spec = SessionSpec {
            runtime: chosen.name.to_owned(),
            command: command.iter().map(Into::into).collect(),
            cli,
            mode,
            model: None,
            permissions: chosen.config.permissions_for(mode),
            cwd: self.layout.root().to_owned(),
            resume_token: None,
            run: 1,
            step_limit: chosen.config.step_limit,
        };
        adapter.launch(&spec, Some("")).map_err(|r| problem(Code::Unsupported, r.0))
    }
}

/// Where it cannot be known what would be started.
pub(super) fn nothing() -> Launch {
    Launch { argv: Vec::new(), env: Vec::new(), wire: Wire::Stdio, stdin: false, input: None }
}
