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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::Answer;
    use crate::event::Decision;

    fn message(id: &str) -> MessageRecord {
        MessageRecord {
            id: id.into(),
            text: format!("text of {id}"),
            steer: false,
            status: MessageStatus::Queued,
        }
    }

    #[tokio::test]
    async fn messages_keep_their_order_and_status_over_a_restart() {
        let t = tempfile::tempdir().unwrap();
        let path = t.path().join("state.db");
        let store = Store::open(&path).unwrap();
        for id in ["m-c", "m-a", "m-b"] {
            store.add_message("s-1", &message(id)).await.unwrap();
        }
        store.add_message("s-2", &message("m-x")).await.unwrap();
        store.set_message("m-c", MessageStatus::Sent).await.unwrap();
        store.message_settled("m-a").await.unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        let found = store.messages("s-1").await.unwrap();
        let told: Vec<_> = found.iter().map(|m| (m.id.as_str(), m.status)).collect();
        assert_eq!(told, [("m-c", MessageStatus::Sent), ("m-b", MessageStatus::Queued)]);
        store.forget_session("s-1").await.unwrap();
        assert!(store.messages("s-1").await.unwrap().is_empty());
        assert_eq!(store.messages("s-2").await.unwrap().len(), 1, "other sessions are left alone");
    }

    #[tokio::test]
    async fn an_approval_is_answered_once() {
        let t = tempfile::tempdir().unwrap();
        let store = Store::open(&t.path().join("state.db")).unwrap();
        let yes = Answer { approval: Some("a1-0".into()), decision: Decision::Approved, answers: None };
        let no = Answer { decision: Decision::Denied, ..yes.clone() };
        assert!(store.add_answer("s", "a1-0", &yes).await.unwrap());
        assert!(!store.add_answer("s", "a1-0", &no).await.unwrap(), "the first answer stands");
        assert_eq!(store.answers("s").await.unwrap(), [("a1-0".to_owned(), yes)]);
        store.drop_answer("s", "a1-0").await.unwrap();
        assert!(store.add_answer("s", "a1-0", &no).await.unwrap());
    }

    #[test]
    fn a_database_of_a_newer_fracta_is_left_alone() {
        let t = tempfile::tempdir().unwrap();
        let path = t.path().join("state.db");
        drop(Store::open(&path).unwrap());
        let c = Connection::open(&path).unwrap();
        c.pragma_update(None, "user_version", 99).unwrap();
        let Err(e) = Store::open(&path) else { panic!("opened") };
        assert!(matches!(e, StoreError::Newer { found: 99, .. }), "{e}");
    }

    #[test]
    fn the_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let t = tempfile::tempdir().unwrap();
        let store = Store::open(&t.path().join("state.db")).unwrap();
        for file in std::fs::read_dir(t.path()).unwrap().flatten() {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.file_name());
        }
        drop(store);
    }
}
