use super::{errors, good, load};
use crate::config::{Backend, Level, NotifyHow};
use crate::control::wire::Tier;
use crate::runtime::{Mode, Permissions};

fn env(name: &str) -> Option<String> {
    matches!(name, "SET").then(|| "value".to_owned())
}

#[test]
fn many_different_errors_at_once() {
    let text = "\
agent:
  max_running: 3
agents:
  default_runtime: codx
  default_mode: bach
  max_running: -1
  agent_runtimes:
    codex:
      step_limit: \"20\"
      command: codex --quiet
      auth_profile: openia
    mine:
      model: 4.1
    codex: {}
auth:
  credentials:
    profiles:
      openai: {}
logging: {level: Info}
control_plane:
  listen: 127.0.0.1:1
ui: {mouse: yes}
";
    assert_eq!(
        errors(text),
        [
            r#"fracta.yaml:1:1: error: agent: unknown key (did you mean "agents"?)"#,
            r#"fracta.yaml:4:20: error: agents.default_runtime: there is no runtime "codx"; there are "codex", "mine" (did you mean "codex"?)"#,
            r#"fracta.yaml:5:17: error: agents.default_mode: "bach" is none of "batch", "stream" (did you mean "batch"?)"#,
            "fracta.yaml:6:16: error: agents.max_running: expected a whole number from 0 to 10000, here is the number -1",
            r#"fracta.yaml:9:19: error: agents.agent_runtimes.codex.step_limit: expected a whole number from 0 to 100000, here is the text "20" (leave the quotes away)"#,
            r#"fracta.yaml:10:16: error: agents.agent_runtimes.codex.command: expected a list, here is the text "codex --quiet" (write a list: ["codex", "--quiet"])"#,
            r#"fracta.yaml:11:21: error: agents.agent_runtimes.codex.auth_profile: there is no profile "openia" under auth.credentials.profiles; it has "openai" (did you mean "openai"?)"#,
            r#"fracta.yaml:12:5: error: agents.agent_runtimes.mine: "mine" is no adapter's name, so `adapter` is needed: one of "claude", "codex", "opencode""#,
            "fracta.yaml:13:14: error: agents.agent_runtimes.mine.model: expected text, here is a number (put it in quotes)",
            "fracta.yaml:14:5: error: agents.agent_runtimes.codex: given twice, first at line 8",
            r#"fracta.yaml:19:18: error: logging.level: "Info" is none of "off", "error", "warn", "info", "debug", "trace" (did you mean "info"?)"#,
            "fracta.yaml:21:11: error: control_plane.listen: needs `control_plane.token_file`: whoever reaches this port could else run commands as you",
            r#"fracta.yaml:22:13: error: ui.mouse: expected true or false, here is the text "yes" (write true)"#,
        ]
    );
}

#[test]
fn defaults() {
    let c = good("{}").config;
    assert_eq!(c.agents.default_mode, Mode::Batch);
    assert_eq!(c.agents.max_running, 8);
    assert_eq!(c.runtime.backend, Backend::Local);
    assert_eq!(
        (c.runtime.kubernetes.job_ttl_seconds, c.runtime.kubernetes.ready_timeout_seconds),
        (300, 120)
    );
    assert_eq!(c.logging.level, Level::Info);
    assert!(!c.ui.mouse);
    assert_eq!(c.ui.notify.how(), NotifyHow::Bell);
}

#[test]
fn keys_without_values_are_not_there() {
    let c = good("agents:\nui:\n  mouse:\nruntime:\n  kubernetes:\n    tolerations:\n").config;
    assert_eq!((c.agents.max_running, c.ui.mouse), (8, false));
    let c = good("agents:\n  agent_runtimes:\n    claude:\n    codex:\n").config;
    assert_eq!(c.runtimes().map(|r| r.adapter).collect::<Vec<_>>(), ["claude", "codex"]);
    assert_eq!(
        errors("agents: {agent_runtimes: {claude: {env: {A: }}}}"),
        [
            "fracta.yaml:1:43: error: agents.agent_runtimes.claude.env.A: expected text, here is nothing (write \"\" for an empty text)"
        ]
    );
}

