//! The tables, and how an older database becomes a newer one.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// One entry for each version of the schema, applied in order; `user_version` counts them.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE agents (
        session     TEXT PRIMARY KEY,
        name        TEXT NOT NULL,
        record      TEXT NOT NULL,
        created_at  TEXT NOT NULL,
        killed_at   TEXT,
        seen        INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE UNIQUE INDEX agents_live_name ON agents(name) WHERE killed_at IS NULL;
    CREATE TABLE messages (
        id       TEXT PRIMARY KEY,
        session  TEXT NOT NULL,
        place    INTEGER NOT NULL,
        text     TEXT NOT NULL,
        steer    INTEGER NOT NULL,
        status   TEXT NOT NULL
    ) STRICT;
    CREATE INDEX messages_of ON messages(session, place);
    CREATE TABLE answers (
        session   TEXT NOT NULL,
        approval  TEXT NOT NULL,
        answer    TEXT NOT NULL,
        PRIMARY KEY (session, approval)
    ) STRICT;
    CREATE TABLE probes (
        path  TEXT PRIMARY KEY,
        stamp TEXT NOT NULL,
        info  TEXT NOT NULL
    ) STRICT;
"];

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let open_error = |source| StoreError::Open { path: path.display().to_string(), source };
    private_file(path)?;
    let mut c = Connection::open(path).map_err(open_error)?;
    c.busy_timeout(std::time::Duration::from_secs(5)).map_err(open_error)?;
    // WAL: a commit is one append; NORMAL: a power cut may lose the last commits, never the file.
    c.pragma_update(None, "journal_mode", "WAL").map_err(open_error)?;
    c.pragma_update(None, "synchronous", "NORMAL").map_err(open_error)?;
    c.pragma_update(None, "cache_size", -512).map_err(open_error)?;
    let found: i64 = c.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(open_error)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.display().to_string(), found, known });
    }
    for (i, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let t = c.transaction().map_err(open_error)?;
        t.execute_batch(sql).map_err(open_error)?;
        t.pragma_update(None, "user_version", i as i64 + 1).map_err(open_error)?;
        t.commit().map_err(open_error)?;
    }
    Ok(c)
}

/// SQLite makes its files (the WAL too) with the rights of the main one: make that one private first.
fn private_file(path: &Path) -> Result<(), StoreError> {
    let io = |e: std::io::Error| StoreError::Open {
        path: path.display().to_string(),
        source: rusqlite::Error::ToSqlConversionFailure(Box::new(e)),
    };
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)
}
