//! Which project a command is about, and the way to its control plane.

use std::path::PathBuf;

use anyhow::Context as _;
use fracta::config::{self, Loaded};
use fracta::control::client::{Client, Endpoint};
use fracta::control::connect;
use fracta::paths::Layout;

use super::out;
use super::report::Usage;

/// The options that every verb has.
#[derive(Clone)]
pub struct Context {
    pub json: bool,
    pub config: Option<PathBuf>,
    pub root: Option<PathBuf>,
}

impl Context {
    /// The folder that the search for a config starts from.
    pub fn cwd(&self) -> anyhow::Result<PathBuf> {
        match &self.root {
            Some(root) => Ok(root.clone()),
            None => std::env::current_dir().context("cannot tell the working folder"),
        }
    }

    /// The config. Its warnings go to stderr.
    ///
    /// # Errors
    /// All the errors that the config has.
    pub fn load(&self) -> anyhow::Result<Loaded> {
        let loaded = config::load(self.config.as_deref(), &self.cwd()?)?;
        for w in &loaded.warnings {
            out::note(&w.to_string());
        }
        Ok(loaded)
    }

    /// A config with errors must not keep anyone from their agents: only the root is needed for it.
    pub fn layout(&self) -> anyhow::Result<Layout> {
        Ok(Layout::new(config::root(self.config.as_deref(), &self.cwd()?)))
    }

    /// The project's control plane, started if there is none.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let layout = self.layout()?;
        if let Some(client) = self.elsewhere()? {
            return Ok(client);
        }
        if let Some(client) = connect::running(&layout).await? {
            return Ok(client);
        }
        self.load()?; // Its errors are told here rather than by a server that does not start.
        let exe = exe()?;
        Ok(connect::ensure(&layout, self.config.as_deref(), &exe).await?)
    }

    pub async fn client_and_config(&self) -> anyhow::Result<(Client, Loaded)> {
        let loaded = self.load()?;
        Ok((self.client().await?, loaded))
    }

    /// The control plane if one runs; none is started.
    pub async fn running(&self) -> anyhow::Result<Option<Client>> {
        match self.elsewhere()? {
            Some(client) => Ok(Some(client)),
            None => Ok(connect::running(&self.layout()?).await?),
        }
    }

    /// The control plane that `control_plane.url` names, with the token of `control_plane.token_file`.
    pub fn elsewhere(&self) -> anyhow::Result<Option<Client>> {
        // Reading the whole config costs a millisecond; a project without one has no url.
        let Ok(loaded) = config::load(self.config.as_deref(), &self.cwd()?) else { return Ok(None) };
        let plane = &loaded.config.control_plane;
        let Some(url) = &plane.url else { return Ok(None) };
        let usage = |e: config::ConfigError| Usage(e.to_string());
        let url = url.expand(&env).map_err(usage)?;
        let file = plane.token_file.as_ref().ok_or_else(|| {
            Usage(
                "control_plane.url is set, but not control_plane.token_file, which holds the token for it"
                    .to_owned(),
            )
        })?;
        let token = read_token(&loaded.root.join(file.expand(&env).map_err(usage)?))?;
        Ok(Some(Client::new(&Endpoint::Http { url, token })?))
    }

    /// How the project's own control plane is started again; none where it is elsewhere.
    pub fn home(&self) -> anyhow::Result<Option<crate::tui::Home>> {
        if self.elsewhere()?.is_some() {
            return Ok(None);
        }
        Ok(Some(crate::tui::Home { layout: self.layout()?, config: self.config.clone(), exe: exe()? }))
    }

    /// What the config says of the screen.
    pub fn tui_options(&self, loaded: &Loaded) -> anyhow::Result<crate::tui::Options> {
        let ui = &loaded.config.ui;
        let usage = |e: config::ConfigError| Usage(e.to_string());
        let mut options = crate::tui::Options {
            theme: config::Config::expanded(ui.theme.as_ref(), &env).map_err(usage)?,
            mouse: ui.mouse,
            notify: ui.notify.how() != config::NotifyHow::Off,
            ..crate::tui::Options::default()
        };
        for (action, binding) in &ui.keys {
            let keys =
                binding.keys().iter().map(|k| k.expand(&env)).collect::<Result<_, _>>().map_err(usage)?;
            options.keys.insert(action.clone(), keys);
        }
        Ok(options)
    }
}

/// The first line of a token file, which only its owner may read.
pub fn read_token(path: &std::path::Path) -> anyhow::Result<secrecy::SecretString> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let meta = std::fs::metadata(path).with_context(|| format!("cannot read the token file {shown}"))?;
    if meta.permissions().mode() & 0o077 != 0 {
        let text = format!("others may read the token file {shown}; take that right away: chmod 600 {shown}");
        return Err(Usage(text).into());
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {shown}"))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < 16 {
        let text = format!(
            "the token in {shown} is shorter than 16 characters; make one: openssl rand -hex 32 > {shown}"
        );
        return Err(Usage(text).into());
    }
    Ok(token.to_owned().into())
}

/// This executable, which shims and the control plane are too.
pub fn exe() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot tell where the fracta executable is")
}

pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