#[test]
fn x_keys_are_free_at_every_level_but_data_in_plain_maps() {
    let c = good(
        "x-a: &m {model: big}\nagents:\n  x-b: 1\n  agent_runtimes:\n    x-c: {nonsense: 1}\n    claude:\n      x-d: []\n      <<: *m\nmcp_servers:\n  s: {url: 'http://h', headers: {x-key: v}}\n",
    )
    .config;
    assert_eq!(c.runtimes().count(), 1);
    let claude = c.runtime(Some("claude"), &env).unwrap();
    assert_eq!(claude.config.model_for(None, None, &env).unwrap().as_deref(), Some("big"));
    assert_eq!(c.mcp_servers["s"].headers["x-key"].raw(), "v");
}

#[test]
fn merged_keys_yield_to_own_ones_and_to_earlier_ones() {
    let c = good("x-a: &a {model: a, step_limit: 1}\nx-b: &b {model: b, permissions: ask}\nagents: {agent_runtimes: {claude: {step_limit: 3, <<: [*a, *b]}}}\n").config;
    let claude = &c.agents.agent_runtimes["claude"];
    assert_eq!(claude.model.as_ref().unwrap().raw(), "a");
    assert_eq!((claude.step_limit, claude.permissions), (3, Some(Permissions::Ask)));
}

#[test]
fn paths_start_at_the_root() {
    let loaded = good("logging: {file: 'a/${SET}'}\ncontrol_plane: {token_file: /abs}\n");
    let path = |t: &Option<crate::config::Text>| loaded.path(t.as_ref().unwrap(), &env).unwrap();
    assert_eq!(path(&loaded.config.logging.file), loaded.root.join("a/value"));
    assert_eq!(path(&loaded.config.control_plane.token_file), std::path::Path::new("/abs"));
}

#[test]
fn unknown_keys_are_errors_at_every_level() {
    for (text, want) in [
        ("nonsense: 1", "fracta.yaml:1:1: error: nonsense: unknown key (known here: \"agents\", \"auth\", "),
        (
            "agents:\n  max-running: 1",
            "2:3: error: agents.max-running: unknown key (did you mean \"max_running\"?)",
        ),
        (
            "agents: {agent_runtimes: {claude: {kubernetes: {imag: x}}}}",
            "claude.kubernetes.imag: unknown key (did you mean \"image\"?)",
        ),
        (
            "auth: {credentials: {profiles: {p: {auth_origins: {o: {type: secret_env, env_name: E, secret_ref: {name: a, key: b}, secretref: 1}}}}}}",
            "o.secretref: unknown key (did you mean \"secret_ref\"?)",
        ),
        (
            "runtime: {kubernetes: {workspace: {git: {url: u, branch: b}}}}",
            "workspace.git.branch: unknown key (known here: \"ref\", \"secret_ref\", \"url\")",
        ),
    ] {
        let all = errors(text);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains(want), "{}\nlacks {want}", all[0]);
    }
}

