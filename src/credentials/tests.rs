//! The tables, row by row: plans and what they come to. Nobody is asked here; see `prepare/tests.rs`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::deliver::{Delivery, FileContent, deliver};
use super::environment::{KeyRef, Layer, Value};
use super::plan::{Plan, Request, plan};
use super::prepare::{Context, Prepared, prepare};
use super::report::{Outcome, Source};
use super::*;
use crate::config::Config;

const FILES: &str = "/s/credentials";
const SECRET: &str = "s3cret-value";

pub(super) fn config(yaml: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("fracta.yaml"), yaml).unwrap();
    crate::config::load(None, dir.path()).unwrap_or_else(|e| panic!("{e}\nin:\n{yaml}")).config
}

pub(super) fn host(vars: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
    vars.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect()
}

/// The plan of a runtime of the name of its adapter, with profile `p`.
pub(super) fn planned(
    adapter: &str,
    profile: &str,
    runtime: &str,
    backend: &str,
    vars: &[(&str, &str)],
) -> Plan {
    let yaml = format!(
        "agents: {{agent_runtimes: {{{adapter}: {{auth_profile: p, {runtime}}}}}}}\nauth: {{credentials: {{profiles: {{p: {profile}}}}}}}\n"
    );
    let config = config(&yaml);
    let runtime = config.runtime(Some(adapter), &|_| None).unwrap();
    let adapter_env = [(OsString::from("ADAPTERS"), OsString::from("1"))];
    let runs = |program: &str| program != "not-there";
    plan(&Request {
        config: &config,
        runtime,
        backend,
        host: &host(vars),
        adapter: &adapter_env,
        files: Path::new(FILES),
        runs: &runs,
    })
}

async fn delivered(plan: &Plan) -> Result<Delivery, String> {
    let host = host(&[("PATH", "/usr/bin:/bin")]);
    let context = Context { root: Path::new("/"), host: &host, cwd: Path::new("/") };
    let prepared = prepare(plan, &context).await;
    deliver(plan, &prepared, Path::new(FILES)).map_err(|r| r.to_string())
}

#[test]
fn the_table_of_phases() {
    use Phase::*;
    for (scope, host, cluster) in [
        (Scope::HostEdge, PrepareNow, Unavailable),
        (Scope::AgentRuntime, RuntimeOnly, RuntimeOnly),
        (Scope::Any, PrepareNow, PrepareNow),
    ] {
        assert_eq!(Phase::of(scope, Topology::Host), host, "{scope:?}");
        assert_eq!(Phase::of(scope, Topology::Cluster), cluster, "{scope:?}");
    }
}

#[tokio::test]
async fn later_layers_win() {
    let profile = "{auth_origins: {o: {type: command_output, command: [echo, bound]}}, env: {P: profile, B: profile, R: profile, Q: '${H}-x'}, default_binding: {type: bearer_env, env_name: B, auth_origin: o}}";
    let vars = [("I", "inherited"), ("ADAPTERS", "inherited"), ("R", "inherited"), ("H", "host")];
    let plan = planned("codex", profile, "env: {ADAPTERS: runtime, R: runtime, X: runtime}", "local", &vars);
    let given = delivered(&plan).await.unwrap();
    for (name, text, from) in [
        ("I", "inherited", Layer::Inherited),
        ("ADAPTERS", "runtime", Layer::Runtime),
        ("X", "runtime", Layer::Runtime),
        ("R", "profile", Layer::Profile),
        ("P", "profile", Layer::Profile),
        ("Q", "host-x", Layer::Profile),
        ("B", "bound", Layer::Binding),
    ] {
        assert_eq!(given.env.text(name).as_deref(), Some(text), "{name}");
        assert_eq!(given.env.get(name).unwrap().from, from, "{name}");
    }
    assert_eq!(given.known.len(), 1, "only what was prepared");
}

#[test]
fn pods_inherit_nothing_and_show_no_secret() {
    let runtime = "env: {LOCAL: x}, kubernetes: {env: [{name: A, value: plain}, {name: B, secret_ref: {name: s, key: k}}, {name: C, valueFrom: {fieldRef: {fieldPath: x}}}, {name: D_TOKEN, value: literal}, {name: E, value: '${H}'}]}";
    let plan =
        planned("codex", "{env: {P: profile, P_KEY: literal}}", runtime, "kubernetes", &[("H", SECRET)]);
    let env = plan.planned();
    let of = |name: &str| format!("{:?}", env.get(name).unwrap().value);
    assert_eq!(
        [of("A"), of("B"), of("C"), of("D_TOKEN"), of("E")],
        ["Plain", "SecretKey", "Native", "Secret", "Secret"]
    );
    assert_eq!([of("P"), of("P_KEY")], ["Plain", "Secret"]);
    assert!(env.get("LOCAL").is_none() && env.get("H").is_none());
    assert!(plan.report().ok);
}

