//! Planning and making worktrees.

use super::*;

#[tokio::test]
async fn an_agent_gets_a_worktree_on_its_own_branch() {
    let repo = Repo::new();
    let head = repo.git(&["rev-parse", "HEAD"]);
    let before = (repo.git(&["for-each-ref"]), repo.root.join(".fracta").exists());
    let ws = repo.plan(None).await.unwrap();
    assert_eq!(
        (repo.git(&["for-each-ref"]), repo.root.join(".fracta").exists()),
        before,
        "a plan touches nothing"
    );
    assert_eq!(ws.dir, repo.root.join(".fracta/worktrees/ann"));
    assert_eq!(ws.branch.as_deref(), Some("fracta/ann"));
    assert_eq!((ws.base.as_deref(), ws.base_commit.as_ref()), (Some("main"), Some(&head)));

    workspace::create(&ws).await.unwrap();
    assert_eq!(git(&ws.dir, &["symbolic-ref", "--short", "HEAD"]), "fracta/ann");
    assert_eq!(read(&ws.dir, "a.txt"), "one\ntwo\nthree\n");
    assert_eq!(repo.git(&["status", "--porcelain"]), "", "the user's checkout does not see it");
    let stored = serde_json::to_string(&ws).unwrap();
    assert_eq!(serde_json::from_str::<Workspace>(&stored).unwrap(), ws);
}

#[tokio::test]
async fn base_may_be_a_branch_a_tag_or_a_commit() {
    let repo = Repo::new();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["tag", "-a", "v1", "-m", "v1"]);
    repo.git(&["branch", "feature/login"]);
    repo.write("b.txt", "b");
    repo.commit("second");
    for base in ["v1", "feature/login", &first[..10]] {
        let ws = repo.plan(Some(base)).await.unwrap();
        assert_eq!(ws.base_commit.as_ref(), Some(&first), "{base}");
        assert_eq!(ws.base.as_deref(), Some(base));
    }
    repo.git(&["checkout", "-q", "--detach"]);
    let head = repo.git(&["rev-parse", "HEAD"]);
    let ws = repo.plan(None).await.unwrap();
    assert_eq!((ws.base.as_ref(), ws.base_commit.as_ref()), (Some(&head), Some(&head)), "detached HEAD");
}

#[tokio::test]
async fn a_missing_base_is_answered_with_what_may_be_meant() {
    let repo = Repo::new();
    repo.git(&["update-ref", "refs/remotes/origin/release", "HEAD"]);
    for (base, hint) in [
        ("release", "did you mean origin/release?"),
        ("mian", "did you mean main?"),
        ("zzz", "`git branch --all`"),
        ("--all", "`git branch --all`"),
        ("HEAD:a.txt", "`git branch --all`"),
    ] {
        let e = repo.plan(Some(base)).await.unwrap_err();
        assert!(matches!(e, WorkspaceError::NoSuchBase { .. }), "{e}");
        assert!(e.to_string().contains(hint), "{e}");
    }
}

#[tokio::test]
async fn what_is_no_repository_to_branch_in_is_told() {
    let t = tempfile::tempdir().unwrap();
    let at = async |dir: &Path, kind| workspace::plan(&Layout::new(dir), &name("ann"), None, kind).await;
    let plain = at(t.path(), WorkspaceKind::Auto).await.unwrap();
    assert!(!plain.is_worktree());
    let e = at(t.path(), WorkspaceKind::Worktree).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::NotARepository { .. }), "{e}");

    let bare = t.path().join("bare.git");
    fs::create_dir(&bare).unwrap();
    git(&bare, &["init", "-q", "--bare"]);
    let e = at(&bare, WorkspaceKind::Auto).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::Bare { .. }), "{e}");

    let empty = Repo::empty();
    let e = empty.plan(None).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::NoCommits { .. }), "{e}");
    let e = empty.plan(Some("main")).await.unwrap_err();
    assert!(e.to_string().contains("no commit yet"), "{e}");

    // A broken repository is not taken for a plain folder.
    let broken = t.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join(".git"), "gitdir: /nowhere/at/all\n").unwrap();
    let e = at(&broken, WorkspaceKind::Auto).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::Git { .. }) && e.to_string().contains("/nowhere/at/all"), "{e}");
}

#[tokio::test]
async fn what_exists_already_is_named() {
    let repo = Repo::new();
    repo.git(&["branch", "fracta/ann"]);
    let e = repo.plan(None).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::BranchExists { .. }), "{e}");
    assert!(e.to_string().contains("git branch -D fracta/ann"), "{e}");
    repo.git(&["branch", "-m", "fracta/ann", "fracta"]);
    let e = repo.plan(None).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::BranchInTheWay { .. }), "{e}");
    repo.git(&["branch", "-D", "fracta"]);
    repo.write(".fracta/worktrees/ann/x", "x");
    let e = repo.plan(None).await.unwrap_err();
    assert!(matches!(e, WorkspaceError::PathExists { .. }), "{e}");
}

