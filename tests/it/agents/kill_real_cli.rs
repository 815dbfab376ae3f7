//! `kill`: what would be lost is named, and nothing else stays.

use super::{daemons, daemons_run, session};
use crate::plane_support::{Plane, Setup, messages};

#[tokio::test]
async fn work_that_would_be_lost_is_named_and_kept() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let contract = "fracta:patch new.txt <<mine\nfracta:say one";
    let row = p.json(&["spawn", "--task", "a", "--contract", contract, "--wait"]).await;
    let words = p.run(&["kill", "a"]).await.refused();
    for word in ["fracta merge a", "--keep-files", "--force"] {
        assert!(words.contains(word), "{words}");
    }
    let file = p.layout().state_dir().join("worktrees/a/new.txt");
    assert!(file.exists());
    assert_eq!(p.agent("a").await["state"], "idle", "nothing has happened to it");
    // Committed and not merged is lost just the same.
    let commit = "fracta:run git add -A && git -c user.name=A -c user.email=a@example.invalid commit -qm work\nfracta:say two";
    let mut follow = p.follow("a", p.events("a").await.len() as u64);
    p.run(&["say", "a", commit]).await.ok();
    follow.until(crate::plane_support::is_turn_end).await;
    drop(follow);
    assert!(p.run(&["kill", "a"]).await.refused().contains("fracta merge a"));
    p.run(&["kill", "a", "--force"]).await.ok();
    assert!(!file.exists() && !file.parent().unwrap().exists());
    assert!(!p.project.git(&["branch", "--list", "fracta/*"]).contains("fracta/a"), "its branch is gone");
    p.all_gone().await;
    // The journal stays, and the name is free.
    assert_eq!(messages(&p.events(session(&row)).await), ["one", "two"]);
    let all = p.json(&["list", "--all"]).await;
    assert!(all.as_array().unwrap().iter().any(|a| a["session"] == row["session"] && a["killed"] == true));
    assert_eq!(p.json(&["list"]).await, serde_json::json!([]));
    let again = p.json(&["spawn", "--task", "a", "--contract", "fracta:say anew", "--wait"]).await;
    assert_ne!(again["session"], row["session"]);
    assert_eq!(messages(&p.events("a").await), ["anew"], "the name means the living one");
    assert_eq!(messages(&p.events(session(&row)).await), ["one", "two"]);
}

#[tokio::test]
async fn files_are_kept_where_that_is_asked_for() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "a", "--contract", "fracta:patch new.txt <<mine", "--wait"]).await;
    p.run(&["kill", "a", "--keep-files"]).await.ok();
    let file = p.layout().state_dir().join("worktrees/a/new.txt");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine\n");
    p.all_gone().await;
}

#[tokio::test]
async fn a_merged_agent_is_killed_without_a_word() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "a", "--contract", "fracta:patch new.txt <<mine", "--wait"]).await;
    p.run(&["merge", "a"]).await.ok();
    assert_eq!(p.project.read("new.txt").as_deref(), Some("mine\n"));
    p.run(&["kill", "a"]).await.ok();
}

#[tokio::test]
async fn a_running_agent_leaves_no_process() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    for (mode, mark) in [("stream", "87654"), ("batch", "87653")] {
        let row = p.spawn_agent(mode, mode, &format!("fracta:run {}", daemons(mark))).await;
        daemons_run(&p, mark).await;
        p.run(&["kill", mode]).await.ok();
        let left: Vec<_> = p.processes().into_iter().filter(|f| f.argv.contains(mark)).collect();
        assert!(left.is_empty(), "{left:#?}");
        p.all_gone().await;
        let events = p.events(session(&row)).await;
        let last = events.last().unwrap();
        assert_eq!(
            (last["kind"].as_str(), last["state"].as_str()),
            (Some("session.ended"), Some("stopped")),
            "{last}"
        );
    }
}