#[tokio::test]
async fn bearer_env_of_each_origin_and_place() {
    let of = |origin: &str, backend: &str, vars: &[(&str, &str)]| {
        let profile = format!(
            "{{auth_origins: {{o: {origin}}}, default_binding: {{type: bearer_env, env_name: B, auth_origin: o}}}}"
        );
        planned("codex", &profile, "", backend, vars)
    };
    let secret_env = "{type: secret_env, env_name: TOKEN, secret_ref: {name: s, key: k}}";
    let key = KeyRef { name: "s".to_owned(), key: "k".to_owned() };

    let here = of(secret_env, "local", &[("TOKEN", SECRET)]);
    assert_eq!(delivered(&here).await.unwrap().env.text("B").as_deref(), Some(SECRET));
    let unset = of(secret_env, "local", &[]).report();
    assert_eq!(unset.problems, ["origin o: the variable TOKEN is not set where fracta serve was started"]);
    assert_eq!(
        unset.origins[0].problem.as_deref(),
        Some("the variable TOKEN is not set where fracta serve was started")
    );

    // The value never passes through fracta, though the control plane has it.
    let pod = of(secret_env, "kubernetes", &[("TOKEN", SECRET)]);
    let given = delivered(&pod).await.unwrap();
    assert!(matches!(&given.env.get("B").unwrap().value, Value::SecretKey(k) if *k == key));
    assert!(given.known.is_empty());

    let edge = of("{type: command_output, command: [echo, x]}", "kubernetes", &[]).report();
    assert_eq!((edge.ok, edge.origins[0].phase), (false, Phase::Unavailable));
    assert!(
        edge.problems[0].starts_with("origin o: its scope is host_edge, and the agent runs in a cluster"),
        "{edge:?}"
    );
    let any = of("{type: command_output, command: [echo, anyvalue], scope: any}", "kubernetes", &[]);
    let given = delivered(&any).await.unwrap();
    assert!(matches!(&given.env.get("B").unwrap().value, Value::Secret(_)));
    let inside =
        of("{type: command_output, command: [echo, \"a'b\"], scope: agent_runtime}", "kubernetes", &[]);
    assert!(
        matches!(&inside.planned().get("B").unwrap().value, Value::Command(c) if c == r"'echo' 'a'\''b'")
    );
    assert_eq!(inside.report().origins[0].phase, Phase::RuntimeOnly);

    let gone = of("{type: command_output, command: [not-there]}", "local", &[]).report();
    assert_eq!(gone.problems, ["origin o: not-there is not a program that can be run here (is it on PATH?)"]);
}

#[tokio::test]
async fn bearer_env_without_origin() {
    let of = |binding: &str, backend: &str, vars: &[(&str, &str)]| {
        let profile = format!(
            "{{runtime_auth_resolvers: {{r: {{type: command, command: 'printf %s resolved-$X'}}}}, default_binding: {{type: bearer_env, env_name: B, {binding}}}}}"
        );
        planned("opencode", &profile, "", backend, vars)
    };
    let set = of("", "local", &[("B", SECRET)]);
    assert_eq!(set.report().binding.unwrap().source, Source::Environment);
    let given = delivered(&set).await.unwrap();
    assert_eq!((given.known[0].0.as_str(), given.known.len()), ("B", 1), "the credential is known as one");
    let missing = of("", "local", &[]).report();
    assert_eq!(
        missing.problems,
        ["the binding names neither origin nor resolver, so B has to be set already, and it is not"]
    );

    let reference = "secret_ref: {name: s, key: k}";
    let pod = of(reference, "kubernetes", &[]);
    assert!(matches!(&pod.planned().get("B").unwrap().value, Value::SecretKey(_)));
    assert!(!of(reference, "local", &[]).report().ok);

    // In the agent's place: with its environment.
    let resolved = of("runtime_auth_resolver: r", "local", &[("X", "7"), ("PATH", "/usr/bin:/bin")]);
    assert_eq!(delivered(&resolved).await.unwrap().env.text("B").as_deref(), Some("resolved-7"));
    let in_pod = of("runtime_auth_resolver: r", "kubernetes", &[]);
    assert!(
        matches!(&in_pod.planned().get("B").unwrap().value, Value::Command(c) if c.starts_with("printf"))
    );
}

