//! Agents from end to end: the real `fracta`, a real control plane, real shims, the real Codex.
//! Modules whose tests start a real CLI have `real_cli` in their names (see `.config/nextest.toml`).

mod batch_real_cli;
