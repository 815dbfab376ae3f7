//! The `fracta` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("shim") => fracta::backend::local::shim::main(),
        Some("shim-exec") => fracta::backend::local::shim::exec_main(),
        _ => ExitCode::FAILURE,
    }
}
