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
pub use record::{ExitRecord, ProcId, RunRecord, ShimSpec};
pub use spawn::{Attached, LocalError, attach, start};

/// Bytes of stdout over all runs, as received.
pub const RAW_FILE: &str = "raw.jsonl";
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
