//! The control plane: `fracta serve` owns agents, journals and backends; everything else is its client.

pub mod client;
pub mod connect;
pub mod server;
pub mod wire;
