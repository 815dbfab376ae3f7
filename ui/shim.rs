//! `fracta-shim`: the shim as a program of its own, which `fracta` starts where it lies beside it.
//!
//! It is the same code as `fracta shim`, without everything else: one of these runs for hours for
//! each agent, and what it maps and relocates is a fraction of the whole executable's.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(|a| a.to_str()) {
        Some("shim-exec") => fracta::backend::local::shim::exec_main(),
        // Says by itself that it is nothing to be started by hand.
        _ => fracta::backend::local::shim::main(),
    }
}
