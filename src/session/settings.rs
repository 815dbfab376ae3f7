//! The MCP servers and allowed tools of fracta.yaml, made ready for one agent.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::launch::lookup;
use super::supervisor::problem;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, ConfigError, Text};
use crate::control::wire::{Code, Problem};
use crate::credentials::deliver::{FileContent, SecretFile};
use crate::credentials::environment::{Environment, Layer};
use crate::credentials::mask::Mask;
use crate::credentials::plan::Helper;
use crate::credentials::{CLUSTER_FILES, Topology};
use crate::id::AgentName;
use crate::runtime::settings::PrivateFile;
use crate::runtime::{McpServer, McpTransport, Runtime, SessionSpec, Settings, SettingsRequest};

/// The name under which agents have the gateway.
const GATEWAY: &str = "gateway";

/// Whose settings are made.
pub(crate) struct About<'a> {
    pub config: &'a Config,
    pub agent: &'a AgentName,
    pub runtime: &'a dyn Runtime,
    pub spec: &'a SessionSpec,
    /// As it is without these settings.
    pub env: &'a Environment,
    /// What Claude gets its key from.
    pub helper: Option<&'a Helper>,
}

/// Settings, and the secrets in them by name.
pub(crate) struct Made {
    pub settings: Settings,
    pub secrets: Vec<(String, SecretString)>,
}

/// What an agent is given, in the words of its runtime; [`write`] makes its files.
///
/// # Errors
/// A variable that the config names is not set; the gateway has no place.
pub(crate) fn of(about: &About<'_>, session_dir: &Path) -> Result<Made, Problem> {
    let (config, spec) = (about.config, about.spec);
    // What the adapter itself sets is no word of the user's: settings are made anew over it.
    let users = |name: &str| about.env.get(name).is_some_and(|v| v.from != Layer::Adapter);
    let env = |name: &str| about.env.text(name).filter(|_| users(name)).or_else(|| lookup(name));
    let mcp = servers(config, about.agent, &env)?;
    let allowed = config.project.allowed_tools.iter().map(expand);
    let allowed_tools = allowed.collect::<Result<Vec<_>, _>>()?;
    let settings = about.runtime.settings(&SettingsRequest {
        mcp: &mcp,
        allowed_tools: &allowed_tools,
        helper: about.helper,
        mode: spec.mode,
        permissions: spec.permissions,
        cli: &spec.cli,
        command: &spec.command,
        dir: &folder(session_dir),
        env: &env,
    });
    Ok(Made { settings, secrets: gateway_token(&mcp).into_iter().collect() })
}

/// The token by which an agent is known to the gateway.
fn gateway_token(servers: &[McpServer]) -> Option<(String, SecretString)> {
    let gateway = servers.iter().find(|s| s.name == GATEWAY)?;
    let McpTransport::Http { headers, .. } = &gateway.transport else { return None };
    let token = headers.get("Authorization")?.strip_prefix("Bearer ")?;
    Some((GATEWAY.to_owned(), token.to_owned().into()))
}

fn expand(text: &Text) -> Result<String, Problem> {
    text.expand(&lookup).map_err(|e: ConfigError| problem(Code::BadRequest, e.to_string()))
}

