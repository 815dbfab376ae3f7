//! What the scripted model says: [`PromptScript`] does what the prompt's directives say.

mod prompt;
mod prose;

pub use prompt::PromptScript;
