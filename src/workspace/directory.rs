//! The project's root as a workspace that all agents share.

use std::path::Path;

use crate::paths::Layout;

use super::error::clean;
use super::{Kind, Workspace, WorkspaceError};

pub(super) fn plan(layout: &Layout, base: Option<&str>) -> Workspace {
    let mut notes =
        vec!["works in the project's own folder, which it shares with you and other agents".to_owned()];
    if let Some(base) = base {
        notes.push(format!("the base {} is not used: a directory has none", clean(base)));
    }
    Workspace {
        dir: layout.root().to_owned(),
        branch: None,
        base: None,
        base_commit: None,
        kind: Kind::Directory,
        repo: layout.root().to_owned(),
        prefix: Default::default(),
        notes,
    }
}

/// The folder must be there; nothing is made.
pub(super) fn check(dir: &Path) -> Result<(), WorkspaceError> {
    std::fs::read_dir(dir).map(drop).map_err(|e| WorkspaceError::io("look into", dir, e))
}
