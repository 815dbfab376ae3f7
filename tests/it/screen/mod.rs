//! The whole screen in a real pseudo-terminal, driven by keys.

mod demo_real_cli;
mod drive_real_cli;
mod escapes;
mod flood;
mod hostile_real_cli;
mod idle_real_cli;
mod inbox_real_cli;
mod loss_real_cli;
pub mod pty;
mod restore_real_cli;
mod sizes_real_cli;
