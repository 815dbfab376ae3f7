//! The agent's work against its base.

use super::*;

#[tokio::test]
async fn diff_shows_commits_changes_and_new_files_and_touches_nothing() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    assert_eq!(diff_of(&ws).await.files, []);
    write(&ws.dir, "committed.txt", "c\n");
    commit(&ws.dir, "by the agent");
    write(&ws.dir, "a.txt", "one\n2\nthree\n");
    write(&ws.dir, "staged.txt", "s\n");
    git(&ws.dir, &["add", "staged.txt"]);
    write(&ws.dir, "dir/new.txt", "n\n");
    write(&ws.dir, "build.log", "ignored");
    write(&ws.dir, "target/x", "ignored");
    write(&ws.dir, ".fracta/state", "never");
    fs::write(ws.dir.join("pic.bin"), [0u8, 159, 146, 150]).unwrap();
    let index = fs::read(repo.root.join(".git/worktrees/ann/index")).unwrap();
    let objects = git(&ws.dir, &["count-objects", "-v"]);

    let d = diff_of(&ws).await;
    assert_eq!(paths(&d), ["a.txt", "committed.txt", "dir/new.txt", "pic.bin", "staged.txt"]);
    let stat = |p: &str| d.files.iter().find(|f| f.path == p).map(|f| (f.added, f.removed)).unwrap();
    assert_eq!(stat("a.txt"), (Some(1), Some(1)));
    assert_eq!(stat("pic.bin"), (None, None));
    assert!(
        d.diff.contains("-two\n+2\n") && d.diff.contains("Binary files /dev/null and b/pic.bin differ"),
        "{}",
        d.diff
    );
    assert!(!d.truncated && d.base == "main");
    assert_eq!(fs::read(repo.root.join(".git/worktrees/ann/index")).unwrap(), index, "the agent's index");
    assert_eq!(git(&ws.dir, &["count-objects", "-v"]), objects, "the repository's objects");
}

#[tokio::test]
async fn diff_is_bounded() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "big.txt", &"a line of text\n".repeat(200_000));
    write(&ws.dir, "small.txt", "s\n");
    let d = workspace::diff(&ws, 10_000).await.unwrap();
    assert!(d.truncated && d.diff.len() <= 10_000 && d.diff.ends_with('\n'));
    assert_eq!(paths(&d), ["big.txt", "small.txt"], "the list of files is whole");
    assert!(!diff_at(&ws, 8 << 20).await.truncated);
}

async fn diff_at(ws: &Workspace, limit: usize) -> Diff {
    workspace::diff(ws, limit).await.unwrap()
}

#[tokio::test]
async fn diff_is_not_bent_by_settings_or_names() {
    let repo = Repo::new();
    for (key, value) in [
        ("diff.noprefix", "true"),
        ("color.ui", "always"),
        ("diff.external", "false"),
        ("core.pager", "false"),
        ("diff.mnemonicPrefix", "true"),
    ] {
        repo.git(&["config", key, value]);
    }
    let ws = repo.agent().await;
    let odd = "line\nbreak\t\u{1b}[31m é.txt";
    write(&ws.dir, odd, "x\n");
    write(&ws.dir, ":(top)a*", "pathspec\n");
    fs::rename(ws.dir.join("a.txt"), ws.dir.join("moved.txt")).unwrap();
    let d = diff_of(&ws).await;
    assert_eq!(paths(&d), [":(top)a*", odd, "moved.txt"]);
    assert!(!d.diff.contains('\u{1b}') && d.diff.contains("rename from a.txt"), "{}", d.diff);
    assert!(d.diff.contains("+++ \"b/line\\nbreak\\t\\033[31m é.txt\""), "{}", d.diff);
    repo.merge(&ws).await.unwrap();
    assert_eq!(read(&repo.root, odd), "x\n");
    assert_eq!(read(&repo.root, ":(top)a*"), "pathspec\n");
}

