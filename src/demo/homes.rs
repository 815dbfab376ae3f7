//! Isolated homes of the CLIs: they see the scripted model and nothing of the user's own settings,
//! logins or histories.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

/// Model of Codex. It is one that every Codex since 0.124 knows, and that still gets plain tools.
pub const CODEX_MODEL: &str = "gpt-5.5";
/// Model of OpenCode.
pub const OPENCODE_MODEL: &str = "anthropic/claude-sonnet-4-6";
/// The CLIs refuse to start without a key; the scripted model looks at none.
const KEY: &str = "scripted";

/// The variables to start each CLI with.
#[derive(Debug, Clone)]
pub struct Homes {
    /// Folder of all homes.
    pub dir: PathBuf,
    pub codex: Vec<(String, String)>,
    pub claude: Vec<(String, String)>,
    pub opencode: Vec<(String, String)>,
}

/// Makes the homes under `dir`; `base_url` is the endpoint's, without `/v1`.
pub fn make(dir: &Path, base_url: &str) -> io::Result<Homes> {
    let codex = folder(dir, "codex")?;
    write(&codex.join("config.toml"), &codex_config(base_url))?;
    let home = folder(dir, "home")?;
    let xdg = |name: &str| folder(dir, &format!("opencode/{name}"));
    let config = xdg("config")?;
    let opencode_config = json!({
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": false,
        "share": "disabled",
        "model": OPENCODE_MODEL,
        "provider": {"anthropic": {"options": {"baseURL": format!("{base_url}/v1"), "apiKey": KEY}}}
    });
    write(&folder(&config, "opencode")?.join("opencode.json"), &format!("{opencode_config:#}\n"))?;

    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let path = |k: &str, p: &Path| (k.to_owned(), p.to_string_lossy().into_owned());
    Ok(Homes {
        dir: dir.to_owned(),
        // Codex runs commands in a login shell: a person's own profile may be slow, or talk.
        codex: vec![path("HOME", &home), path("CODEX_HOME", &codex), pair("FRACTA_DEMO_KEY", KEY)],
        claude: vec![
            path("HOME", &home),
            path("CLAUDE_CONFIG_DIR", &home.join(".claude")),
            pair("ANTHROPIC_BASE_URL", base_url),
            pair("ANTHROPIC_API_KEY", KEY),
            pair("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            pair("DISABLE_AUTOUPDATER", "1"),
        ],
        opencode: vec![
            path("HOME", &home),
            path("XDG_CONFIG_HOME", &config),
            path("XDG_DATA_HOME", &xdg("data")?),
            path("XDG_CACHE_HOME", &xdg("cache")?),
            path("XDG_STATE_HOME", &xdg("state")?),
        ],
    })
}

/// Retries are off: a failing turn of the script is to fail at once. `update_plan` is off by default
/// in newer versions; older ones always have it.
fn codex_config(base_url: &str) -> String {
    format!(
        "model = \"{CODEX_MODEL}\"\n\
         model_provider = \"scripted\"\n\
         check_for_update_on_startup = false\n\
         \n\
         [analytics]\n\
         enabled = false\n\
         \n\
         [tools.update_plan]\n\
         enabled = true\n\
         \n\
         [model_providers.scripted]\n\
         name = \"scripted\"\n\
         base_url = \"{base_url}/v1\"\n\
         env_key = \"FRACTA_DEMO_KEY\"\n\
         wire_api = \"responses\"\n\
         request_max_retries = 0\n\
         stream_max_retries = 0\n"
    )
}

fn folder(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let path = dir.join(name);
    crate::paths::private_dir(&path).map_err(io::Error::other)?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut f = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    f.write_all(text.as_bytes())
}