fn servers(
    config: &Config,
    agent: &AgentName,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<McpServer>, Problem> {
    let map = |texts: &BTreeMap<String, Text>| -> Result<BTreeMap<String, String>, Problem> {
        texts.iter().map(|(k, v)| Ok((k.clone(), expand(v)?))).collect()
    };
    let mut all = Vec::new();
    for (name, server) in &config.mcp_servers {
        let transport = match (&server.command, &server.url) {
            (Some(command), _) => McpTransport::Stdio {
                command: expand(command)?,
                args: server.args.iter().map(expand).collect::<Result<_, _>>()?,
                env: map(&server.env)?,
            },
            (None, Some(url)) => McpTransport::Http { url: expand(url)?, headers: map(&server.headers)? },
            // `config check` has refused it.
            (None, None) => continue,
        };
        all.push(McpServer { name: name.clone(), transport });
    }
    if let Some(gateway) = gateway(config, agent, env)? {
        if config.mcp_servers.contains_key(GATEWAY) {
            let text = "mcp_servers.gateway: the name is taken by the gateway itself (gateway.url); give the server another one";
            return Err(problem(Code::BadRequest, text));
        }
        all.push(gateway);
    }
    Ok(all)
}

fn gateway(
    config: &Config,
    agent: &AgentName,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<McpServer>, Problem> {
    let Some(url) = &config.gateway.url else { return Ok(None) };
    let mut headers = BTreeMap::new();
    if let Some(text) = &config.gateway.token_env {
        let name = expand(text)?;
        let token = env(&name).filter(|t| !t.trim().is_empty()).ok_or_else(|| {
            let why =
                format!("gateway.token_env: the variable {name} is not set where fracta serve was started");
            problem(Code::BadRequest, why)
        })?;
        headers.insert("Authorization".to_owned(), format!("Bearer {}", token.trim()));
    }
    let url = format!("{}/agents/{agent}/mcp", expand(url)?.trim_end_matches('/'));
    Ok(Some(McpServer { name: GATEWAY.to_owned(), transport: McpTransport::Http { url, headers } }))
}

/// Where the files of a session's running process are.
fn folder(session_dir: &Path) -> PathBuf {
    session_dir.join("settings")
}

/// Where the files with its credentials are on this machine.
fn credentials(session_dir: &Path) -> PathBuf {
    folder(session_dir).join("credentials")
}

/// Where they are as the agent sees it.
pub(crate) fn credentials_for(backend: &str, session_dir: &Path) -> PathBuf {
    match Topology::of(backend) {
        Topology::Host => credentials(session_dir),
        Topology::Cluster => CLUSTER_FILES.into(),
    }
}

/// What is masked in what the process says, for a control plane that comes back.
fn mask_file(session_dir: &Path) -> PathBuf {
    folder(session_dir).join("mask.json")
}

/// What is to be masked of a process that an earlier control plane started.
pub(crate) fn mask(session_dir: &Path) -> Mask {
    Mask::load(&mask_file(session_dir))
}

/// Writes the files of the next process in place of those of the last.
///
/// # Errors
/// The disk's.
pub(crate) fn write(
    session_dir: &Path,
    files: &[PrivateFile],
    secrets: &[SecretFile],
    mask: &Mask,
) -> Result<(), Problem> {
    remove(session_dir);
    let dir = folder(session_dir);
    let private =
        |dir: &Path| crate::paths::private_dir(dir).map_err(|e| problem(Code::Internal, e.to_string()));
    if !files.is_empty() || !mask.is_empty() {
        private(&dir)?;
    }
    if !secrets.is_empty() {
        private(&credentials(session_dir))?;
    }
    for file in files {
        private_file(&dir.join(file.name), file.content.as_bytes())?;
    }
    for file in secrets {
        // What is mounted from a Secret is none of this machine's.
        if let FileContent::Secret(content) = &file.content {
            private_file(&file.path, content.expose_secret().as_bytes())?;
        }
    }
    if !mask.is_empty() {
        private_file(&mask_file(session_dir), mask.to_json().as_bytes())?;
    }
    Ok(())
}

fn private_file(path: &Path, content: &[u8]) -> Result<(), Problem> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut f| f.write_all(content))
        .map_err(|e| problem(Code::Internal, format!("cannot write {}: {e}", path.display())))
}

