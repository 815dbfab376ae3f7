//! What a shim is told, and what it writes down.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::transport::Exit;

/// What to run. Travels through the shim's stdin, never through argv. The values of variables are overwritten when
/// it is dropped.
#[derive(Clone, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The session's folder: absolute, there, 0700.
    pub session_dir: PathBuf,
    /// 1 for the first run of a session, then 2, …
    pub run: u32,
    /// Program (looked up on the PATH of `env`) and arguments.
    #[serde(with = "words")]
    pub argv: Vec<OsString>,
    pub cwd: PathBuf,
    /// The whole environment: nothing is inherited. [`super::MARKER_ENV`] is added.
    #[serde(with = "pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// False: the agent's stdin is `/dev/null`.
    pub stdin: bool,
    /// Where its stdout goes.
    #[serde(default)]
    pub stdout: StdoutTo,
}

impl std::fmt::Debug for ShimSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("ShimSpec")
            .field("session_dir", &self.session_dir)
            .field("run", &self.run)
            .field("argv", &self.argv)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

impl Drop for ShimSpec {
    fn drop(&mut self) {
        crate::backend::wipe(&mut self.env);
    }
}

/// Where an agent's stdout goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdoutTo {
    /// To `raw.jsonl`: it is what the agent says.
    #[default]
    Raw,
    /// To `stdout.log`: the agent is a server, and says what it has to say elsewhere.
    Log,
}

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcId {
    pub pid: i32,
    /// When it started. Linux: clock ticks since boot. Elsewhere: a number that differs between
    /// processes started in different seconds.
    pub start: u64,
}

/// `run.json`: the newest run of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub run: u32,
    pub shim: ProcId,
    /// None: not started yet, or could not be started.
    pub agent: Option<ProcId>,
    /// Names the boot of the machine in which the process ids mean something.
    pub boot: String,
    /// Value of [`super::MARKER_ENV`] in this run.
    pub marker: String,
    /// Length of `raw.jsonl` when the run began: its bytes lie from here.
    pub raw_start: u64,
    /// Length of `stderr.log` when the run began.
    pub stderr_start: u64,
    /// The control socket. Written down, since a later control plane may compute another place.
    pub socket: PathBuf,
}

/// `exit.json`: how a run ended. When it is there, no process of the run is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub run: u32,
    pub exit: Exit,
    /// Length of `raw.jsonl` after the run's last byte.
    pub raw_len: u64,
    /// Length of `stderr.log` after the run.
    pub stderr_len: u64,
}

/// Writes JSON so that a reader sees the old file or the new one, never a part. Mode 0600. The caller
/// is the only writer. After a power cut the file may be the old one, or empty: see [`sync`].
pub(super) fn write_atomic<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let tmp = path.with_extension("json.tmp");
    let mut file = private().write(true).truncate(true).open(&tmp)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    fs::rename(&tmp, path)
}

/// Makes a file outlast a power cut. It takes milliseconds, for which nobody who waits should wait.
pub(super) fn sync(path: &Path) {
    // What cannot be synced is no worse than what was not yet.
    let _ = File::open(path).and_then(|f| f.sync_all());
}

/// Reads what [`write_atomic`] wrote; none if the file is not there, or a power cut left it empty.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens a file for appending, made with mode 0600.
pub(super) fn append(path: &Path) -> io::Result<File> {
    private().append(true).open(path)
}

fn private() -> fs::OpenOptions {
    let mut o = File::options();
    o.create(true).mode(0o600);
    o
}

/// A word of argv or the environment: JSON text, or a list of bytes where it is not UTF-8.
struct Word<'a>(&'a OsStr);

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => s.serialize_str(text),
            None => self.0.as_bytes().serialize(s),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OwnWord {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<OwnWord> for OsString {
    fn from(w: OwnWord) -> Self {
        match w {
            OwnWord::Text(t) => t.into(),
            OwnWord::Bytes(b) => OsString::from_vec(b),
        }
    }
}

mod words {
    use super::{Deserialize, Deserializer, OsString, OwnWord, Serializer, Word};

    pub fn serialize<S: Serializer>(v: &[OsString], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(v.iter().map(|w| Word(w)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<OsString>, D::Error> {
        Ok(Vec::<OwnWord>::deserialize(d)?.into_iter().map(Into::into).collect())
    }
}

mod pairs {
    use super::{Deserialize, Deserializer, OsString, OwnWord, Serializer, Word};

    pub fn serialize<S: Serializer>(v: &[(OsString, OsString)], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(v.iter().map(|(k, v)| (Word(k), Word(v))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(OsString, OsString)>, D::Error> {
        let all = Vec::<(OwnWord, OwnWord)>::deserialize(d)?;
        Ok(all.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_spec_keeps_words_that_are_not_utf8() {
        let odd = OsString::from_vec(vec![b'a', 0xff, b'"']);
        let spec = ShimSpec {
            session_dir: "/s".into(),
            run: 3,
            argv: vec!["x".into(), odd.clone()],
            cwd: "/".into(),
            env: vec![("K".into(), odd.clone()), ("é".into(), "\n".into())],
            stdin: true,
            stdout: StdoutTo::Log,
        };
        let back: ShimSpec = serde_json::from_slice(&serde_json::to_vec(&spec).unwrap()).unwrap();
        assert_eq!(back.argv, spec.argv);
        assert_eq!(back.env, spec.env);
        assert_eq!(back.stdout, spec.stdout);
    }

    #[test]
    fn records_are_replaced_whole_and_private() {
        let t = tempfile::tempdir().unwrap();
        let path = t.path().join("exit.json");
        assert_eq!(read::<ExitRecord>(&path).unwrap(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(read::<ExitRecord>(&path).unwrap(), None, "as a power cut may leave it");
        fs::remove_file(&path).unwrap();
        let exit = Exit { code: Some(1), signal: None, spawn_error: None };
        for run in [1, 2] {
            let record = ExitRecord { run, exit: exit.clone(), raw_len: 7, stderr_len: 0 };
            write_atomic(&path, &record).unwrap();
            assert_eq!(read(&path).unwrap(), Some(record));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(t.path()).unwrap().count(), 1, "no temporary file stays");
    }
}
