//! What `fracta` costs as a whole: the real executable on a pseudo-terminal of 120×40, its control
//! plane and its shims, with agents that speak the Codex app server's protocol as fast as they are told.
//!
//!     cargo bench --bench whole [-- [SCENARIO…] [--quick] [--json]]
//!
//! It judges nothing and always exits with 0: each figure stands beside the one that is wanted. The
//! agents of the load run on the same machine, and their work is in every figure under load.
//! `FRACTA_BENCH_EXE` names another executable, to compare two. With `FRACTA_BENCH_CLIS` (a folder with
//! `claude`, `codex` and `opencode`) `spawn` measures the real CLIs too, with a scripted model behind them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

mod agent;
mod figures;
mod proc;
mod project;
mod scenarios;
mod screen;
mod spawn;

use std::io::Write;

use figures::Report;

/// Nanoseconds of a clock that all processes of this machine share.
pub fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "agent") {
        return agent::main(&args[1..]);
    }
    // Cargo's own.
    args.retain(|a| a != "--bench");
    let json = args.iter().any(|a| a == "--json");
    let quick = args.iter().any(|a| a == "--quick");
    args.retain(|a| !a.starts_with("--"));
    let exe = std::env::var_os("FRACTA_BENCH_EXE").unwrap_or_else(|| env!("CARGO_BIN_EXE_fracta").into());
    let mut report = Report::new(json);
    let plan = scenarios::Plan { exe: exe.into(), quick };
    for (name, run) in scenarios::ALL {
        if args.is_empty() || args.iter().any(|a| a == name) {
            run(&plan, &mut report);
        }
    }
    let text = report.end();
    let _ = std::io::stdout().write_all(text.as_bytes());
}