#[test]
fn wrong_values_are_errors() {
    for (text, want) in [
        ("[1]", "fracta.yaml:1:1: error: a configuration is a map of keys, here is a list"),
        ("just text", "a configuration is a map of keys, here is the text \"just text\""),
        ("agents: []", "1:9: error: agents: expected a map, here is a list"),
        ("agents: {max_running: 1.5}", "expected a whole number from 0 to 10000, here is the number 1.5"),
        ("agents: {max_running: 99999999999999999999}", "here is the number 99999999999999999999"),
        ("agents: {max_running: 20000}", "expected a whole number from 0 to 10000, here is the number 20000"),
        ("agents: {max_running: 1_000}", "here is the text \"1_000\""),
        ("agents: {max_running: 08x}", "here is the text \"08x\""),
        ("agents: {default_runtime: {a: 1}}", "expected text, here is a map"),
        ("agents: {agent_runtimes: {claude: {command: []}}}", "command: the list is empty"),
        (
            "agents: {agent_runtimes: {claude: {command: [a, 1]}}}",
            "claude.command[1]: expected text, here is a number (put it in quotes)",
        ),
        (
            "agents: {agent_runtimes: {claude: {command: ['']}}}",
            "claude.command[0]: is empty (remove the key for the default)",
        ),
        ("agents: {agent_runtimes: {claude: {adapter: Claude}}}", "(did you mean \"claude\"?)"),
        (
            "agents: {agent_runtimes: {claude: {permissions: always}}}",
            "\"always\" is none of \"ask\", \"auto\"",
        ),
        ("agents: {agent_runtimes: {claude: {env: {A=B: c}}}}", "\"A=B\" is no name of a variable"),
        ("agents: {agent_runtimes: {claude: {env: {A: \"x\\0y\"}}}}", "holds a NUL character"),
        (
            "agents: {agent_runtimes: {claude: {model: '${}'}}}",
            "`${` without a variable's name; write ${NAME}",
        ),
        (
            "agents: {agent_runtimes: {'a b': {adapter: claude}}}",
            "agents.agent_runtimes.\"a b\": a name is up to 63",
        ),
        ("agents: {agent_runtimes: {claud: {}}}", "(did you mean \"claude\"?)"),
        (
            "agents: {default_runtime: codx}",
            "there are \"claude\", \"codex\", \"opencode\" (did you mean \"codex\"?)",
        ),
        (
            "auth: {credentials: {profiles: {p: {auth_origins: {o: {type: command_output, command: gh auth token}}}}}}",
            "(write a list: [\"gh\", \"auth\", \"token\"])",
        ),
        (
            "auth: {credentials: {profiles: {p: {auth_origins: {o: {scope: any}}}}}}",
            "p.auth_origins.o: the key \"type\" is missing",
        ),
        (
            "auth: {credentials: {profiles: {p: {auth_origins: {o: {type: command_output, command: [x], timeout_ms: 0}}}}}}",
            "from 1 to 600000",
        ),
        (
            "auth: {credentials: {profiles: {p: {default_binding: {type: bearer}}}}}",
            "is none of \"claude_api_key_helper\", \"bearer_env\", \"token_file\"",
        ),
        ("runtime: {backend: k8s}", "\"k8s\" is none of \"local\", \"kubernetes\""),
        ("runtime: {kubernetes: {image_pull_policy: always}}", "(did you mean \"Always\"?)"),
        ("runtime: {kubernetes: {ready_timeout_seconds: 0}}", "from 1 to 86400"),
        (
            "runtime: {kubernetes: {tolerations: [x]}}",
            "tolerations[0]: expected a map, here is the text \"x\"",
        ),
        ("runtime: {kubernetes: {extra_volumes: [{a: '${'}]}}", "extra_volumes[0].a: `${` without its `}`"),
        ("gateway: {url: 'ftp://u:p@h'}", "gateway.url: expected a URL that starts with http:// or https://"),
        ("gateway: {token_env: T}", "gateway.token_env: needs `gateway.url`"),
        ("gateway: {url: 'http://h', token_env: a-b}", "\"a-b\" is no name of a variable"),
        ("mcp_servers: {s: {}}", "mcp_servers.s: needs either `command`"),
        ("mcp_servers: {s: {command: a, url: 'http://h'}}", "mcp_servers.s: needs either `command`"),
        (
            "mcp_servers: {s: {command: a, headers: {b: c}}}",
            "mcp_servers.s.headers: goes with `url`, which is not there",
        ),
        ("mcp_servers: {s: {url: 'http://h', env: {b: c}}}", "mcp_servers.s.env: goes with `command`"),
        ("mcp_servers: {s: {url: 'http://h', headers: {'a b': c}}}", "\"a b\" is no name of a header"),
        ("control_plane: {listen: '7411', token_file: t}", "\"7411\" is no address with a port"),
        ("logging: {file: ~/log}", "logging.file: `~` means nothing here (write ${HOME}/…)"),
        ("control_plane: {token_file: ''}", "control_plane.token_file: is empty"),
        ("logging: {level: verbose}", "is none of \"off\", \"error\""),
        (
            "ui: {keys: {quit: 1}}",
            "ui.keys.quit: expected a list or text, here is a number (put it in quotes)",
        ),
        ("ui: {notify: loud}", "\"loud\" is none of \"off\", \"bell\", \"osc9\""),
        (
            "ui: {notify: 1}",
            "expected true or false or one of \"off\", \"bell\", \"osc9\", here is the number 1",
        ),
        ("ui: {theme: !custom x}", "YAML tags have no meaning here; remove it"),
        ("1: x", "a key is text, here is the number 1 (write \"1\":)"),
        ("? [a]\n: b", "a key is text, here is a list"),
    ] {
        let all = errors(text);
        assert_eq!(all.len(), 1, "{text}\n{all:?}");
        assert!(all[0].contains(want), "{}\nlacks {want}", all[0]);
    }
}

