//! Finding and reading `fracta.yaml`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::agents::RuntimeConfig;
use super::diagnostic::{Diagnostic, LoadError, Place, Problem, Severity, finish, join};
use super::expand::{ConfigError, Text};
use super::schema::{Backend, Config, json_schema_for};
use super::walk::Walk;
use super::yaml;
use super::{bedrock, check};
use crate::paths::Layout;
use crate::runtime::Adapters;

/// Name of the file that makes a folder a project.
pub const FILE_NAME: &str = "fracta.yaml";
/// Longest file, bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// A configuration and where it comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The project's root: the folder of the file; without one the git top level, else the working folder.
    pub root: PathBuf,
    /// None: defaults, since there is no file.
    pub file: Option<PathBuf>,
    /// What is deprecated or without effect, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    /// Where the runtimes are written.
    runtimes_at: &'static str,
    texts: Vec<Text>,
}

/// Finds, reads and checks the configuration: `explicit` (`--config`), else `fracta.yaml` in `cwd` or the
/// nearest parent that has one, else defaults. Touches nothing. Variables are not looked at: see
/// [`Text::expand`] and [`Loaded::unset`].
///
/// # Errors
/// All that is wrong with the file.
pub fn load(explicit: Option<&Path>, cwd: &Path) -> Result<Loaded, LoadError> {
    load_for(explicit, cwd, Adapters::default())
}

/// [`load`] for a program with other adapters than fracta's own.
///
/// # Errors
/// As [`load`].
pub fn load_for(explicit: Option<&Path>, cwd: &Path, adapters: Adapters) -> Result<Loaded, LoadError> {
    load_with(explicit, cwd, std::env::var_os("PATH").as_deref(), adapters)
}

/// [`load_for`] with a PATH of one's own.
pub(super) fn load_with(
    explicit: Option<&Path>,
    cwd: &Path,
    path: Option<&OsStr>,
    adapters: Adapters,
) -> Result<Loaded, LoadError> {
    let cwd = std::path::absolute(cwd).unwrap_or_else(|_| cwd.to_owned());
    let found = match explicit {
        Some(file) => Some(cwd.join(file)),
        None => find(&cwd),
    };
    let Some(file) = found else {
        let mut config = Config::default();
        detect(&mut config, path, adapters);
        let root = Layout::without_config(&cwd).root().to_owned();
        return Ok(Loaded {
            config,
            root,
            file: None,
            warnings: Vec::new(),
            runtimes_at: check::RUNTIMES,
            texts: Vec::new(),
        });
    };
    let text = read(&file).map_err(|p| LoadError { diagnostics: vec![p.into_diagnostic(&file)] })?;
    let parsed = parse(&text, adapters).map_err(|problems| diagnostics(problems, &file))?;
    let mut config = parsed.config;
    detect(&mut config, path, adapters);
    let root = file.parent().unwrap_or(&cwd).to_owned();
    let warnings = diagnostics(parsed.warnings, &file).diagnostics;
    Ok(Loaded {
        config,
        root,
        file: Some(file),
        warnings,
        runtimes_at: parsed.runtimes_at,
        texts: parsed.texts,
    })
}

/// The project's root, also where the file has errors: see [`Loaded::root`].
pub fn root(explicit: Option<&Path>, cwd: &Path) -> PathBuf {
    let cwd = std::path::absolute(cwd).unwrap_or_else(|_| cwd.to_owned());
    match explicit.map(|file| cwd.join(file)).or_else(|| find(&cwd)) {
        Some(file) => file.parent().unwrap_or(&cwd).to_owned(),
        None => Layout::without_config(&cwd).root().to_owned(),
    }
}

fn diagnostics(problems: Vec<Problem>, file: &Path) -> LoadError {
    LoadError { diagnostics: finish(problems).into_iter().map(|p| p.into_diagnostic(file)).collect() }
}

/// The nearest file upwards. One that cannot be looked at counts as found, so that the error is seen.
fn find(cwd: &Path) -> Option<PathBuf> {
    let missing = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    cwd.ancestors()
        .map(|dir| dir.join(FILE_NAME))
        .find(|file| !fs::symlink_metadata(file).is_err_and(|e| missing(&e)))
}