/// Removes them: a token is not to lie about longer than it is used.
pub(crate) fn remove(session_dir: &Path) {
    let dir = folder(session_dir);
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(error = %e, folder = %dir.display(), "cannot remove settings of a process");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(yaml: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fracta.yaml"), yaml).unwrap();
        crate::config::load(None, dir.path()).unwrap().config
    }

    fn all(yaml: &str) -> Result<Vec<McpServer>, String> {
        let env = |name: &str| (name == "TOKEN").then(|| "t0k\n".to_owned());
        servers(&config(yaml), &"a1".parse().unwrap(), &env).map_err(|p| p.message)
    }

    #[test]
    fn the_gateway_knows_the_agent_and_its_token() {
        let got = all("gateway: {url: 'http://g/x/', token_env: TOKEN}").unwrap();
        let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer t0k".to_owned())]);
        let url = "http://g/x/agents/a1/mcp".to_owned();
        assert!(got[0].name == "gateway" && got[0].transport == McpTransport::Http { url, headers });
        let why = all("gateway: {url: 'http://g', token_env: NOT_SET_ANYWHERE}").err().unwrap();
        assert!(why.contains("NOT_SET_ANYWHERE"), "{why}");
        let why = all("gateway: {url: 'http://g'}\nmcp_servers: {gateway: {command: x}}").err().unwrap();
        assert!(why.contains("mcp_servers.gateway"), "{why}");
    }

    /// The adapter's own settings are not taken for the user's, which would come over the project's rules.
    #[test]
    fn what_the_adapter_sets_is_not_what_the_user_says() {
        let name = "OPENCODE_CONFIG_CONTENT";
        let config =
            config("agents: {agent_runtimes: {opencode: {}}}\nproject: {allowed_tools: ['Bash(touch x)']}");
        let spec = SessionSpec {
            runtime: "opencode".to_owned(),
            command: Vec::new(),
            cli: crate::runtime::CliInfo::default(),
            mode: crate::runtime::Mode::Stream,
            model: None,
            permissions: crate::runtime::Permissions::Ask,
            cwd: "/".into(),
            resume_token: None,
            run: 1,
            step_limit: 0,
        };
        let runtime = crate::runtime::adapter("opencode").unwrap();
        let content = |own: &str, from: Layer| {
            let mut env = Environment::default();
            env.set(name, crate::credentials::environment::Value::Plain(own.into()), from);
            let agent = "a1".parse().unwrap();
            let about =
                About { config: &config, agent: &agent, runtime, spec: &spec, env: &env, helper: None };
            let made = of(&about, Path::new("/s")).unwrap().settings;
            let (_, text) = made.env.iter().find(|(k, _)| k == name).unwrap();
            serde_json::from_str::<serde_json::Value>(text.to_str().unwrap()).unwrap()
        };
        let deny = r#"{"permission": {"bash": "deny"}}"#;
        assert_eq!(content(deny, Layer::Adapter)["permission"]["bash"]["touch x"], "allow");
        assert_eq!(content(deny, Layer::Runtime)["permission"]["bash"], "deny");
    }

    #[test]
    fn files_are_private_and_do_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name, content: &str| PrivateFile { name, content: content.to_owned() };
        let known = [("key".to_owned(), SecretString::from("0123456789"))];
        let (mask_of, short) = Mask::new(&known).unwrap();
        assert!(short.is_empty());
        write(dir.path(), &[file("old.json", "1")], &[], &Mask::default()).unwrap();
        let path = credentials(dir.path()).join("token");
        let content = FileContent::Secret("0123456789".to_owned().into());
        let secret = SecretFile { name: "token".to_owned(), path: path.clone(), content };
        write(dir.path(), &[file("new.json", "2")], &[secret], &mask_of).unwrap();
        let folder = folder(dir.path());
        assert!(!folder.join("old.json").exists());
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("new.json"))), (0o700, 0o600));
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        assert_eq!(mode(&folder.join("mask.json")), 0o600);
        let kept = std::fs::read_to_string(folder.join("mask.json")).unwrap();
        assert!(!kept.contains("0123456789"), "{kept}");
        assert_eq!(mask(dir.path()).text("a 0123456789").unwrap(), "a [secret key]");
        remove(dir.path());
        assert!(!folder.exists());
    }
}