#[test]
fn one_slip_is_one_error() {
    for text in [
        "agents: {agent_runtimes: {mine: {adapter: clod}}}",
        "agents: {default_runtime: mine, agent_runtimes: {mine: 3}}",
        "agents: {default_runtime: [], agent_runtimes: {codex: {}}}",
        "agents: {agent_runtimes: {codex: {auth_profile: p}}}\nauth: {credentials: {profiles: {p: 1}}}",
        "mcp_servers: {s: {url: 1}}",
        "mcp_servers: {s: {command: [a], args: [b]}}",
        "gateway: {url: 1, token_env: T}",
        "control_plane: {listen: '127.0.0.1:1', token_file: 1}",
    ] {
        assert_eq!(errors(text).len(), 1, "{:#?}", errors(text));
    }
}

#[test]
fn yaml_that_is_none() {
    for (text, want) in [
        ("", "fracta.yaml: error: the file holds no settings (remove it, or write {} to use the defaults)"),
        ("# only words\n", "the file holds no settings"),
        ("---\n", "the file holds no settings"),
        ("a: 1\n---\nb: 2\n", "fracta.yaml:2:1: error: a second YAML document starts here"),
        ("ui:\n\tmouse: true\n", "(indent with spaces, not tabs)"),
        ("ui: {mouse: true\n", "not YAML: "),
        ("ui: *nope\n", "not YAML: "),
        ("ui: &a {x-b: *a}\n", "fracta.yaml:1:14: error: ui.x-b: an alias inside of what it stands for"),
        ("<<: 1\n", "`<<` takes a map or a list of maps, here is the number 1"),
    ] {
        let all = errors(text);
        assert!(all[0].contains(want), "{}\nlacks {want}", all[0]);
    }
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    assert!(errors("\u{feff}nope: 1")[0].starts_with("fracta.yaml:1:1: error: nope"));
    good("\u{feff}ui: {mouse: true}");
    assert!(good("ui:\r\n  mouse: true\r\n").config.ui.mouse);
}

#[test]
fn legacy_maps_load_and_say_the_new_place() {
    let (loaded, warnings) = load("runtimes:\n  codex: {model: m}\nhosts:\n  claude: {}\n").unwrap();
    assert_eq!(
        warnings,
        [
            "fracta.yaml:1:1: warning: runtimes: deprecated: move these entries to `agents.agent_runtimes`",
            "fracta.yaml:3:1: warning: hosts: deprecated: move these entries to `agents.agent_runtimes`",
            "fracta.yaml:3:1: warning: hosts: ignored as a whole, since runtimes has entries",
        ]
    );
    assert_eq!(loaded.config.runtimes().map(|r| r.name).collect::<Vec<_>>(), ["codex"]);
    assert_eq!(
        loaded.config.agents.agent_runtimes["codex"].model.as_ref().unwrap().key(),
        "runtimes.codex.model"
    );

    let (loaded, _) = load("agents: {agent_runtimes: {}}\nruntimes: {}\nhosts: {claude: {}}\n").unwrap();
    assert_eq!(loaded.config.runtimes().map(|r| r.name).collect::<Vec<_>>(), ["claude"]);
    let (loaded, warnings) = load("agents: {agent_runtimes: {opencode: {}}}\nhosts: {claude: {}}\n").unwrap();
    assert_eq!(loaded.config.runtimes().map(|r| r.name).collect::<Vec<_>>(), ["opencode"]);
    assert!(warnings[1].contains("hosts: ignored as a whole, since agents.agent_runtimes has entries"));
    assert!(errors("hosts: {mine: {}}")[1].contains("hosts.mine: \"mine\" is no adapter's name"));

    let order = "auth: {credentials: {profiles: {p: {runtime_auth_resolvers: {r: {type: command, command: x, order: 1}}}}}}";
    let (_, warnings) = load(order).unwrap();
    assert!(warnings[0].ends_with("r.order: deprecated: it has no effect; remove it"), "{warnings:?}");
}

