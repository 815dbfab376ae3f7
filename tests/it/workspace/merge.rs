//! Merging, and all that stands in its way.

use super::*;

#[tokio::test]
async fn merge_commits_the_agents_work_and_fast_forwards() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    assert_eq!(repo.merge(&ws).await.unwrap().commit, None, "nothing to merge");
    write(&ws.dir, "new.txt", "n\n");
    fs::remove_file(ws.dir.join("a.txt")).unwrap();
    let merged = repo.merge(&ws).await.unwrap();
    assert_eq!(merged.into, "main");
    assert_eq!(merged.commit, Some(repo.git(&["rev-parse", "main"])));
    assert_eq!(repo.git(&["log", "-1", "--format=%s %an"]), "fracta: work of ann Ada");
    assert_eq!(repo.git(&["rev-parse", "fracta/ann"]), repo.git(&["rev-parse", "main"]));
    assert!(!repo.root.join("a.txt").exists() && read(&repo.root, "new.txt") == "n\n");
    assert_eq!(git(&ws.dir, &["status", "--porcelain"]), "");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

#[tokio::test]
async fn merge_of_branches_that_parted_keeps_the_users_other_changes() {
    let repo = Repo::new();
    repo.write("b.txt", "b\n");
    repo.commit("b");
    let ws = repo.agent().await;
    write(&ws.dir, "a.txt", "one\ntwo\n3\n");
    repo.write("c.txt", "c\n");
    repo.commit("the user's");
    repo.write("b.txt", "not committed\n");
    repo.write("untracked", "u\n");
    repo.merge(&ws).await.unwrap();
    assert_eq!(
        repo.git(&["log", "-1", "--format=%s %p"]).split(' ').count(),
        9,
        "a merge commit with two parents"
    );
    assert_eq!(read(&repo.root, "a.txt"), "one\ntwo\n3\n");
    assert_eq!(repo.git(&["status", "--porcelain"]), " M b.txt\n?? untracked");
}

#[tokio::test]
async fn merge_works_without_a_name_set() {
    let repo = Repo::new();
    repo.git(&["config", "--unset", "user.name"]);
    repo.git(&["config", "--unset", "user.email"]);
    repo.git(&["config", "user.useConfigOnly", "true"]);
    let ws = repo.agent().await;
    write(&ws.dir, "new.txt", "n\n");
    repo.merge(&ws).await.unwrap();
    let author = repo.git(&["log", "-1", "--format=%an <%ae>"]);
    let set =
        Command::new("git").args(["config", "--global", "user.email"]).output().unwrap().status.success();
    assert!(set || author == "fracta <fracta@localhost>", "{author}");
}

#[tokio::test]
async fn conflicts_are_found_before_anything_is_touched() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "a.txt", "one\nagent\nthree\n");
    write(&ws.dir, "other.txt", "o\n");
    repo.write("a.txt", "one\nuser\nthree\n");
    repo.commit("the user's");
    let before = repo.state(&ws);
    let e = repo.merge(&ws).await.unwrap_err();
    assert!(matches!(&e, WorkspaceError::Conflicts { files, .. } if files == &["a.txt"]), "{e}");
    assert_eq!(repo.state(&ws), before);
    assert!(!repo.root.join(".git/ORIG_HEAD").exists(), "not even tried");
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_merge_is_named_and_left_alone() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "a.txt", "agent\n");
    write(&ws.dir, "new.log", "forced\n");
    write(&ws.dir, "sub/new.txt", "n\n");
    git(&ws.dir, &["add", "-f", "new.log"]);
    let refused = async |what: &str| {
        let before = repo.state(&ws);
        let e = repo.merge(&ws).await.unwrap_err();
        assert_eq!(repo.state(&ws), before, "{what}");
        e
    };
    repo.write("a.txt", "user\n");
    let e = refused("changed file").await;
    assert!(matches!(&e, WorkspaceError::WouldOverwrite { files, .. } if files == &["a.txt"]), "{e}");
    repo.git(&["add", "a.txt"]);
    let e = refused("staged file").await;
    assert!(matches!(&e, WorkspaceError::Staged { files, .. } if files == &["a.txt"]), "{e}");
    repo.git(&["reset", "-q", "--hard"]);
    repo.write("new.log", "the user's, ignored by git\n");
    repo.write("sub/new.txt", "the user's, untracked\n");
    let e = refused("files unknown to git").await;
    assert!(
        matches!(&e, WorkspaceError::WouldOverwrite { files, .. } if files == &["new.log", "sub/new.txt"]),
        "{e}"
    );
    fs::remove_file(repo.root.join("new.log")).unwrap();
    fs::remove_dir_all(repo.root.join("sub")).unwrap();

    repo.git(&["checkout", "-q", "--detach"]);
    let e = refused("detached root").await;
    assert!(matches!(e, WorkspaceError::Detached { .. }), "{e}");
    repo.git(&["checkout", "-q", "main"]);
    fs::write(repo.root.join(".git/CHERRY_PICK_HEAD"), repo.git(&["rev-parse", "HEAD"])).unwrap();
    let e = refused("cherry-pick at the root").await;
    assert!(matches!(e, WorkspaceError::InProgress { what: "cherry-pick", .. }), "{e}");
    fs::remove_file(repo.root.join(".git/CHERRY_PICK_HEAD")).unwrap();
    git(&ws.dir, &["switch", "-q", "-c", "elsewhere"]);
    let e = refused("agent on another branch").await;
    assert!(matches!(&e, WorkspaceError::Elsewhere { found, .. } if found == "elsewhere"), "{e}");
    git(&ws.dir, &["switch", "-q", "fracta/ann"]);
    repo.merge(&ws).await.unwrap();
    assert_eq!(read(&repo.root, "new.log"), "forced\n");
}

#[tokio::test]
async fn a_hook_that_refuses_is_heard_and_all_is_put_back() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "a.txt", "agent\n");
    write(&ws.dir, "new.txt", "n\n");
    write(&ws.dir, "staged.txt", "s\n");
    git(&ws.dir, &["add", "staged.txt"]);
    repo.write("c.txt", "c\n");
    repo.commit("the user's");
    let before = repo.state(&ws);
    for hook in ["pre-commit", "pre-merge-commit", "commit-msg"] {
        // `commit-msg` runs for both commits: let the agent's pass.
        let only = if hook == "commit-msg" { "git rev-parse -q --verify MERGE_HEAD || exit 0;" } else { "" };
        repo.hook(hook, &format!("{only} echo {hook} says no >&2; exit 1"));
        let e = repo.merge(&ws).await.unwrap_err();
        assert!(e.to_string().contains(&format!("{hook} says no")), "{e}");
        assert_eq!(repo.state(&ws), before, "{hook}");
        fs::remove_file(repo.root.join(".git/hooks").join(hook)).unwrap();
    }
    repo.merge(&ws).await.unwrap();
}

#[tokio::test]
async fn a_filter_that_fails_in_the_merge_is_undone() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    write(&ws.dir, "a.txt", "agent\n");
    write(&ws.dir, "b.bin", "pointer\n");
    write(&ws.dir, ".gitattributes", "*.bin filter=far\n");
    commit(&ws.dir, "agent");
    repo.git(&["config", "filter.far.smudge", "echo cannot reach the server >&2; exit 1"]);
    repo.git(&["config", "filter.far.clean", "cat"]);
    repo.git(&["config", "filter.far.required", "true"]);
    let before = repo.state(&ws);
    let e = repo.merge(&ws).await.unwrap_err();
    assert!(e.to_string().contains("cannot reach the server"), "{e}");
    assert_eq!(repo.state(&ws), before);
}
