//! A place in a script where the model waits until a test lets it go on.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by the script (which waits at it) and a test (which opens it). Once open it stays open.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// How often a script has come to the gate.
    reached: watch::Sender<u64>,
    open: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Inner { reached: watch::Sender::new(0), open: watch::Sender::new(false) }))
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets through whoever waits, and whoever comes.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until a script stands at the gate (or has passed it).
    pub async fn reached(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.0.reached.subscribe().wait_for(|n| *n > 0).await;
    }

    /// How often a script has come to the gate.
    pub fn arrivals(&self) -> u64 {
        *self.0.reached.borrow()
    }

    /// The script's side: says that it is here and waits for the release.
    pub(super) async fn pass(&self) {
        self.0.reached.send_modify(|n| *n += 1);
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }
}
