//! The MCP servers and allowed tools of fracta.yaml, made ready for one agent.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::launch::lookup;
use super::supervisor::problem;
use crate::config::{Config, ConfigError, Text};
use crate::control::wire::{Code, Problem};
use crate::id::AgentName;
use crate::runtime::settings::PrivateFile;
use crate::runtime::{McpServer, McpTransport, Runtime, SessionSpec, Settings, SettingsRequest};

/// The name under which agents have the gateway.
const GATEWAY: &str = "gateway";

/// What an agent is given, in the words of its runtime; [`write`] makes its files.
///
/// # Errors
/// A variable that the config names is not set; the gateway has no place.
pub(crate) fn of(
    config: &Config,
    agent: &AgentName,
    runtime: &dyn Runtime,
    spec: &SessionSpec,
    own_env: &[(String, String)],
    session_dir: &Path,
) -> Result<Settings, Problem> {
    let own = |name: &str| own_env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
    let env = |name: &str| own(name).or_else(|| lookup(name));
    let mcp = servers(config, agent, &env)?;
    let allowed = config.project.allowed_tools.iter().map(expand);
    let allowed_tools = allowed.collect::<Result<Vec<_>, _>>()?;
    Ok(runtime.settings(&SettingsRequest {
        mcp: &mcp,
        allowed_tools: &allowed_tools,
        mode: spec.mode,
        permissions: spec.permissions,
        cli: &spec.cli,
        command: &spec.command,
        dir: &folder(session_dir),
        env: &env,
    }))
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

/// Writes the files of the next process in place of those of the last.
///
/// # Errors
/// The disk's.
pub(crate) fn write(session_dir: &Path, files: &[PrivateFile]) -> Result<(), Problem> {
    remove(session_dir);
    if files.is_empty() {
        return Ok(());
    }
    let dir = folder(session_dir);
    crate::paths::private_dir(&dir).map_err(|e| problem(Code::Internal, e.to_string()))?;
    for file in files {
        let path = dir.join(OsStr::new(file.name));
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.and_then(|mut f| f.write_all(file.content.as_bytes()))
            .map_err(|e| problem(Code::Internal, format!("cannot write {}: {e}", path.display())))?;
    }
    Ok(())
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

    #[test]
    fn files_are_private_and_do_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name, content: &str| PrivateFile { name, content: content.to_owned() };
        write(dir.path(), &[file("old.json", "1")]).unwrap();
        write(dir.path(), &[file("new.json", "2")]).unwrap();
        let folder = folder(dir.path());
        assert!(!folder.join("old.json").exists());
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("new.json"))), (0o700, 0o600));
        remove(dir.path());
        assert!(!folder.exists());
    }
}
