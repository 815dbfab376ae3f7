//! Starting the agent's process.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::backend::local::record::ShimSpec;

/// For people: why a program could not be run.
pub(super) fn describe(program: &OsStr, error: &io::Error) -> String {
    let name = program.display();
    match error.kind() {
        io::ErrorKind::NotFound if !program.as_encoded_bytes().contains(&b'/') => {
            format!("{name} was not found on the PATH of its environment")
        }
        _ => format!("cannot run {name}: {error}"),
    }
}

/// Starts the agent in a process group of its own, with its stdout a pipe, its stderr the file.
/// `Err` holds the words for [`crate::transport::Exit::spawn_error`].
pub(super) fn agent(spec: &ShimSpec, marker: &str, stderr: File) -> Result<Child, String> {
    let Some((program, args)) = spec.argv.split_first() else {
        return Err("no program was named".to_owned());
    };
    if !spec.cwd.is_dir() {
        return Err(format!("its working folder {} is not there", spec.cwd.display()));
    }
    let dress = |command: &mut Command| {
        command
            .env_clear()
            .envs(spec.env.iter().map(|(k, v)| (k, v)))
            .env(crate::backend::local::MARKER_ENV, marker)
            .current_dir(&spec.cwd)
            .stdin(if spec.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0);
    };
    system::spawn(program, args, dress)
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::{OsStr, OsString};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    /// Longest reason that is read.
    const LONGEST: u64 = 4096;

    pub fn spawn(
        program: &OsStr,
        args: &[OsString],
        dress: impl FnOnce(&mut Command),
    ) -> Result<Child, String> {
        let failed = |what: &str, e: &dyn std::fmt::Display| format!("cannot {what}: {e}");
        // Made inheritable: see `exec`.
        let (mine, theirs) = nix::unistd::pipe().map_err(|e| failed("make a pipe", &e))?;
        fcntl(&mine, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|e| failed("set up a pipe", &e))?;
        // This very program, even if its file was replaced by an update meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("fracta")
            .arg("shim-exec")
            .arg(std::process::id().to_string())
            .arg(theirs.as_raw_fd().to_string())
            .arg(program)
            .args(args);
        dress(&mut command);
        let mut child = command.spawn().map_err(|e| super::describe(program, &e))?;
        drop(command);
        drop(theirs);
        let mut reason = String::new();
        let _ = File::from(mine).take(LONGEST).read_to_string(&mut reason);
        if reason.is_empty() {
            return Ok(child);
        }
        let _ = child.wait();
        Err(reason)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::{OsStr, OsString};
    use std::process::{Child, Command};

    /// Here the agent outlives a shim that is killed with SIGKILL, until a control plane attaches
    /// and ends it.
    pub fn spawn(
        program: &OsStr,
        args: &[OsString],
        dress: impl FnOnce(&mut Command),
    ) -> Result<Child, String> {
        let mut command = Command::new(program);
        command.args(args);
        dress(&mut command);
        command.spawn().map_err(|e| super::describe(program, &e))
    }
}
