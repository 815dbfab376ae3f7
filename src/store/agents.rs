//! Agents, answers and what was learned of the CLIs.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::control::wire::Answer;
use crate::id::AgentName;
use crate::runtime::{CliInfo, Mode};
use crate::workspace::Workspace;

/// What an agent was made with; it never changes. Holds no secret: environments are made anew from
/// the config for each process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    pub name: AgentName,
    /// fracta's session id, also the name of the session's folder.
    pub session: String,
    /// Name of the runtime entry.
    pub runtime: String,
    pub adapter: String,
    pub mode: Mode,
    pub backend: String,
    /// The model asked for; none: the CLI's own default.
    pub model: Option<String>,
    pub contract: Option<String>,
    pub workspace: Workspace,
    pub created_at: Timestamp,
    #[serde(skip)]
    pub killed_at: Option<Timestamp>,
    /// Number of the last event that a person has looked at.
    #[serde(skip)]
    pub seen: u64,
}

impl Store {
    /// Writes a new agent down. False: the name is taken by an agent that is not killed.
    pub async fn add_agent(&self, record: &AgentRecord) -> Result<bool, StoreError> {
        let json = to_json(record)?;
        let (name, session, at) =
            (record.name.to_string(), record.session.clone(), record.created_at.to_string());
        self.run(move |c| {
            let done = c.execute(
                "INSERT INTO agents(session, name, record, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![session, name, json, at],
            );
            match done {
                Ok(_) => Ok(true),
                Err(rusqlite::Error::SqliteFailure(e, _))
                    if e.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    Ok(false)
                }
                Err(e) => Err(e.into()),
            }
        })
        .await
    }

    /// All agents in the order of their making, killed ones too.
    pub async fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        self.run(|c| {
            let mut s =
                c.prepare("SELECT record, killed_at, seen FROM agents ORDER BY created_at, session")?;
            let rows = s.query_map([], |r| {
                Ok((r.get::<_, String>(0)?, r.get::<_, Option<String>>(1)?, r.get::<_, i64>(2)?))
            })?;
            rows.map(|row| {
                let (json, killed, seen) = row?;
                let mut a: AgentRecord = from_json(&json)?;
                a.killed_at = killed
                    .map(|t| t.parse())
                    .transpose()
                    .map_err(|e: jiff::Error| StoreError::Corrupt(e.to_string()))?;
                a.seen = u64::try_from(seen).unwrap_or(0);
                Ok(a)
            })
            .collect()
        })
        .await
    }

    /// Marks an agent as killed: its name is free again, its journal stays.
    pub async fn kill_agent(&self, session: &str, at: Timestamp) -> Result<(), StoreError> {
        let (session, at) = (session.to_owned(), at.to_string());
        self.run(move |c| {
            c.execute("UPDATE agents SET killed_at = ?2 WHERE session = ?1", params![session, at])?;
            Ok(())
        })
        .await
    }

    /// Forgets a session and all that belongs to it.
    pub async fn forget_session(&self, session: &str) -> Result<(), StoreError> {
        let session = session.to_owned();
        self.run(move |c| {
            let t = c.transaction()?;
            for table in ["agents", "messages", "answers"] {
                t.execute(&format!("DELETE FROM {table} WHERE session = ?1"), [&session])?;
            }
            Ok(t.commit()?)
        })
        .await
    }

    pub async fn set_seen(&self, session: &str, seq: u64) -> Result<(), StoreError> {
        let session = session.to_owned();
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        self.run(move |c| {
            c.execute("UPDATE agents SET seen = max(seen, ?2) WHERE session = ?1", params![session, seq])?;
            Ok(())
        })
        .await
    }

    /// Writes an answer down before it is sent, so that a restart can send it again. False: the
    /// request has an answer already.
    pub async fn add_answer(
        &self,
        session: &str,
        approval: &str,
        answer: &Answer,
    ) -> Result<bool, StoreError> {
        let json = to_json(answer)?;
        let (session, approval) = (session.to_owned(), approval.to_owned());
        self.run(move |c| {
            let n = c.execute(
                "INSERT OR IGNORE INTO answers(session, approval, answer) VALUES (?1, ?2, ?3)",
                params![session, approval, json],
            )?;
            Ok(n == 1)
        })
        .await
    }

    /// Takes an answer back that could not be given.
    pub async fn drop_answer(&self, session: &str, approval: &str) -> Result<(), StoreError> {
        let (session, approval) = (session.to_owned(), approval.to_owned());
        self.run(move |c| {
            c.execute(
                "DELETE FROM answers WHERE session = ?1 AND approval = ?2",
                params![session, approval],
            )?;
            Ok(())
        })
        .await
    }

    /// The answers given in a session: (approval, answer).
    pub async fn answers(&self, session: &str) -> Result<Vec<(String, Answer)>, StoreError> {
        let session = session.to_owned();
        self.run(move |c| {
            let mut s = c.prepare("SELECT approval, answer FROM answers WHERE session = ?1")?;
            let rows = s.query_map([session], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
            rows.map(|row| {
                let (id, json) = row?;
                Ok((id, from_json(&json)?))
            })
            .collect()
        })
        .await
    }

    /// What was learned of the CLI at `path`, if the file is still the one of that `stamp`.
    pub async fn probe(&self, path: &str, stamp: &str) -> Result<Option<CliInfo>, StoreError> {
        let (path, stamp) = (path.to_owned(), stamp.to_owned());
        self.run(move |c| {
            let json: Option<String> = c
                .query_row("SELECT info FROM probes WHERE path = ?1 AND stamp = ?2", [path, stamp], |r| {
                    r.get(0)
                })
                .optional()?;
            json.map(|j| from_json(&j)).transpose()
        })
        .await
    }

    pub async fn set_probe(&self, path: &str, stamp: &str, info: &CliInfo) -> Result<(), StoreError> {
        let json = to_json(info)?;
        let (path, stamp) = (path.to_owned(), stamp.to_owned());
        self.run(move |c| {
            c.execute(
                "INSERT OR REPLACE INTO probes(path, stamp, info) VALUES (?1, ?2, ?3)",
                [path, stamp, json],
            )?;
            Ok(())
        })
        .await
    }
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Corrupt(e.to_string()))
}