#[tokio::test]
async fn two_spawns_at_once() {
    let repo = Repo::new();
    let names: Vec<String> = (0..6).map(|n| format!("agent-{n}")).collect();
    let mut set = tokio::task::JoinSet::new();
    for n in &names {
        let ws = workspace::plan(&repo.layout(), &name(n), None, WorkspaceKind::Auto).await.unwrap();
        set.spawn(async move { workspace::create(&ws).await });
    }
    let same = repo.plan(None).await.unwrap();
    for _ in 0..2 {
        let same = same.clone();
        set.spawn(async move { workspace::create(&same).await });
    }
    let results = set.join_all().await;
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(matches!(&failed[..], [WorkspaceError::BranchExists { .. }]), "{failed:?}");
    for n in names.iter().map(String::as_str).chain(["ann"]) {
        assert_eq!(git(&repo.root.join(".fracta/worktrees").join(n), &["status", "--porcelain"]), "");
    }
}

#[tokio::test]
async fn a_failing_hook_or_filter_leaves_nothing_behind() {
    let repo = Repo::new();
    let before = (repo.git(&["for-each-ref"]), repo.git(&["worktree", "list"]));
    let ws = repo.plan(None).await.unwrap();
    repo.hook("post-checkout", "echo hook says no >&2; exit 1");
    let e = workspace::create(&ws).await.unwrap_err();
    assert!(e.to_string().contains("hook says no"), "{e}");
    assert_eq!((repo.git(&["for-each-ref"]), repo.git(&["worktree", "list"])), before);
    assert!(!ws.dir.exists());
    fs::remove_file(repo.root.join(".git/hooks/post-checkout")).unwrap();

    // As git-lfs does when its server is away.
    repo.write(".gitattributes", "*.bin filter=far\n");
    repo.write("big.bin", "pointer");
    repo.commit("big");
    repo.git(&["config", "filter.far.smudge", "echo cannot reach the server >&2; exit 1"]);
    repo.git(&["config", "filter.far.required", "true"]);
    let before = (repo.git(&["for-each-ref"]), repo.git(&["worktree", "list"]));
    let e = workspace::create(&repo.plan(None).await.unwrap()).await.unwrap_err();
    assert!(e.to_string().contains("cannot reach the server"), "{e}");
    assert_eq!((repo.git(&["for-each-ref"]), repo.git(&["worktree", "list"])), before);
    repo.git(&["config", "--unset", "filter.far.required"]);
    workspace::create(&ws).await.unwrap();
}

#[tokio::test]
async fn a_linked_worktree_a_sub_project_and_submodules() {
    let repo = Repo::new();
    repo.write("apps/web/index", "web");
    repo.commit("web");
    let linked = repo.root.parent().unwrap().join("linked");
    repo.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    let ws = workspace::plan(&Layout::new(linked.join("apps/web")), &name("ann"), None, WorkspaceKind::Auto)
        .await
        .unwrap();
    assert_eq!(ws.base.as_deref(), Some("side"));
    workspace::create(&ws).await.unwrap();
    assert_eq!(
        ws.cwd(),
        linked.join("apps/web/.fracta/worktrees/ann/apps/web"),
        "the agent starts in its project"
    );
    write(&ws.cwd(), "new", "n");
    let merged = workspace::merge(&ws, &linked).await.unwrap();
    assert_eq!(merged.into, "side");
    assert_eq!(read(&linked, "apps/web/new"), "n");
    workspace::remove(&ws, false).await.unwrap();

    let inner = Repo::new();
    repo.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        inner.root.to_str().unwrap(),
        "lib",
    ]);
    repo.commit("submodule");
    let ws = repo.agent_named("sub").await;
    assert!(ws.notes.iter().any(|n| n.contains("git submodule update --init")), "{:?}", ws.notes);
    git(&ws.dir, &["-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init"]);
    assert!(workspace::losses(&ws).await.unwrap().is_empty());
    let lib = ws.dir.join("lib");
    git(&lib, &["config", "user.name", "Ada"]);
    git(&lib, &["config", "user.email", "ada@example.org"]);
    write(&lib, "a.txt", "changed in the submodule\n");
    let at = commit(&lib, "inner");
    let d = diff_of(&ws).await;
    assert!(d.diff.contains(&format!("+Subproject commit {at}")), "{}", d.diff);
    let losses = workspace::losses(&ws).await.unwrap();
    assert_eq!((losses.files, losses.submodules), (vec!["lib".to_owned()], vec!["lib".to_owned()]));
    workspace::remove(&ws, true).await.unwrap();
    assert!(!ws.dir.exists());
}
