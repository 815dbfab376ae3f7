//! Deleting journals that nobody needs any more.

use std::fs;
use std::path::Path;

use super::plane::Plane;
use crate::control::wire::{Code, Kill, Problem, Prune, Pruned};
use crate::session::entry::Entry;
use crate::session::supervisor::{Ask, problem};

impl Plane {
    /// Deletes the journals of killed and finished agents that ended longer ago than asked. A finished
    /// agent is killed first, as `fracta kill` does: one whose work would be lost is left.
    pub(super) async fn prune(&self, prune: &Prune) -> Result<Pruned, Problem> {
        let mut done = Pruned { sessions: 0, bytes: 0, kept: Vec::new() };
        let now = jiff::Timestamp::now();
        for entry in self.entries(true) {
            let (killed, over, updated) = {
                let live = entry.live();
                (live.killed, live.shown().is_final(), live.updated_at)
            };
            let ended = entry.record.killed_at.unwrap_or(updated);
            let age = now.duration_since(ended).as_secs().max(0).unsigned_abs();
            if !(killed || over) || age < prune.older_than_secs {
                continue;
            }
            if !killed
                && let Err(p) =
                    super::routes::ask(&entry, |reply| Ask::Kill { kill: Kill::default(), reply }).await
            {
                done.kept.push(format!("{}: {}", entry.record.name, p.message));
                continue;
            }
            done.bytes += self.delete(&entry).await?;
            done.sessions += 1;
        }
        Ok(done)
    }

    /// Deletes a killed agent's journal; gives its size.
    async fn delete(&self, entry: &Entry) -> Result<u64, Problem> {
        let session = &entry.record.session;
        let bytes = size(&entry.dir);
        match fs::remove_dir_all(&entry.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let text = format!("cannot delete {}: {e}", entry.dir.display());
                return Err(problem(Code::Internal, text));
            }
            _ => {}
        }
        let forgotten = self.env.store.forget_session(session).await;
        forgotten.map_err(|e| problem(Code::Internal, e.to_string()))?;
        self.remove(session);
        Ok(bytes)
    }
}

/// Bytes of the files in a folder.
fn size(dir: &Path) -> u64 {
    let Ok(files) = fs::read_dir(dir) else { return 0 };
    files.flatten().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum()
}
