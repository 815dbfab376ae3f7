//! The agent's work against its base.

use crate::control::wire::{Diff, FileStat};

use super::git::{Git, split0};
use super::snapshot::Snapshot;
use super::worktree::{commit_of, full, open};
use super::{Workspace, WorkspaceError};

/// State folders of fracta are never part of the work.
const NOT_OURS: [&str; 3] = ["--", ":(top)", ":(top,exclude,glob)**/.fracta/**"];
/// Most bytes of the list of files.
const MAX_STATS: usize = 4 << 20;

pub(super) async fn diff(ws: &Workspace, limit: usize) -> Result<Diff, WorkspaceError> {
    ws.own()?;
    let git = open(ws).await?.env("GIT_OPTIONAL_LOCKS", "0");
    let from = base(ws, &git).await?;
    let version = git.version().await?;
    let shot = Snapshot::take(&git, version).await?;

    // A person's settings change how `git diff` writes; a unified diff is asked for in so many words.
    let mut args = vec![
        "-c",
        "diff.orderFile=/dev/null",
        "diff",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--no-relative",
        "--submodule=short",
        "--ignore-submodules=none",
        "--find-renames",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--unified=3",
        "--inter-hunk-context=0",
        "--diff-algorithm=histogram",
    ];
    let at = args.len();
    args.extend([from.as_str(), &shot.tree]);
    args.extend(NOT_OURS);
    let text = shot.git.head("compare with the base", &args, limit).await?;
    args.splice(at..at, ["--numstat", "-z"]);
    let stats = shot.git.head("compare with the base", &args, MAX_STATS).await?;

    let mut files = parse_numstat(&stats.stdout, stats.cut);
    files.extend(shot.nested.into_iter().map(|path| FileStat { path, added: None, removed: None }));
    Ok(Diff {
        base: ws.base.clone().unwrap_or(from),
        diff: whole_lines(text.stdout, text.cut),
        files,
        truncated: text.cut || stats.cut,
    })
}

/// The commit to compare with: where the agent's history leaves that of its base. Where the agent took
/// newer commits of the base branch into its own, that is one of those, unless all of the agent's work
/// is in the base branch already.
async fn base(ws: &Workspace, git: &Git) -> Result<String, WorkspaceError> {
    let (_, commit) = ws.own()?;
    let Some(head) = commit_of(git, "HEAD").await? else { return Ok(commit.to_owned()) };
    let start = git.maybe(&["merge-base", commit, &head]).await?.unwrap_or_else(|| commit.to_owned());
    let Some(name) = &ws.base else { return Ok(start) };
    let Some(tip) = commit_of(git, &full(name)).await? else { return Ok(start) };
    match git.maybe(&["merge-base", &tip, &head]).await? {
        Some(newer)
            if newer != head
                && git.run(&["merge-base", "--is-ancestor", &start, &newer]).await?.status.success() =>
        {
            Ok(newer)
        }
        _ => Ok(start),
    }
}

/// `added TAB removed TAB path NUL`, for a rename `added TAB removed TAB NUL old NUL new NUL`.
fn parse_numstat(bytes: &[u8], cut: bool) -> Vec<FileStat> {
    let end = if cut { bytes.iter().rposition(|b| *b == 0).unwrap_or(0) } else { bytes.len() };
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let mut records = split0(bytes.get(..end).unwrap_or_default());
    let mut files = Vec::new();
    while let Some(record) = records.next() {
        let mut fields = record.splitn(3, |b| *b == b'\t');
        let mut count = || fields.next().and_then(|f| std::str::from_utf8(f).ok()?.parse().ok());
        let (added, removed) = (count(), count());
        let path = match fields.next() {
            Some(path) if !path.is_empty() => text(path),
            _ => match (records.next(), records.next()) {
                (_, Some(new)) => text(new),
                _ => break,
            },
        };
        files.push(FileStat { path, added, removed });
    }
    files
}

/// The text, ended at a line end where it was cut.
fn whole_lines(mut bytes: Vec<u8>, cut: bool) -> String {
    if cut {
        bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numstat_with_renames_binaries_and_odd_names() {
        let bytes = b"1\t2\ta\tb\nc\0-\t-\tpic\x000\t0\t\0old\0new\x003\t0\tlast";
        let names: Vec<_> =
            parse_numstat(bytes, false).into_iter().map(|f| (f.path, f.added, f.removed)).collect();
        assert_eq!(
            names,
            [
                ("a\tb\nc".to_owned(), Some(1), Some(2)),
                ("pic".to_owned(), None, None),
                ("new".to_owned(), Some(0), Some(0)),
                ("last".to_owned(), Some(3), Some(0)),
            ]
        );
        assert_eq!(parse_numstat(bytes, true).len(), 3, "a record that was cut is not guessed at");
    }

    #[test]
    fn a_cut_text_ends_with_a_line() {
        assert_eq!(whole_lines(b"a\nb\nc\xc3".to_vec(), true), "a\nb\n");
        assert_eq!(whole_lines(b"a\xff".to_vec(), false), "a\u{fffd}");
    }
}
