//! The local backend: agents as processes of this machine, each owned by a shim.
//!
//! A shim (`fracta shim`, [`shim::main`]) is a small process that owns one run of one agent process,
//! so that the control plane may die and return without the agent noticing. The control plane starts
//! it ([`start`]) or finds it again ([`attach`]) and talks to it through
//! [`crate::transport::stdio::Shim`].
//!
//! In the session's folder (0700, made by the caller; all files 0600):
//!
//! | file | holds |
//! |---|---|
//! | `raw.jsonl` | the agent's stdout as received, appended over the runs. The living shim holds it locked |
//! | `stdout.log` | of an agent that is a server ([`StdoutTo::Log`]): its stdout, of this run. `raw.jsonl` is then written by the control plane ([`crate::transport::http`]), and the shim only holds it locked |
//! | `http.json` | of such an agent: how it is talked to, with its password |
//! | `link.lock` | locked by who writes `raw.jsonl` of such an agent |
//! | `stderr.log` | the agent's stderr, appended. The agent writes it itself |
//! | `run.json` | [`RunRecord`]: which run this is, and who owns it |
//! | `exit.json` | [`ExitRecord`]: written when the run is over and nothing of it is left |
//! | `shim.sock` | the control socket ([`frame`]); elsewhere where the path is too long |

pub mod frame;
mod link;
pub mod record;
pub mod shim;
mod spawn;
pub mod tree;

pub use link::Local;
pub use record::{ExitRecord, ProcId, RunRecord, ShimSpec, StdoutTo};
pub use spawn::{Attached, LocalError, attach, start, unfinished};

/// Bytes of stdout over all runs, as received.
pub const RAW_FILE: &str = "raw.jsonl";
/// Stdout of a server, of its newest run.
pub const STDOUT_FILE: &str = "stdout.log";
/// How a server is talked to: [`crate::transport::http::Endpoint`].
pub const HTTP_FILE: &str = "http.json";
/// Locked by the writer of a server's `raw.jsonl`.
pub const LINK_LOCK: &str = "link.lock";
/// Bytes of stderr over all runs.
pub const STDERR_FILE: &str = "stderr.log";
/// The newest run's [`RunRecord`].
pub const RUN_FILE: &str = "run.json";
/// The newest finished run's [`ExitRecord`].
pub const EXIT_FILE: &str = "exit.json";
/// Name of the control socket, see [`crate::paths::socket_path`].
pub const SOCKET: &str = "shim.sock";
/// Variable in the environment of every process of a run, by which they are found again after the
/// shim was killed. Its value is [`RunRecord::marker`]; it is no secret.
pub const MARKER_ENV: &str = "FRACTA_RUN";
