//! Where an agent's process runs. A backend never asks which protocol it carries.

pub mod local;
