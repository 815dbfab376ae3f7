//! What must outlive the control plane besides journals: agents, messages on their way, answers to
//! approvals. SQLite in `.fracta/state.db`, one connection on one thread; callers await its answers.

mod agents;
mod messages;
mod schema;

pub use agents::AgentRecord;
pub use messages::{MessageRecord, MessageStatus};

use std::path::Path;

use rusqlite::Connection;
use tokio::sync::mpsc;

/// Jobs that may wait for the database thread; more callers wait for a place.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Open { path: String, source: rusqlite::Error },
    #[error(
        "{path} was written by a newer fracta (schema {found}, this one knows {known}); use that version, or move the file away to begin anew"
    )]
    Newer { path: String, found: i64, known: i64 },
    #[error("state database: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("state database: a stored value cannot be read: {0}")]
    Corrupt(String),
    #[error("the state database's thread is gone")]
    Gone,
    #[error("cannot start the state database's thread: {0}")]
    Thread(std::io::Error),
}

/// Handle on the database; cheap to clone. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens or makes the database and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = schema::open(path)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(StoreError::Thread)?;
        Ok(Self { jobs })
    }

    /// Runs `f` on the database thread.
    async fn run<T, F>(&self, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move |c| {
            // The caller may have gone; the work is done all the same.
            let _ = tx.send(f(c));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Gone)?;
        rx.await.map_err(|_| StoreError::Gone)?
    }
}
