use super::{errors, load};

/// The one error (or warning, in a file without errors) of a profile `p`.
fn one(profile: &str, want: &str) {
    let text = format!("auth: {{credentials: {{profiles: {{p: {profile}}}}}}}");
    let all = load(&text).map_or_else(|errors| errors, |(_, warnings)| warnings);
    assert_eq!(all.len(), 1, "{profile}\n{all:#?}");
    assert!(all[0].contains(want), "{}\nlacks {want}", all[0]);
}

#[test]
fn keys_go_with_their_type() {
    for (origin, want) in [
        ("{type: command_output}", "o: type command_output needs `command`"),
        (
            "{type: command_output, command: [a], env_name: E}",
            "o.env_name: goes with type secret_env, and this is command_output",
        ),
        (
            "{type: secret_env, env_name: E, secret_ref: {name: s, key: k}, command: [a]}",
            "o.command: goes with type command_output",
        ),
        (
            "{type: secret_env, secret_ref: {name: s, key: k}}",
            "error: auth.credentials.profiles.p.auth_origins.o: type secret_env needs `env_name`",
        ),
        (
            "{type: secret_env, env_name: E}",
            "warning: auth.credentials.profiles.p.auth_origins.o: type secret_env needs `secret_ref`",
        ),
        (
            "{type: secret_env, env_name: a-b, secret_ref: {name: s, key: k}}",
            "\"a-b\" is no name of a variable",
        ),
        (
            "{type: secret_env, env_name: E, secret_ref: {name: s/x, key: k}}",
            "\"s/x\" is no name in Kubernetes",
        ),
        (
            "{type: http_header_token, request: {url: 'https://h'}}",
            "o: type http_header_token needs `extract`",
        ),
        ("{type: http_header_token, extract: {header: X}}", "needs `request`"),
        ("{type: http_header_token, request: {url: 'h'}, extract: {header: X}}", "expected a URL"),
        (
            "{type: http_header_token, request: {url: 'http://h'}, extract: {header: X}}",
            "warning: auth.credentials.profiles.p.auth_origins.o.request.url: a token that travels by http://",
        ),
        (
            "{type: http_header_token, request: {url: 'https://h', method: get}, extract: {header: X}}",
            "\"get\" is no HTTP method",
        ),
        (
            "{type: http_header_token, request: {url: 'https://h', headers: {'a b': c}}, extract: {header: X}}",
            "\"a b\" is no name of a header",
        ),
        (
            "{type: http_header_token, request: {url: 'https://h'}, extract: {header: 'X Y'}}",
            "\"X Y\" is no name of a header",
        ),
        ("{type: command_output, command: [a], path: ../x}", "o.path: \"../x\" is no plain name of a file"),
        ("{type: command_output, command: [a], path: x, delivery: env}", "goes with delivery file_mount"),
    ] {
        one(&format!("{{auth_origins: {{o: {origin}}}}}"), want);
    }
    one("{runtime_auth_resolvers: {r: {type: command}}}", "r: a resolver needs `command`");
    for (binding, want) in [
        (
            "{type: claude_api_key_helper}",
            "default_binding: type claude_api_key_helper needs `runtime_auth_resolver`",
        ),
        ("{type: bearer_env}", "type bearer_env needs `env_name`"),
        ("{type: token_file}", "type token_file needs `auth_origin`"),
        (
            "{type: claude_api_key_helper, runtime_auth_resolver: r, env_name: E}",
            "default_binding.env_name: goes with type bearer_env or token_file",
        ),
        (
            "{type: claude_api_key_helper, runtime_auth_resolver: r, auth_origin: o}",
            "default_binding.auth_origin: goes with type bearer_env or token_file",
        ),
        (
            "{type: token_file, auth_origin: o, runtime_auth_resolver: r}",
            "runtime_auth_resolver: goes with type claude_api_key_helper or bearer_env",
        ),
        (
            "{type: token_file, auth_origin: o, secret_ref: {name: s, key: k}}",
            "secret_ref: goes with type bearer_env",
        ),
        (
            "{type: bearer_env, env_name: E, auth_origin: o, runtime_auth_resolver: r}",
            "from `auth_origin` or `runtime_auth_resolver`, not from both",
        ),
        (
            "{type: bearer_env, env_name: E, auth_origin: oo}",
            "default_binding.auth_origin: there is no origin \"oo\" under auth.credentials.profiles.p.auth_origins; it has \"o\" (did you mean \"o\"?)",
        ),
        (
            "{type: claude_api_key_helper, runtime_auth_resolver: rr}",
            "there is no resolver \"rr\" under auth.credentials.profiles.p.runtime_auth_resolvers; it has \"r\" (did you mean \"r\"?)",
        ),
        (
            "{type: token_file, auth_origin: e}",
            "the origin says delivery env, and a binding of type token_file delivers it otherwise",
        ),
        ("{type: bearer_env, env_name: E, auth_origin: f}", "the origin says delivery file_mount"),
    ] {
        let rest = "auth_origins: {o: {type: command_output, command: [a]}, e: {type: command_output, command: [a], delivery: env}, f: {type: command_output, command: [a], delivery: file_mount}}, runtime_auth_resolvers: {r: {type: command, command: a}}";
        let rest = if want.contains("it has \"o\"") {
            "auth_origins: {o: {type: command_output, command: [a]}}"
        } else {
            rest
        };
        one(&format!("{{{rest}, default_binding: {binding}}}"), want);
    }
}

