//! Messages of people on their way to a runtime.

use rusqlite::params;

use super::{Store, StoreError};

/// How far a message got. What became of it is told by events; this is what a restart needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageStatus {
    /// Held by fracta.
    Queued,
    /// Written down as handed to the runtime, before it was; no answer yet.
    Sent,
    /// As sent, and told to be unconfirmed; an answer may still come.
    Doubtful,
}

impl MessageStatus {
    fn word(self) -> &'static str {
        match self {
            MessageStatus::Queued => "queued",
            MessageStatus::Sent => "sent",
            MessageStatus::Doubtful => "doubtful",
        }
    }
}

/// A message whose fate is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    pub id: String,
    pub text: String,
    /// Meant for the running turn.
    pub steer: bool,
    pub status: MessageStatus,
}

impl MessageRecord {
    /// A message that nobody has got yet, with an id of its own.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new(text: String, steer: bool) -> Result<Self, getrandom::Error> {
        Ok(Self { id: crate::id::random("m")?, text, steer, status: MessageStatus::Queued })
    }
}

impl Store {
    pub async fn add_message(&self, session: &str, message: &MessageRecord) -> Result<(), StoreError> {
        let (session, m) = (session.to_owned(), message.clone());
        self.run(move |c| {
            c.execute(
                "INSERT INTO messages(id, session, place, text, steer, status)
                 SELECT ?1, ?2, 1 + coalesce(max(place), 0), ?3, ?4, ?5 FROM messages WHERE session = ?2",
                params![m.id, session, m.text, m.steer, m.status.word()],
            )?;
            Ok(())
        })
        .await
    }

    pub async fn set_message(&self, id: &str, status: MessageStatus) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.run(move |c| {
            c.execute("UPDATE messages SET status = ?2 WHERE id = ?1", [id.as_str(), status.word()])?;
            Ok(())
        })
        .await
    }

    /// Its fate is settled and told by an event.
    pub async fn message_settled(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.run(move |c| {
            c.execute("DELETE FROM messages WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    /// The sessions with unsettled messages, and whether one of them was handed over to begin a turn;
    /// in the order of their oldest messages.
    pub async fn waiting_sessions(&self) -> Result<Vec<(String, bool)>, StoreError> {
        self.run(|c| {
            let mut s = c.prepare(
                "SELECT session, max(status <> 'queued' AND NOT steer) FROM messages
                 GROUP BY session ORDER BY min(rowid)",
            )?;
            let rows = s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The unsettled messages of a session, oldest first.
    pub async fn messages(&self, session: &str) -> Result<Vec<MessageRecord>, StoreError> {
        let session = session.to_owned();
        self.run(move |c| {
            let mut s =
                c.prepare("SELECT id, text, steer, status FROM messages WHERE session = ?1 ORDER BY place")?;
            let rows = s.query_map([session], |r| {
                let status: String = r.get(3)?;
                Ok(MessageRecord {
                    id: r.get(0)?,
                    text: r.get(1)?,
                    steer: r.get(2)?,
                    status: match status.as_str() {
                        "queued" => MessageStatus::Queued,
                        "sent" => MessageStatus::Sent,
                        _ => MessageStatus::Doubtful,
                    },
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
