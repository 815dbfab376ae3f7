//! A runtime that nobody has, taken up in the stages of CONTRIBUTING.md, from that page alone: an adapter
//! for an invented CLI (`parrot.sh`), each stage in a file of its own and built on the one before, and driven
//! by the real engine with real processes.

mod approvals;
mod batch;
mod interrupt;
mod resume;
mod settings;
mod stream;
mod world;
