use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::load_with;

fn no_env(_: &str) -> Option<String> {
    None
}

/// The one line of a failure.
fn failure(file: Option<&Path>, cwd: &Path) -> String {
    let e = load_with(file, cwd, None).unwrap_err();
    assert_eq!(e.diagnostics.len(), 1);
    e.to_string().replace(&format!("{}/", cwd.display()), "")
}

#[test]
fn nearest_parent_then_explicit_then_none() {
    let t = tempfile::tempdir().unwrap();
    let sub = t.path().join("a/b");
    fs::create_dir_all(&sub).unwrap();
    fs::write(t.path().join("fracta.yaml"), "agents: {max_running: 1}").unwrap();
    let found = load_with(None, &sub, None).unwrap();
    assert_eq!(found.root, t.path());
    assert_eq!(found.file.as_deref(), Some(t.path().join("fracta.yaml").as_path()));
    assert_eq!(found.config.agents.max_running, 1);

    fs::write(t.path().join("a/fracta.yaml"), "agents: {max_running: 2}").unwrap();
    let nearer = load_with(None, &sub, None).unwrap();
    assert_eq!((nearer.root.as_path(), nearer.config.agents.max_running), (t.path().join("a").as_path(), 2));

    fs::write(sub.join("other.yaml"), "agents: {max_running: 3}").unwrap();
    let explicit = load_with(Some(Path::new("b/other.yaml")), &t.path().join("a"), None).unwrap();
    assert_eq!((explicit.root.as_path(), explicit.config.agents.max_running), (sub.as_path(), 3));
}

#[test]
fn without_a_file_the_runtimes_are_those_on_path() {
    let t = tempfile::tempdir().unwrap();
    let (bin, work) = (t.path().join("bin"), t.path().join("work/sub"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&work).unwrap();
    fs::create_dir(t.path().join("work/.git")).unwrap();
    fs::write(t.path().join("work/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
    for (name, mode) in [("codex", 0o755), ("claude", 0o644), ("other", 0o755)] {
        fs::write(bin.join(name), "").unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // The folders above may hold a file of their own only where the machine is set up oddly.
    let loaded = load_with(None, &work, Some(bin.as_os_str())).unwrap();
    assert_eq!((loaded.file, loaded.root), (None, t.path().join("work")));
    let names: Vec<_> = loaded.config.runtimes().map(|r| (r.name.to_owned(), r.adapter)).collect();
    assert_eq!(names, [("codex".to_owned(), "codex")], "claude is there but cannot be run");
    assert_eq!(loaded.config.runtime(None, &no_env).unwrap().name, "codex");

    fs::write(work.join("fracta.yaml"), "ui: {mouse: true}").unwrap();
    let with_file = load_with(None, &work, Some(bin.as_os_str())).unwrap();
    assert_eq!(with_file.config.runtimes().count(), 1, "a file without runtimes is no different");

    let none = load_with(None, &work, None).unwrap();
    let e = none.config.runtime(None, &no_env).unwrap_err().to_string();
    assert!(e.contains("is on PATH") && e.contains("fracta doctor"), "{e}");
}

#[test]
fn files_that_are_no_configuration() {
    let t = tempfile::tempdir().unwrap();
    let file = t.path().join("fracta.yaml");
    assert_eq!(
        failure(Some(Path::new("nope.yaml")), t.path()),
        "nope.yaml: error: cannot read it: No such file or directory (os error 2)"
    );
    fs::create_dir(&file).unwrap();
    assert_eq!(failure(None, t.path()), "fracta.yaml: error: is a folder, not a file");
    fs::remove_dir(&file).unwrap();

    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(failure(None, t.path()), "fracta.yaml: error: is not a regular file");
    fs::remove_file(&file).unwrap();

    std::os::unix::fs::symlink("gone", &file).unwrap();
    assert!(failure(None, t.path()).contains("No such file"), "a dangling link is no missing file");
    fs::remove_file(&file).unwrap();

    fs::File::create(&file).unwrap().set_len(100 * 1024 * 1024).unwrap();
    assert_eq!(
        failure(None, t.path()),
        "fracta.yaml: error: is larger than 1024 KiB, so it is no configuration"
    );

    fs::write(&file, b"ui:\n  theme: caf\xe9\n").unwrap();
    assert_eq!(failure(None, t.path()), "fracta.yaml:2:13: error: not UTF-8 from here on; save it as UTF-8");
    fs::write(&file, b"\xff\xfeu\0").unwrap();
    assert_eq!(failure(None, t.path()), "fracta.yaml: error: is UTF-16; save it as UTF-8");

    if !nix::unistd::geteuid().is_root() {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(failure(None, t.path()).contains("Permission denied"));
    }
}
