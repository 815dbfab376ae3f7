//! `http_header_token` over TLS: a server whose certificate nobody vouches for gives no token.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::World;
use crate::support::note;

/// A server that the `openssl` tool makes of its own certificate authority; its files lie in the folder.
async fn server(dir: &Path) -> Option<(Child, String)> {
    let steps: [&[&str]; 3] = [
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=Test CA",
        ],
        &[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "leaf.key",
            "-out",
            "leaf.csr",
            "-subj",
            "/CN=localhost",
        ],
        &[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "san",
            "-out",
            "leaf.pem",
        ],
    ];
    std::fs::write(dir.join("san"), "subjectAltName=DNS:localhost\n").unwrap();
    for args in steps {
        let run = Command::new("openssl").args(args).current_dir(dir).output().await;
        let Ok(out) = run else {
            note("SKIPPED: openssl is not on PATH");
            return None;
        };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    // With -HTTP it sends the file as the whole answer.
    let answer = "HTTP/1.0 200 OK\r\nX-Token: token-by-tls\r\nContent-Length: 0\r\n\r\n";
    std::fs::write(dir.join("token"), answer).unwrap();
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "leaf.pem", "-key", "leaf.key", "-HTTP"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next_line().await.unwrap().expect("it tells where it listens");
        if let Some(rest) = line.strip_prefix("ACCEPT ") {
            break rest.rsplit(':').next().unwrap().to_owned();
        }
    };
    // Its output must have a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some((child, format!("https://localhost:{port}/token")))
}

/// Spawns an agent whose CLI writes its key into a file. Gives the agent's reason, and the file's text.
async fn spawned(url: &str, ca: Option<&Path>) -> (String, Option<String>) {
    let ca = ca.map(|p| p.to_str().unwrap().to_owned());
    let env: Vec<(&str, &str)> = ca.iter().map(|p| ("SSL_CERT_FILE", p.as_str())).collect();
    let w = World::new(&env, |w| {
        let (cli, key) = (w.scripts.path().join("cli"), w.scripts.path().join("key"));
        let script = format!(
            "#!/bin/sh\necho 'codex-cli 0.169.0'\nif [ -n \"$OPENAI_API_KEY\" ]; then echo \"$OPENAI_API_KEY\" > '{}'; fi\n",
            key.display()
        );
        std::fs::write(&cli, script).unwrap();
        std::fs::set_permissions(&cli, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let origin =
            json!({"type": "http_header_token", "request": {"url": url}, "extract": {"header": "x-token"}});
        let binding = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "o"});
        let runtimes = json!({"codex": w.runtime("codex", json!({"auth_profile": "p", "command": [cli]}))});
        (runtimes, json!({"p": {"auth_origins": {"o": origin}, "default_binding": binding}}))
    });
    w.plane.run(&["spawn", "--task", "a", "--contract", "x", "--wait"]).await;
    let reason = w.plane.agent("a").await["reason"].as_str().unwrap_or_default().to_owned();
    (reason, std::fs::read_to_string(w.scripts.path().join("key")).ok())
}

#[tokio::test]
async fn a_certificate_must_be_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, url)) = server(dir.path()).await else { return };
    let (reason, key) = spawned(&url, None).await;
    assert!(
        reason.contains("o: the request to localhost failed: ")
            && reason.to_lowercase().contains("certificate"),
        "{reason}"
    );
    assert_eq!(key, None, "the agent never began");
    let (_, key) = spawned(&url, Some(&dir.path().join("ca.pem"))).await;
    assert_eq!(key.as_deref(), Some("token-by-tls\n"));
    // Of another name than its own.
    let (reason, key) =
        spawned(&url.replace("localhost", "127.0.0.1"), Some(&dir.path().join("ca.pem"))).await;
    assert!(reason.contains("the request to 127.0.0.1 failed: ") && key.is_none(), "{reason}");
}