#[test]
fn the_runtime_of_a_spawn() {
    let two = good("agents: {agent_runtimes: {codex: {}, claude: {}}}").config;
    assert_eq!(two.runtime(Some("codex"), &env).unwrap().name, "codex");
    assert_eq!(two.runtime(None, &env).unwrap().name, "claude");
    assert_eq!(
        two.runtime(Some("codx"), &env).unwrap_err().to_string(),
        r#"there is no runtime "codx" (did you mean "codex"?); there are "claude", "codex""#
    );
    let only = good("agents: {agent_runtimes: {mine: {adapter: codex}}}").config;
    let mine = only.runtime(None, &env).unwrap();
    assert_eq!((mine.name, mine.adapter), ("mine", "codex"));
    assert_eq!(mine.config.command_for("codex", &env).unwrap(), ["codex"]);
    let named = good("agents: {default_runtime: codex, agent_runtimes: {codex: {}, claude: {}}}").config;
    assert_eq!(named.runtime(None, &env).unwrap().name, "codex");
    let neither = good("agents: {agent_runtimes: {codex: {}, opencode: {}}}").config;
    assert!(neither.runtime(None, &env).unwrap_err().to_string().contains("set agents.default_runtime"));
    let variable =
        good("agents: {default_runtime: '${R:-codex}', agent_runtimes: {codex: {}, claude: {}}}").config;
    assert_eq!(variable.runtime(None, &env).unwrap().name, "codex");
    let unset = good("agents: {default_runtime: '${R}', agent_runtimes: {codex: {}}}").config;
    assert!(unset.runtime(None, &env).unwrap_err().to_string().contains("variable R is not set"));
    assert_eq!(unset.runtime(Some("codex"), &env).unwrap().name, "codex");
}

#[test]
fn the_model_of_a_spawn() {
    let c = good("agents: {agent_runtimes: {claude: {model: m, model_tiers: {heavy: 'h-${SET}', light: l}}, codex: {}}}").config;
    let claude = c.runtime(Some("claude"), &env).unwrap().config;
    let model = |cli, tier| claude.model_for(cli, tier, &env).unwrap();
    assert_eq!(model(Some("x"), Some(Tier::Heavy)).as_deref(), Some("x"));
    assert_eq!(model(None, Some(Tier::Heavy)).as_deref(), Some("h-value"));
    assert_eq!(model(None, None).as_deref(), Some("m"));
    assert_eq!(
        claude.model_for(None, Some(Tier::Medium), &env).unwrap_err().to_string(),
        "model_tiers: this runtime has no tier medium; there are heavy, light: name the model with --model"
    );
    let codex = c.runtime(Some("codex"), &env).unwrap().config;
    assert_eq!(codex.model_for(None, None, &env).unwrap(), None);
    assert!(
        codex
            .model_for(None, Some(Tier::Light), &env)
            .unwrap_err()
            .to_string()
            .contains("no model_tiers at all")
    );
}

#[test]
fn permissions_follow_the_mode_unless_set() {
    let c = good("agents: {agent_runtimes: {claude: {}, codex: {permissions: auto}}}").config;
    let of = |name, mode| c.agents.agent_runtimes[name].permissions_for(mode);
    assert_eq!(of("claude", Mode::Stream), Permissions::Ask);
    assert_eq!(of("claude", Mode::Batch), Permissions::Auto);
    assert_eq!(of("codex", Mode::Stream), Permissions::Auto);
}

#[test]
fn notify_and_keys_take_both_forms() {
    let how = |v: &str| good(&format!("ui: {{notify: {v}}}")).config.ui.notify.how();
    assert_eq!(
        [how("off"), how("false"), how("true"), how("osc9")],
        [NotifyHow::Off, NotifyHow::Off, NotifyHow::Bell, NotifyHow::Osc9]
    );
    let c = good("ui: {keys: {quit: q, down: [j, down]}}").config;
    let keys = |a: &str| c.ui.keys[a].keys().iter().map(|t| t.raw().to_owned()).collect::<Vec<_>>();
    assert_eq!((keys("quit"), keys("down")), (vec!["q".to_owned()], vec!["j".to_owned(), "down".to_owned()]));
}

