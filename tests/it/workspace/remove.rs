//! What a kill would lose, removal, and what is left behind.

use super::*;

#[tokio::test]
async fn kill_loses_nothing_unless_forced() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "x.txt", "x\n");
    write(&ws.dir, "y\n.txt", "y\n");
    write(&ws.dir, "out.log", "ignored files are no loss");
    let e = workspace::remove(&ws, false).await.unwrap_err();
    assert!(e.to_string().contains("2 uncommitted files (x.txt"), "{e}");
    commit(&ws.dir, "work");
    let e = workspace::remove(&ws, false).await.unwrap_err();
    assert!(e.to_string().contains("1 commit that no other branch has"), "{e}");
    assert!(ws.dir.join("x.txt").exists() && !repo.git(&["branch", "--list", "fracta/ann"]).is_empty());

    repo.merge(&ws).await.unwrap();
    assert!(workspace::losses(&ws).await.unwrap().is_empty());
    workspace::remove(&ws, false).await.unwrap();
    assert!(!ws.dir.exists());
    assert_eq!(repo.git(&["branch", "--list", "fracta/*"]), "");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    workspace::remove(&ws, false).await.unwrap();
    repo.agent().await;
}

#[tokio::test]
async fn removal_mends_what_git_gives_up_at() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "cache/mod/file.log", "x");
    fs::set_permissions(ws.dir.join("cache/mod"), fs::Permissions::from_mode(0o555)).unwrap();
    git(&repo.root, &["worktree", "lock", ws.dir.to_str().unwrap()]);
    workspace::remove(&ws, false).await.unwrap();
    assert!(!ws.dir.exists());

    let ws = repo.agent().await;
    write(&ws.dir, "x", "x");
    commit(&ws.dir, "x");
    fs::remove_dir_all(&ws.dir).unwrap();
    let losses = workspace::losses(&ws).await.unwrap();
    assert_eq!(
        (losses.commits, losses.file_count),
        (1, 0),
        "a removed folder does not hide the branch's commits"
    );
    workspace::remove(&ws, true).await.unwrap();
    assert_eq!(repo.git(&["branch", "--list", "fracta/*"]), "");
}

#[tokio::test]
async fn orphans_are_what_no_known_agent_owns() {
    let repo = Repo::new();
    for agent in ["known", "lost"] {
        repo.agent_named(agent).await;
    }
    repo.git(&["branch", "fracta/only-branch"]);
    repo.write(".fracta/worktrees/only-folder/x", "x");
    let elsewhere = repo.root.parent().unwrap().join("elsewhere");
    repo.git(&["worktree", "add", "-q", "-b", "fracta/not-ours", elsewhere.to_str().unwrap()]);
    let found = workspace::orphans(&repo.layout(), &[name("known")]).await.unwrap();
    let short: Vec<_> =
        found.iter().map(|o| (o.agent.as_str(), o.dir.is_some(), o.branch.as_deref())).collect();
    assert_eq!(
        short,
        [
            ("lost", true, Some("fracta/lost")),
            ("only-branch", false, Some("fracta/only-branch")),
            ("only-folder", true, None),
        ]
    );
    let lost = &found[0];
    assert_eq!(
        lost.mend(),
        [
            format!("git worktree remove '{}'", lost.dir.as_ref().unwrap().display()),
            "git branch -d fracta/lost".into()
        ]
    );
    assert_eq!(found[1].mend(), ["git branch -d fracta/only-branch"]);
    assert!(found[2].mend()[0].starts_with("rm -ri '"), "{:?}", found[2].mend());
    let t = tempfile::tempdir().unwrap();
    assert_eq!(workspace::orphans(&Layout::new(t.path()), &[]).await.unwrap(), []);
}
