//! Telling what went wrong, and the exit status: 2 for bad usage or config, 1 otherwise.

use std::process::ExitCode;

use fracta::control::client::ClientError;
use fracta::control::connect::ConnectError;
use fracta::control::server::ServeError;
use fracta::control::wire::{Code, Problem};

use super::out;

/// Bad usage that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Reports an error on stderr (as JSON with `--json`) and gives the exit status.
pub fn failure(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = code(error);
    let message = format!("{error:#}");
    if json {
        let problem = Problem { code, message };
        match fracta::event::encode::json(&problem) {
            Ok(line) => out::note(&String::from_utf8_lossy(&line)),
            Err(_) => out::note(&problem.message),
        }
    } else {
        out::note(&format!("fracta: {message}"));
    }
    ExitCode::from(if code == Code::BadRequest { 2 } else { 1 })
}

fn code(error: &anyhow::Error) -> Code {
    for cause in error.chain() {
        if cause.is::<Usage>() || cause.is::<fracta::config::LoadError>() {
            return Code::BadRequest;
        }
        if let Some(ServeError::Config(_)) = cause.downcast_ref() {
            return Code::BadRequest;
        }
        let client = cause.downcast_ref::<ClientError>().or_else(|| match cause.downcast_ref() {
            Some(ConnectError::Client(c)) => Some(c),
            _ => None,
        });
        if let Some(code) = client.and_then(ClientError::code) {
            return code;
        }
    }
    Code::Internal
}
