//! fracta: one terminal for all your coding agents.
//!
//! The binary is the screen and the verbs; the engine is the library. Shims are dispatched before
//! anything else: they must stay small.
#![forbid(unsafe_code)]

mod cli;
mod tui;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|a| a.to_str()) {
        Some("shim") => fracta::backend::local::shim::main(),
        Some("shim-exec") => fracta::backend::local::shim::exec_main(),
        Some("demo-replay") => {
            let args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
            fracta::demo::replay::main(&args)
        }
        _ => cli::main(),
    }
}
