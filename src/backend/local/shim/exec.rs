//! The step between the shim and the agent (Linux): `fracta shim-exec PARENT FD PROGRAM ARGS…`.
//!
//! The agent must die with its shim, even if that is killed with SIGKILL, since nobody would read its
//! output or end it any more. Linux has `PR_SET_PDEATHSIG` for this, but it must be set by the child
//! itself; doing it between fork and exec needs unsafe code. So the child first is this program, sets
//! it, and becomes the agent: same process id, and an argv that holds no more than the agent's own.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
pub(super) fn main() -> ExitCode {
    ExitCode::FAILURE
}

/// `FD` is a pipe inherited from the shim: an exec that fails writes the reason there, one that
/// succeeds closes it.
#[cfg(target_os = "linux")]
pub(super) fn main() -> ExitCode {
    use std::io::Write;
    use std::os::unix::process::CommandExt;

    let mut args = std::env::args_os().skip(2);
    let mut number = || args.next()?.to_str()?.parse::<i32>().ok();
    let (Some(parent), Some(fd)) = (number(), number()) else { return ExitCode::FAILURE };
    let Some(program) = args.next() else { return ExitCode::FAILURE };
    // Opened anew, the pipe closes by itself when the agent takes over; the inherited end would not.
    let Ok(mut report) = std::fs::File::options().write(true).open(format!("/proc/self/fd/{fd}")) else {
        return ExitCode::FAILURE;
    };
    let _ = nix::unistd::close(fd);
    if let Err(e) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL) {
        let _ = write!(report, "cannot tie it to its shim: {e}");
        return ExitCode::FAILURE;
    }
    // The shim may have died before the line above.
    if nix::unistd::getppid().as_raw() != parent {
        return ExitCode::FAILURE;
    }
    let error = std::process::Command::new(&program).args(args).exec();
    let _ = write!(report, "{}", super::start::describe(&program, &error));
    ExitCode::from(127)
}
