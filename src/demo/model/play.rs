//! Plays the steps of a reply into the body of an HTTP response.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Step;
use super::dialect::{Dialect, Event};
use super::turn::Turn;

/// Pieces of the body on their way to the client. An error drops the connection.
pub(super) type Body = mpsc::Sender<io::Result<Bytes>>;

/// The client is gone, the server stops, or the script cut the connection: nothing more to play.
struct Over;

/// One reply on its way.
pub(super) struct Player {
    pub dialect: Box<dyn Dialect>,
    pub body: Body,
    pub turn: Turn,
    pub stop: CancellationToken,
}

impl Player {
    /// Plays until the first tool call or the end. Every wait ends when the client goes away or the
    /// server is dropped.
    pub async fn play(mut self, steps: Vec<Step>) {
        if self.steps(steps).await.is_err() {
            // What is sent here reaches a client only after a cut: its connection breaks off.
            let cut = io::Error::new(io::ErrorKind::ConnectionAborted, "the script cut the connection");
            let _ = self.body.send(Err(cut)).await;
        }
    }

    async fn steps(&mut self, steps: Vec<Step>) -> Result<(), Over> {
        let opening = self.dialect.open();
        self.send(opening).await?;
        for step in steps {
            if step.calls_tool() {
                let calls = if let Step::Together(all) = step { all } else { vec![step] };
                let mut called = false;
                for call in &calls {
                    called |= self.call(call).await?;
                }
                if called {
                    break;
                }
                continue;
            }
            match step {
                Step::Text { text, chunk, delay } => self.text(&text, chunk, delay).await?,
                Step::Reasoning { text } => {
                    let events = self.dialect.reasoning(&text);
                    self.send(events).await?;
                }
                Step::Gate(gate) => self.wait(gate.pass()).await?,
                Step::Hang => self.wait(std::future::pending()).await?,
                Step::Error { status, body } => {
                    let events = self.dialect.failed(status, &body);
                    return self.send(events).await;
                }
                Step::Cut => return Err(Over),
                // Tool calls are handled above.
                Step::Shell { .. }
                | Step::Ask { .. }
                | Step::Write { .. }
                | Step::Plan { .. }
                | Step::Tool { .. }
                | Step::Together(_) => {}
            }
        }
        let closing = self.dialect.close();
        self.send(closing).await
    }

    /// Calls a step's tool; false where the caller offers none for it, which is said instead.
    async fn call(&mut self, step: &Step) -> Result<bool, Over> {
        match self.dialect.translate(step, &self.turn) {
            Ok(call) => {
                let events = self.dialect.call(&call);
                self.send(events).await?;
                Ok(true)
            }
            Err(text) => self.text(&text, usize::MAX, Duration::ZERO).await.map(|()| false),
        }
    }

    async fn text(&mut self, text: &str, chunk: usize, delay: Duration) -> Result<(), Over> {
        let begin = self.dialect.text_begin();
        self.send(begin).await?;
        let mut rest = text;
        while !rest.is_empty() {
            let cut = rest.char_indices().nth(chunk.max(1)).map_or(rest.len(), |(i, _)| i);
            let (piece, after) = rest.split_at(cut);
            let event = self.dialect.text_piece(piece);
            self.send(vec![event]).await?;
            rest = after;
            if !delay.is_zero() && !rest.is_empty() {
                self.wait(tokio::time::sleep(delay)).await?;
            }
        }
        let end = self.dialect.text_end();
        self.send(end).await
    }

    async fn send(&self, events: Vec<Event>) -> Result<(), Over> {
        let mut bytes = Vec::new();
        for (name, data) in events {
            bytes.append(&mut self.dialect.frame(name, &data));
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(Over),
            sent = self.body.send(Ok(bytes.into())) => sent.map_err(|_| Over),
        }
    }

    async fn wait(&self, what: impl Future<Output = ()>) -> Result<(), Over> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Over),
            () = self.body.closed() => Err(Over),
            () = what => Ok(()),
        }
    }
}