/// Reads a file that may be anything: a folder, a pipe that nobody writes, a hundred megabytes.
fn read(file: &Path) -> Result<String, Problem> {
    let whole = |message: String| Problem::error(None, "", message);
    let io = |e: io::Error| whole(format!("cannot read it: {e}"));
    // Not blocking: opening a pipe would else wait for its writer.
    let nonblock = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let opened: File = OpenOptions::new().read(true).custom_flags(nonblock).open(file).map_err(io)?;
    let meta = opened.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(whole("is a folder, not a file".to_owned()));
    }
    if !meta.is_file() {
        return Err(whole("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    opened.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(whole(format!("is larger than {} KiB, so it is no configuration", MAX_FILE / 1024)));
    }
    decode(bytes)
}

/// UTF-8, with or without a byte order mark.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, Problem> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::error(None, "", "is UTF-16; save it as UTF-8"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let good = String::from_utf8_lossy(good);
        let good = good.strip_prefix('\u{feff}').unwrap_or(&good);
        Problem::error(Some(Place::after(good)), "", "not UTF-8 from here on; save it as UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

pub(super) struct Parsed {
    pub config: Config,
    pub warnings: Vec<Problem>,
    pub runtimes_at: &'static str,
    pub texts: Vec<Text>,
}

/// Text to configuration, or all that is wrong with it (errors and warnings).
pub(super) fn parse(text: &str, adapters: Adapters) -> Result<Parsed, Vec<Problem>> {
    let mut syntax = Vec::new();
    let tree = yaml::parse(text, &mut syntax);
    let Some(tree) = tree.filter(|t| !matches!(t.data, yaml::Data::Null)) else {
        if syntax.is_empty() {
            let hint = "remove it, or write {} to use the defaults".to_owned();
            syntax.push(Problem::error(None, "", "the file holds no settings").hint(Some(hint)));
        }
        return Err(syntax);
    };
    let schema = json_schema_for(adapters);
    let mut walk = Walk::new(&schema);
    walk.problems = syntax;
    let value = walk.root(&tree);
    if value.is_null() {
        return Err(walk.problems);
    }
    let mut config = serde_json::from_value::<Config>(value).map_err(|e| {
        // The schema is made of the types, so this is a bug in fracta; say so rather than to hide it.
        if !walk.problems.iter().any(Problem::is_error) {
            let message =
                format!("fracta cannot use this file, and does not know why ({e}): please report it");
            walk.problems.push(Problem::error(None, "", message));
        }
        std::mem::take(&mut walk.problems)
    })?;
    let runtimes_at = check::choose_runtimes(&mut config, &mut walk);
    check::check(&config, runtimes_at, adapters, &mut walk);
    if walk.problems.iter().any(Problem::is_error) {
        return Err(walk.problems);
    }
    Ok(Parsed { config, warnings: walk.problems, runtimes_at, texts: walk.texts })
}

/// Without configured runtimes, those whose CLI is on PATH.
fn detect(config: &mut Config, path: Option<&OsStr>, adapters: Adapters) {
    if !config.agents.agent_runtimes.is_empty() {
        return;
    }
    let Some(path) = path else { return };
    let executable =
        |file: PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let there =
        |word: &str| std::env::split_paths(path).any(|dir| dir.is_absolute() && executable(dir.join(word)));
    let found = adapters.iter().filter(|a| there(a.default_command()));
    config.agents.agent_runtimes =
        found.map(|a| (a.adapter().to_owned(), RuntimeConfig::default())).collect();
}

impl Loaded {
    /// A path of the configuration, from the project's root where it is relative.
    ///
    /// # Errors
    /// A variable in it is not set.
    pub fn path(&self, text: &Text, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
        Ok(self.root.join(text.expand(env)?))
    }

    /// Values whose variables `env` does not have and that have no default: errors where a spawn without
    /// options would use them, warnings elsewhere (other runtimes, tiers, the backend that is not the default).
    pub fn unset(&self, env: &dyn Fn(&str) -> Option<String>) -> Vec<Diagnostic> {
        let file = self.file.as_deref().unwrap_or(Path::new(FILE_NAME));
        let unused = self.unused(env);
        let problems = self.texts.iter().flat_map(|text| {
            let used = !unused.iter().any(|u| u.holds(text.key()));
            let severity = if used { Severity::Error } else { Severity::Warning };
            text.unset(env)
                .into_iter()
                .map(move |m| Problem { severity, ..Problem::error(text.place(), text.key(), m) })
        });
        diagnostics(problems.collect(), file).diagnostics
    }

    /// What is allowed and most likely not meant, as far as `env` tells: warnings.
    pub fn doubts(&self, env: &dyn Fn(&str) -> Option<String>) -> Vec<Diagnostic> {
        let file = self.file.as_deref().unwrap_or(Path::new(FILE_NAME));
        diagnostics(bedrock::doubts(&self.config, env), file).diagnostics
    }

    /// The parts of the file that a spawn without options does not use.
    fn unused(&self, env: &dyn Fn(&str) -> Option<String>) -> Vec<Part> {
        let chosen = self.config.runtime(None, env).ok();
        let pods = self.config.runtime.backend == Backend::Kubernetes;
        let mut unused: Vec<Part> = ["agents.agent_runtimes", "runtimes", "hosts"]
            .into_iter()
            .map(|map| {
                let used = chosen.filter(|_| map == self.runtimes_at).map(|c| join(map, c.name));
                Part { under: map.to_owned(), except: used }
            })
            .collect();
        if let Some(chosen) = chosen {
            let own = join(self.runtimes_at, chosen.name);
            let other_env = if pods { "env" } else { "kubernetes" };
            unused.extend(["model_tiers", other_env].map(|k| Part { under: join(&own, k), except: None }));
            let profiles = "auth.credentials.profiles";
            let profile = Config::expanded(chosen.config.auth_profile.as_ref(), env).ok().flatten();
            unused.push(Part { under: profiles.to_owned(), except: profile.map(|p| join(profiles, &p)) });
        }
        if !pods {
            unused.push(Part { under: "runtime.kubernetes".to_owned(), except: None });
        }
        unused
    }
}

/// The keys under one, but for those under another.
struct Part {
    under: String,
    except: Option<String>,
}

impl Part {
    fn holds(&self, key: &str) -> bool {
        let is_under = |top: &str| {
            key.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        is_under(&self.under) && !self.except.as_deref().is_some_and(is_under)
    }
}
