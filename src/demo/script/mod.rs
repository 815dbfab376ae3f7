//! What the scripted model says: [`PromptScript`] does what the prompt's directives say (tests),
//! [`DemoScript`] knows the demo's contracts.

pub mod demo;
mod prompt;
mod prose;

pub use demo::DemoScript;
pub use prompt::PromptScript;