#[tokio::test]
async fn diff_leaves_out_what_the_agent_took_from_its_base() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    repo.write("theirs.txt", "t\n");
    repo.commit("another's work");
    write(&ws.dir, "mine.txt", "m\n");
    commit(&ws.dir, "mine");
    assert_eq!(paths(&diff_of(&ws).await), ["mine.txt"]);
    git(&ws.dir, &["rebase", "-q", "main"]);
    assert_eq!(paths(&diff_of(&ws).await), ["mine.txt"], "after a rebase on the newer base");
    repo.merge(&ws).await.unwrap();
    assert!(paths(&diff_of(&ws).await).contains(&"mine.txt"), "merged work is still shown");
}

#[tokio::test]
async fn a_repository_in_the_workspace_is_named_but_not_taken() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    fs::create_dir(ws.dir.join("vendored")).unwrap();
    git(&ws.dir.join("vendored"), &["init", "-q"]);
    write(&ws.dir, "vendored/x", "x");
    write(&ws.dir, "y", "y");
    assert_eq!(paths(&diff_of(&ws).await), ["vendored/", "y"]);
    let before = repo.state(&ws);
    let e = repo.merge(&ws).await.unwrap_err();
    assert!(matches!(&e, WorkspaceError::Nested { paths, .. } if paths == &["vendored/"]), "{e}");
    assert_eq!(repo.state(&ws), before);
}

#[tokio::test]
async fn a_sparse_checkout_keeps_its_other_files() {
    let repo = Repo::new();
    repo.write("in/x", "x\n");
    repo.write("out/y", "y\n");
    repo.write("out/z", "z\n");
    repo.commit("two folders");
    let ws = repo.agent().await;
    git(&ws.dir, &["sparse-checkout", "set", "--cone", "in"]);
    assert!(!ws.dir.join("out/y").exists());
    write(&ws.dir, "in/x", "changed\n");
    write(&ws.dir, "out/new", "n\n");
    write(&ws.dir, "out/z", "written though not checked out\n");
    assert_eq!(
        paths(&diff_of(&ws).await),
        ["in/x", "out/new", "out/z"],
        "what is not checked out is not deleted"
    );
    repo.merge(&ws).await.unwrap();
    assert_eq!((read(&repo.root, "out/y"), read(&repo.root, "out/new")), ("y\n".into(), "n\n".into()));
}

#[tokio::test]
async fn a_directory_has_no_base() {
    let t = tempfile::tempdir().unwrap();
    let ws = workspace::plan(&Layout::new(t.path()), &name("ann"), Some("main"), WorkspaceKind::Auto)
        .await
        .unwrap();
    assert_eq!((ws.dir.as_path(), ws.branch.as_ref(), ws.base.as_ref()), (t.path(), None, None));
    assert!(ws.notes.iter().any(|n| n.contains("base main is not used")), "{:?}", ws.notes);
    workspace::create(&ws).await.unwrap();
    write(t.path(), "work", "w");
    for e in
        [workspace::diff(&ws, LIMIT).await.unwrap_err(), workspace::merge(&ws, t.path()).await.unwrap_err()]
    {
        assert!(matches!(e, WorkspaceError::NoBase { .. }), "{e}");
    }
    assert!(workspace::losses(&ws).await.unwrap().is_empty());
    workspace::remove(&ws, true).await.unwrap();
    assert_eq!(read(t.path(), "work"), "w", "the project's folder is never removed");
}

/// The worktree lies inside the user's checkout: without its `.git`, git would find the user's.
#[tokio::test]
async fn a_worktree_without_its_git_file_never_means_the_users_checkout() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "work.txt", "w");
    repo.write("users.txt", "u");
    fs::remove_file(ws.dir.join(".git")).unwrap();
    let status = repo.git(&["status", "--porcelain"]);
    for e in [
        workspace::diff(&ws, LIMIT).await.unwrap_err(),
        repo.merge(&ws).await.unwrap_err(),
        workspace::losses(&ws).await.unwrap_err(),
        workspace::remove(&ws, false).await.unwrap_err(),
    ] {
        assert!(matches!(e, WorkspaceError::Broken { .. }), "{e}");
    }
    git(&ws.dir, &["init", "-q"]);
    let e = workspace::diff(&ws, LIMIT).await.unwrap_err();
    assert!(e.to_string().contains("another repository"), "{e}");
    assert_eq!(repo.git(&["status", "--porcelain"]), status);
    workspace::remove(&ws, true).await.unwrap();
    assert!(!ws.dir.exists());
    repo.agent().await;
}
