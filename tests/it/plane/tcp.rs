//! The control plane on TCP, behind a token.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use serde_json::Value;

use super::bench::{Bench, response};
use crate::support::TestProject;

const TOKEN: &str = "0123456789abcdef-the-right-one";

fn write_token(path: &Path, token: &str, mode: u32) {
    std::fs::write(path, token).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// `fracta serve` on a free port; the port.
fn serve(b: &Bench) -> (Child, u16) {
    let token = b.path("token");
    write_token(&token, &format!("{TOKEN}\n"), 0o600);
    let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", token.to_str().unwrap()];
    let mut server = b.command(&args).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let listen = b.status()["listen"].as_str().unwrap().to_owned();
    (server, listen.rsplit_once(':').unwrap().1.parse().unwrap())
}

fn get(port: u16, path: &str, headers: &str) -> (u16, Value) {
    let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(s, "GET {path} HTTP/1.1\r\nhost: x\r\nfracta-api: 1\r\n{headers}connection: close\r\n\r\n")
        .unwrap();
    response(s)
}

#[test]
fn nothing_listens_on_tcp_without_a_private_token() {
    let b = Bench::new();
    let token = b.path("token");
    let words = b.fails(2, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(words.contains("--token-file"), "{words}");
    let with = ["serve", "--listen", "127.0.0.1:0", "--token-file", token.to_str().unwrap()];
    assert!(b.fails(1, &with).contains("cannot read the token file"));
    write_token(&token, TOKEN, 0o644);
    let words = b.fails(2, &with);
    assert!(words.contains("others may read") && words.contains("chmod 600"), "{words}");
    write_token(&token, "short", 0o600);
    let words = b.fails(2, &with);
    assert!(words.contains("shorter than 16") && !words.contains("\"short\""), "{words}");
    b.config("control_plane:\n  listen: 127.0.0.1:0\n");
    b.fails(2, &["serve"]);
    assert_eq!(b.status()["running"], false);
}

#[test]
fn only_the_right_token_opens_it() {
    let b = Bench::new();
    let (mut server, port) = serve(&b);
    for headers in [
        String::new(),
        "authorization: Bearer wrong-but-long-enough\r\n".to_owned(),
        "authorization: Bearer \r\n".to_owned(),
        format!("authorization: Basic {TOKEN}\r\n"),
        format!("authorization: Bearer {TOKEN}x\r\n"),
        format!("authorization: Bearer {}\r\n", &TOKEN[..TOKEN.len() - 1]),
    ] {
        for path in ["/v1/status", "/v1/agents", "/v1/nowhere"] {
            let (status, body) = get(port, path, &headers);
            assert_eq!((status, &body["code"]), (401, &"unauthorized".into()), "{path} {headers}");
        }
    }
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(get(port, "/v1/agents", &right), (200, serde_json::json!([])));
    assert_eq!(get(port, "/v1/nowhere", &right).0, 404);
    let log = std::fs::read_to_string(b.root().join(".fracta/fracta.log")).unwrap();
    assert!(!log.contains(TOKEN), "law 3");
    b.ok(&["stop"]);
    assert!(server.wait().unwrap().success());
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

#[test]
fn a_config_with_a_url_uses_that_control_plane() {
    let far = Bench::new();
    let (mut server, port) = serve(&far);
    let project = TestProject::new();
    let root = project.repo();
    let near = Bench::at(project, root);
    write_token(&near.path("token"), TOKEN, 0o600);
    let plane = format!("control_plane:\n  url: http://127.0.0.1:{port}\n  token_file: ../token\n");
    near.config(&plane);
    assert_eq!(near.status()["pid"], far.status()["pid"]);
    near.spawn_and_wait("a", "make it");
    assert!(far.root().join(".fracta/worktrees/a/it").exists(), "it works there");
    assert_eq!(near.json(&["list"]), far.json(&["list"]));
    assert_eq!(near.events("a"), far.events("a"));
    assert!(near.ok(&["peek", "a"]).contains("Done."));
    assert!(near.fails(1, &["events", "a", "--raw"]).contains("control_plane.url"));
    assert!(!near.root().join(".fracta").exists(), "nothing is started here");

    write_token(&near.path("token"), "another-one-0123456789", 0o600);
    assert!(near.fails(1, &["list"]).contains("token is missing or wrong"));
    far.ok(&["stop"]);
    server.wait().unwrap();
    assert!(near.fails(1, &["list"]).contains("no control plane answers"));
    assert!(near.fails(1, &["events", "a", "--follow"]).contains("no control plane answers"));
    near.config(&plane.replace("  token_file: ../token\n", ""));
    assert!(near.fails(2, &["list"]).contains("token_file"));
}