#[test]
fn assertions_name_what_there_is() {
    for (assertions, want) in [
        ("{require_source: [x]}", "require_source[0]: there is no origin \"x\""),
        ("{require_env: ['a b']}", "require_env[0]: \"a b\" is no name of a variable"),
        ("{require_env: [A], forbid_env: [A]}", "forbid_env[0]: is required by require_env"),
    ] {
        one(&format!("{{assertions: {assertions}}}"), want);
    }
}

#[test]
fn a_binding_must_fit_its_runtime() {
    let profile = "auth:\n  credentials:\n    profiles:\n      p:\n        runtime_auth_resolvers: {helper: {type: command, command: x}}\n        default_binding: {type: claude_api_key_helper, runtime_auth_resolver: helper}\n";
    for (runtimes, want) in [
        (
            "codex: {auth_profile: p}",
            "fracta.yaml:1:49: error: agents.agent_runtimes.codex.auth_profile: the profile's default_binding does not fit: claude_api_key_helper is Claude's alone, and this runtime's adapter is codex (give the runtime an auth_binding of type bearer_env)",
        ),
        (
            "mine: {adapter: opencode, auth_profile: p, auth_binding: {type: claude_api_key_helper, runtime_auth_resolver: helper}}",
            "mine.auth_binding.type: claude_api_key_helper is Claude's alone, and this runtime's adapter is opencode (use bearer_env)",
        ),
        (
            "claude: {auth_profile: p, auth_binding: {type: claude_api_key_helper, runtime_auth_resolver: helpr}}",
            "claude.auth_binding.runtime_auth_resolver: there is no resolver \"helpr\" under auth.credentials.profiles.p.runtime_auth_resolvers; it has \"helper\" (did you mean \"helper\"?)",
        ),
        (
            "claude: {auth_binding: {type: bearer_env, env_name: E}}",
            "claude.auth_binding: needs `auth_profile`",
        ),
        (
            "claude: {auth_profile: p, command: [claude, --settings=x.json]}",
            "claude.command: the command has --settings of its own",
        ),
    ] {
        let all = errors(&format!("agents: {{agent_runtimes: {{{runtimes}}}}}\n{profile}"));
        assert_eq!(all.len(), 1, "{all:#?}");
        assert!(all[0].contains(want), "{}\nlacks {want}", all[0]);
    }
    let fits =
        "codex: {auth_profile: p, auth_binding: {type: bearer_env, env_name: E}}, claude: {auth_profile: p}";
    load(&format!("agents: {{agent_runtimes: {{{fits}}}}}\n{profile}")).unwrap();
}

#[test]
fn one_slip_in_a_profile_is_one_error() {
    for profile in [
        "{auth_origins: {o: {type: command_output, command: a b}}, default_binding: {type: bearer_env, env_name: E, auth_origin: o}}",
        "{auth_origins: {o: {type: nope}}, default_binding: {type: bearer_env, env_name: E, auth_origin: o}}",
        "{default_binding: {type: token_file, auth_origin: [o]}}",
        "{runtime_auth_resolvers: {r: {type: command, command: [a]}}}",
    ] {
        one(profile, "error");
    }
    let own = "agents: {agent_runtimes: {codex: {auth_profile: p, auth_binding: {type: x}}}}\nauth: {credentials: {profiles: {p: {runtime_auth_resolvers: {r: {type: command, command: a}}, default_binding: {type: claude_api_key_helper, runtime_auth_resolver: r}}}}}";
    assert_eq!(errors(own).len(), 1, "{:#?}", errors(own));
}