#[tokio::test]
async fn token_files() {
    let of = |origin: &str, more: &str, backend: &str| {
        let profile = format!(
            "{{auth_origins: {{o: {{{origin}}}}}, default_binding: {{type: token_file, auth_origin: o{more}}}}}"
        );
        planned("codex", &profile, "", backend, &[("TOKEN", SECRET)])
    };
    let plan = of("type: command_output, command: [printf, 'one\\ntwo\\n']", ", env_name: T", "local");
    assert_eq!(plan.report().files[0].env_name.as_deref(), Some("T"));
    let given = delivered(&plan).await.unwrap();
    assert_eq!(given.env.text("T").as_deref(), Some("/s/credentials/o"));
    let FileContent::Secret(content) = &given.files[0].content else { panic!() };
    assert_eq!(secrecy::ExposeSecret::expose_secret(content), "one\ntwo", "a file may hold lines");
    assert_eq!(given.files[0].path, Path::new("/s/credentials/o"));

    let named = of("type: command_output, command: [echo, x], path: my.token", "", "local");
    assert_eq!(delivered(&named).await.unwrap().files[0].name, "my.token");

    let mount =
        of("type: secret_env, env_name: TOKEN, secret_ref: {name: s, key: k}", ", env_name: T", "kubernetes");
    let given = delivered(&mount).await.unwrap();
    assert!(matches!(&given.files[0].content, FileContent::SecretKey(k) if k.name == "s"));
    let inside =
        of("type: command_output, command: [echo, x], scope: agent_runtime", "", "kubernetes").report();
    assert!(inside.problems[0].contains("the file has to be there before"), "{inside:?}");

    // An optional origin that fails leaves neither file nor variable.
    let optional = of("type: command_output, command: ['false'], required: false", ", env_name: T", "local");
    let given = delivered(&optional).await.unwrap();
    assert!(given.files.is_empty() && given.env.get("T").is_none());
    assert_eq!(given.warnings, ["o: false ended with exit code 1"]);
}

#[tokio::test]
async fn optional_origins_leave_what_was_set_before() {
    let of = |required: bool| {
        let profile = format!(
            "{{auth_origins: {{o: {{type: command_output, command: ['false'], required: {required}}}}}, env: {{B: before}}, default_binding: {{type: bearer_env, env_name: B, auth_origin: o}}}}"
        );
        planned("codex", &profile, "", "local", &[])
    };
    assert_eq!(delivered(&of(false)).await.unwrap().env.text("B").as_deref(), Some("before"));
    let why = delivered(&of(true)).await.err().unwrap();
    assert!(why.contains("o: false ended with exit code 1"), "{why}");
}

#[tokio::test]
async fn origins_with_a_delivery_of_their_own() {
    let profile = "{auth_origins: {e: {type: secret_env, env_name: TOKEN, secret_ref: {name: s, key: k}, delivery: env}, f: {type: command_output, command: [echo, filevalue], delivery: file_mount, path: f.txt}, unused: {type: command_output, command: [not-there]}}}";
    let plan = planned("codex", profile, "", "local", &[("TOKEN", SECRET)]);
    let report = plan.report();
    assert!(report.ok, "{report:?}");
    let used: Vec<_> = report.origins.iter().map(|o| (o.name.as_str(), o.used)).collect();
    assert_eq!(used, [("e", true), ("f", true), ("unused", false)], "what nobody wants is not asked");
    let given = delivered(&plan).await.unwrap();
    assert_eq!(given.env.get("TOKEN").unwrap().from, Layer::Binding);
    assert_eq!(given.files[0].name, "f.txt");
    let pod = planned("codex", profile, "", "kubernetes", &[]);
    assert!(matches!(&pod.planned().get("TOKEN").unwrap().value, Value::SecretKey(_)));
}

#[test]
fn claudes_helper() {
    let of = |command: &str, vars: &[(&str, &str)]| {
        let profile = format!(
            "{{runtime_auth_resolvers: {{r: {{type: command, command: '{command}', ttl_ms: 1500}}}}, default_binding: {{type: claude_api_key_helper, runtime_auth_resolver: r}}}}"
        );
        planned("claude", &profile, "", "local", vars)
    };
    let plain = of("get key", &[]);
    assert_eq!(plain.helper().unwrap().command, "get key");
    assert_eq!(plain.planned().text("CLAUDE_CODE_API_KEY_HELPER_TTL_MS").as_deref(), Some("1500"));
    assert!(plain.files.is_empty());
    let report = plain.report();
    assert_eq!((report.resolvers[0].ttl_ms, report.resolvers[0].used, report.ok), (1500, true, true));
    // What was a variable may be a secret, and the helper's command is an argument of a shell.
    let expanded = of("get ${V}", &[("V", SECRET)]);
    assert_eq!(expanded.helper().unwrap().command, "/bin/sh '/s/credentials/helper-r.sh'");
    assert_eq!(expanded.files[0].name, "helper-r.sh");
    let shadowed = of("get key", &[("ANTHROPIC_API_KEY", SECRET)]).report();
    assert!(shadowed.warnings[0].starts_with("ANTHROPIC_API_KEY is set (inherited)"), "{shadowed:?}");
    assert!(shadowed.ok);
}

