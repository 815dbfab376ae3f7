//! Workspaces with the real git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fracta::control::wire::Diff;
use fracta::id::AgentName;
use fracta::paths::Layout;
use fracta::workspace::{self, Workspace, WorkspaceError, WorkspaceKind};

const LIMIT: usize = 1 << 20;

/// A repository with one commit on `main`, in a folder of its own with nothing of the user's settings.
struct Repo {
    _home: tempfile::TempDir,
    root: PathBuf,
}

impl Repo {
    fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap().join("project");
        fs::create_dir(&root).unwrap();
        let repo = Self { _home: home, root };
        repo.git(&["init", "-q", "-b", "main"]);
        for (key, value) in
            [("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgSign", "false")]
        {
            repo.git(&["config", key, value]);
        }
        // Also where the user has hooks of their own for all repositories.
        repo.git(&["config", "core.hooksPath", repo.root.join(".git/hooks").to_str().unwrap()]);
        repo
    }

    fn new() -> Self {
        let repo = Self::empty();
        repo.write("a.txt", "one\ntwo\nthree\n");
        repo.write(".gitignore", "target/\n*.log\n");
        repo.commit("first");
        repo
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.root)
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.root, args)
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.root, path, text);
    }

    fn commit(&self, message: &str) -> String {
        commit(&self.root, message)
    }

    fn hook(&self, name: &str, script: &str) {
        let hooks = self.root.join(".git/hooks");
        fs::create_dir_all(&hooks).unwrap();
        fs::write(hooks.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn plan(&self, base: Option<&str>) -> Result<Workspace, WorkspaceError> {
        workspace::plan(&self.layout(), &name("ann"), base, WorkspaceKind::Auto).await
    }

    async fn agent(&self) -> Workspace {
        self.agent_named("ann").await
    }

    async fn agent_named(&self, agent: &str) -> Workspace {
        let ws = workspace::plan(&self.layout(), &name(agent), None, WorkspaceKind::Auto).await.unwrap();
        workspace::create(&ws).await.unwrap();
        ws
    }

    async fn merge(&self, ws: &Workspace) -> Result<fracta::control::wire::Merged, WorkspaceError> {
        workspace::merge(ws, &self.root).await
    }

    /// All that a refused merge must leave as it was: files, index, branches of both sides.
    fn state(&self, ws: &Workspace) -> Vec<String> {
        let mut state = vec![self.git(&["for-each-ref"]), self.git(&["worktree", "list"])];
        for dir in [&self.root, &ws.dir] {
            state.push(git(dir, &["status", "--porcelain=v2", "--branch", "-uall", "--ignored"]));
            state.push(git(dir, &["diff", "HEAD"]));
        }
        state
    }
}

fn name(name: &str) -> AgentName {
    name.parse().unwrap()
}

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git").args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(dir: &Path, path: &str) -> String {
    fs::read_to_string(dir.join(path)).unwrap()
}

fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
    git(dir, &["rev-parse", "HEAD"])
}

fn paths(diff: &Diff) -> Vec<&str> {
    let mut paths: Vec<_> = diff.files.iter().map(|f| f.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

async fn diff(ws: &Workspace) -> Diff {
    workspace::diff(ws, LIMIT).await.unwrap()
}

// --- plan and create

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
    let d = diff(&ws).await;
    assert!(d.diff.contains(&format!("+Subproject commit {at}")), "{}", d.diff);
    let losses = workspace::losses(&ws).await.unwrap();
    assert_eq!((losses.files, losses.submodules), (vec!["lib".to_owned()], vec!["lib".to_owned()]));
    workspace::remove(&ws, true).await.unwrap();
    assert!(!ws.dir.exists());
}

// --- diff

#[tokio::test]
async fn diff_shows_commits_changes_and_new_files_and_touches_nothing() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    assert_eq!(diff(&ws).await.files, []);
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

    let d = diff(&ws).await;
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
    let d = diff(&ws).await;
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
    assert_eq!(paths(&diff(&ws).await), ["mine.txt"]);
    git(&ws.dir, &["rebase", "-q", "main"]);
    assert_eq!(paths(&diff(&ws).await), ["mine.txt"], "after a rebase on the newer base");
    repo.merge(&ws).await.unwrap();
    assert!(paths(&diff(&ws).await).contains(&"mine.txt"), "merged work is still shown");
}

#[tokio::test]
async fn a_repository_in_the_workspace_is_named_but_not_taken() {
    let repo = Repo::new();
    let ws = repo.agent().await;
    fs::create_dir(ws.dir.join("vendored")).unwrap();
    git(&ws.dir.join("vendored"), &["init", "-q"]);
    write(&ws.dir, "vendored/x", "x");
    write(&ws.dir, "y", "y");
    assert_eq!(paths(&diff(&ws).await), ["vendored/", "y"]);
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
        paths(&diff(&ws).await),
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

// --- merge

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

// --- losses, remove, orphans

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