#[test]
fn an_unset_variable_is_an_error_only_where_the_default_spawn_uses_it() {
    let loaded = good(
        "agents:
  agent_runtimes:
    claude:
      model: ${SET}-${A}
      auth_profile: p
      model_tiers: {heavy: \"${B}\"}
      kubernetes: {image: \"${C}\"}
    codex: {model: \"${D}\"}
auth:
  credentials:
    profiles:
      p: {env: {K: \"${E}\"}}
      q: {env: {K: \"${F}\"}}
runtime: {kubernetes: {context: \"${G:-}\", extra_volumes: [{name: \"${H}\"}]}}
project: {allowed_tools: [\"${I}${J}\"]}
",
    );
    let all: Vec<_> = loaded
        .unset(&env)
        .iter()
        .map(|d| format!("{:?} {} {}", d.severity, d.line.unwrap(), d.key))
        .collect();
    assert_eq!(
        all,
        [
            "Error 4 agents.agent_runtimes.claude.model",
            "Warning 6 agents.agent_runtimes.claude.model_tiers.heavy",
            "Warning 7 agents.agent_runtimes.claude.kubernetes.image",
            "Warning 8 agents.agent_runtimes.codex.model",
            "Error 12 auth.credentials.profiles.p.env.K",
            "Warning 13 auth.credentials.profiles.q.env.K",
            "Warning 14 runtime.kubernetes.extra_volumes[0].name",
            "Error 15 project.allowed_tools[0]",
            "Error 15 project.allowed_tools[0]",
        ]
    );
    let first = loaded.unset(&env)[0].to_string();
    assert!(first.ends_with("fracta.yaml:4:14: error: agents.agent_runtimes.claude.model: the environment variable A is not set: set it, or write ${A:-default}"), "{first}");
    assert_eq!(loaded.unset(&|_| Some(String::new())), []);

    let pods = good(
        "agents: {agent_runtimes: {claude: {env: {A: '${A}'}, kubernetes: {image: '${B}'}}}}\nruntime: {backend: kubernetes, kubernetes: {image: '${C}'}}\n",
    );
    let all: Vec<_> = pods.unset(&env).iter().map(|d| format!("{:?} {}", d.severity, d.key)).collect();
    assert_eq!(
        all,
        [
            "Warning agents.agent_runtimes.claude.env.A",
            "Error agents.agent_runtimes.claude.kubernetes.image",
            "Error runtime.kubernetes.image",
        ]
    );
}

#[test]
fn quantities_may_be_numbers() {
    let c = good("runtime: {kubernetes: {resources: {limits: {cpu: 2, memory: 1.5, x: 3Gi}}}}").config;
    let limits = &c.runtime.kubernetes.resources.limits;
    assert_eq!([limits["cpu"].0.raw(), limits["memory"].0.raw(), limits["x"].0.raw()], ["2", "1.5", "3Gi"]);
}

#[test]
fn values_do_not_show_in_debug() {
    let c = good("agents: {agent_runtimes: {claude: {env: {KEY: hunter2}}}}\nruntime: {kubernetes: {tolerations: [{a: hunter2}]}}").config;
    assert!(!format!("{c:?}").contains("hunter2"));
}

#[test]
fn what_may_be_a_secret_is_not_in_errors() {
    for text in [
        "agents: {agent_runtimes: {claude: {env: {TOKEN: 424242}}}}",
        "agents: {agent_runtimes: {claude: {env: {TOKEN: 'pa${424242}'}}}}",
        "agents: {agent_runtimes: {claude: {env: {TOKEN: 'pa${424242'}}}}",
        "mcp_servers: {s: {url: 'http://h', headers: {K: 424242.5}}}",
        "gateway: {url: 'tcp://u:424242@h'}",
    ] {
        assert!(!errors(text).concat().contains("424242"), "{:?}", errors(text));
    }
}