#[tokio::test]
async fn assertions_are_held_against_the_final_environment() {
    let profile = "{auth_origins: {good: {type: command_output, command: [echo, goodvalue]}, bad: {type: command_output, command: ['false'], required: false}, far: {type: command_output, command: [echo, x], scope: agent_runtime}}, env: {P: x, EMPTY: '', EMPTY2: ''}, default_binding: {type: bearer_env, env_name: B, auth_origin: good}, assertions: {require_env: [B, P, I, EMPTY, NOPE], forbid_env: [F, EMPTY2, NOPE2, ADAPTERS], require_source: [good, bad, far], warn_if_missing_env: [P, W]}}";
    let plan = planned("codex", profile, "", "local", &[("I", "x"), ("F", "x")]);
    let report = plan.report();
    let outcomes: Vec<_> = report
        .assertions
        .iter()
        .map(|a| format!("{} {} {}", a.outcome.word(), a.kind.word(), a.name))
        .collect();
    assert_eq!(
        outcomes,
        [
            "pass require_env B",
            "pass require_env P",
            "pass require_env I",
            "fail require_env EMPTY",
            "fail require_env NOPE",
            "fail forbid_env F",
            "pass forbid_env EMPTY2",
            "pass forbid_env NOPE2",
            "fail forbid_env ADAPTERS",
            "pass require_source good",
            "pass require_source bad",
            "fail require_source far",
            "pass warn_if_missing_env P",
            "warn warn_if_missing_env W",
        ],
        "all are told, whatever fails"
    );
    assert!(!report.ok);
    assert_eq!(report.problems.len(), 5, "{:?}", report.problems);
    assert_eq!(report.assertions[11].why.as_deref(), Some("here it is runtime only"));
    // For real, a source that failed is no source.
    let why = delivered(&plan).await.err().unwrap();
    assert!(why.contains("require_source bad: false ended with exit code 1"), "{why}");
    assert!(report.assertions.iter().any(|a| a.outcome == Outcome::Warn));
}

#[test]
fn a_report_holds_names_and_no_values() {
    let profile = "{auth_origins: {o: {type: http_header_token, request: {url: 'https://user:${H}@login.example/x?k=${H}', headers: {A: '${H}'}}, extract: {header: X-Token}}, c: {type: command_output, command: [echo, '${H}'], delivery: file_mount}}, runtime_auth_resolvers: {r: {type: command, command: 'x ${H}'}}, env: {P: '${H}'}, default_binding: {type: bearer_env, env_name: B, auth_origin: o}, assertions: {forbid_env: [H]}}";
    let plan = planned("codex", profile, "env: {R: '${H}'}", "local", &[("H", SECRET)]);
    let report = plan.report();
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains(SECRET) && !format!("{report:?}").contains(SECRET), "{json}");
    assert_eq!(report.origins[1].from, "the header X-Token of login.example");
    assert!(!format!("{:?}", plan.planned()).contains(SECRET));
    let back: report::Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back, report);
    assert!(!plan.refusal().unwrap().contains(SECRET));
}

#[test]
fn without_a_profile_it_says_what_the_cli_finds() {
    let of = |vars: &[(&str, &str)]| {
        let config = config("agents: {agent_runtimes: {claude: {}}}");
        let runtime = config.runtime(None, &|_| None).unwrap();
        let request = Request {
            config: &config,
            runtime,
            backend: "local",
            host: &host(vars),
            adapter: &[],
            files: Path::new(FILES),
            runs: &|_| true,
        };
        plan(&request).report()
    };
    assert_eq!(of(&[]).summary, "the CLI's own login");
    assert!(of(&[]).ok);
    let summary = of(&[("ANTHROPIC_API_KEY", SECRET)]).summary;
    assert_eq!(summary, "the variable ANTHROPIC_API_KEY (inherited), or the CLI's own login");
}

#[test]
fn an_unset_variable_is_a_problem_that_names_it() {
    let plan = planned("codex", "{env: {A: '${NOT_THERE}'}}", "", "local", &[]);
    assert!(plan.report().problems[0].contains("the environment variable NOT_THERE is not set"));
    assert!(deliver(&plan, &Prepared::default(), Path::new(FILES)).is_err());
}

#[test]
fn names_of_files() {
    for good in ["a", "a.b_c-1"] {
        assert!(is_file_name(good), "{good}");
    }
    for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "é", &"a".repeat(200)] {
        assert!(!is_file_name(bad), "{bad}");
    }
}
