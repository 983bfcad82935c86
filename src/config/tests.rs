//! Whole files, good and broken.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::*;
use crate::proxy::spec::LimitsSpec;

/// Surroundings that a test makes up.
#[derive(Default)]
struct Told {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Surroundings for Told {
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.variables.get(name).map(|value| (*value).to_owned()))
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let found = self.files.get(path.to_str().unwrap());
        found
            .map(|text| (*text).to_owned())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

fn told(variables: &[(&'static str, &'static str)]) -> Told {
    Told {
        variables: variables.iter().copied().collect(),
        files: BTreeMap::from([("/run/port", "3001\n"), ("/run/two", "a\n\n")]),
    }
}

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !path.ends_with("schema.json"))
        .collect();
    files.sort();
    files
}

const REST: &str = "
listeners: [{ address: '127.0.0.1:0' }]
backends: { a: { endpoints: ['http://a:1'] } }
";

fn yaml(text: &str, surroundings: &Told) -> Result<Config, Diagnostics> {
    parse(Path::new("test.yaml"), text, surroundings)
}

fn codes(result: Result<Config, Diagnostics>) -> Vec<(Code, usize)> {
    let diagnostics = result.unwrap_err();
    let place = |d: &Diagnostic| (d.code, d.line.unwrap_or(0));
    diagnostics.as_slice().iter().map(place).collect()
}

#[test]
fn every_example_is_accepted() {
    let examples = folder("config");

    assert!(examples.len() >= 7);
    for path in examples {
        if let Err(diagnostics) = load_with(&path, &Told::default()) {
            panic!("{diagnostics}");
        }
    }
}

#[test]
fn the_admin_api_is_never_open_to_the_network_by_mistake() {
    let tls = |more: &str| format!("tls: {{ certificates: [{{ cert: a, key: b }}]{more} }}");
    let token = "tokens: [{ name: ci, role: admin, secret: ci-0123456789abcdefghij }]";
    let asks = tls(", client_ca: c");
    let asks_kindly = tls(", client_ca: c, client_certificates: optional");
    let fine = |admin: &str| {
        let text =
            format!("{REST}admin: {{ {admin} }}\nroutes: [{{ name: r, split: {{ a: 1 }} }}]");
        yaml(&text, &Told::default()).is_ok()
    };

    for (rest, expected) in [
        (String::new(), false),
        (token.to_owned(), false),
        (tls(""), false),
        (asks_kindly.clone(), false),
        (format!("{}, {token}", tls("")), true),
        (asks.clone(), true),
        (format!("{asks_kindly}, {token}"), true),
    ] {
        for address in [
            "0.0.0.0:9900",
            "[::]:9900",
            "10.0.0.1:9900",
            "[::ffff:10.0.0.1]:9900",
        ] {
            let admin = format!("address: \"{address}\", {rest}");
            assert_eq!(fine(&admin), expected, "{admin}");
        }
        for address in ["127.0.0.1:9900", "[::1]:9900", "127.9.9.9:9900"] {
            assert!(
                fine(&format!("address: \"{address}\", {rest}")),
                "{address} {rest}"
            );
        }
    }
    let certificates = "certificates: [{ name: ops, role: admin }]";
    assert!(!fine(certificates), "nobody is asked for a certificate");
    assert!(fine(&format!("{asks}, {certificates}")));
    assert!(!fine(
        &token.replace("role: admin", "role: deployer, routes: [rr]")
    ));
    assert!(fine(
        &token.replace("role: admin", "role: deployer, routes: [r, r*]")
    ));
}

#[test]
fn every_broken_file_tells_all_of_its_problems() {
    let surroundings = told(&[("SECRET", "hunter2-hunter2"), ("LISTEN", "127.0.0.1:0")]);
    for path in folder("tests/config") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();

        let diagnostics = parse(Path::new(name), &text, &surroundings).unwrap_err();

        let drawn = diagnostics.to_string();
        assert!(!drawn.contains("hunter2"), "{drawn}");
        insta::with_settings!({ snapshot_suffix => name, omit_expression => true }, {
            insta::assert_snapshot!("broken", drawn);
        });
    }
}

#[test]
fn a_minimal_file_says_the_same_in_yaml_and_json() {
    let [yaml, json] = ["config/minimal.yaml", "config/minimal.json"]
        .map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .map(|path| load_with(&path, &Told::default()).unwrap());

    assert_eq!(yaml.spec(), json.spec());
    assert_eq!(yaml.fingerprint(), json.fingerprint());
    assert_eq!(yaml.spec().routes.len(), 1);
}

#[test]
fn ten_thousand_routes_are_a_config() {
    let route = |i| {
        format!("  - {{ name: r{i}, match: {{ path: /api/v{i} }}, split: {{ a: 90, b: 10 }} }}\n")
    };
    let routes: String = (0..10_000).map(route).collect();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
         backends: {{ a: {{ endpoints: [\"http://127.0.0.1:1\"] }}, b: {{ endpoints: [\"http://127.0.0.1:2\"] }} }}\n\
         routes:\n{routes}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.yaml");
    fs::write(&file, text).unwrap();

    let config = load_with(&file, &Told::default()).unwrap();

    assert_eq!(config.spec().routes.len(), 10_000);
}

#[test]
fn what_cannot_be_read_is_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty.yaml"), "# nothing\n").unwrap();
    fs::write(at("empty.json"), "\n").unwrap();
    fs::write(at("empty.toml"), "").unwrap();
    fs::write(at("latin.yaml"), b"a: 1\nb: \xff").unwrap();
    fs::write(at("large.yaml"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    fs::create_dir(at("folder")).unwrap();

    for (name, words) in [
        ("missing.yaml", "No such file"),
        ("empty.yaml", "the file is empty"),
        ("empty.json", "the file is empty"),
        ("empty.toml", "the file is empty"),
        ("latin.yaml", "not UTF-8"),
        ("large.yaml", "larger than 1024 KiB"),
        ("folder", "folder, not a file"),
    ] {
        let diagnostics = load_with(&at(name), &Told::default()).unwrap_err();

        assert_eq!(diagnostics.len(), 1);
        let message = &diagnostics.as_slice()[0].message;
        assert!(message.contains(words), "{name}: {message}");
        assert!(diagnostics.to_string().contains(name));
    }
}

#[test]
fn where_a_file_stops_being_text_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin.yaml");
    fs::write(&file, b"a: 1\nb: \xff").unwrap();

    let diagnostics = load_with(&file, &Told::default()).unwrap_err();

    let problem = &diagnostics.as_slice()[0];
    assert_eq!((problem.line, problem.column), (Some(2), Some(4)));
}

#[test]
fn a_message_is_short_however_long_the_value() {
    let long = "y".repeat(100_000);
    let text = format!(
        "{REST}limits: {{ drain: {long} }}\nroutes: [{{ name: {long}, split: {{ {long}: 1 }} }}]"
    );

    let diagnostics = yaml(&text, &Told::default()).unwrap_err();

    for problem in diagnostics.as_slice() {
        assert!(
            problem.message.len() < 500,
            "{} bytes",
            problem.message.len()
        );
    }
}

#[test]
fn interpolated_values_become_numbers_and_durations() {
    let text = format!(
        "{REST}
workers: '${{WORKERS:-2}}'
limits: {{ drain: '${{DRAIN}}s' }}
forwarding: {{ via: '${{VIA}}' }}
routes: [{{ name: r, split: {{ a: '${{SHARE}}' }} }}]"
    );

    let config = yaml(
        &text,
        &told(&[("DRAIN", "7"), ("SHARE", "3"), ("VIA", "true")]),
    )
    .unwrap();

    let spec = config.spec();
    assert_eq!(spec.workers, Some(2));
    assert_eq!(spec.limits.drain.as_secs(), 7);
    assert_eq!(spec.routes[0].split["a"].share(), 3);
    assert!(spec.forwarding.via);
}

#[test]
fn a_quoted_number_that_is_not_interpolated_is_text() {
    let text = format!("{REST}workers: '2'\nroutes: [{{ name: r, split: {{ a: 1 }} }}]");

    assert_eq!(codes(yaml(&text, &Told::default())), [(Code::WrongType, 4)]);
}

#[test]
fn an_interpolated_value_never_adds_structure() {
    let sneaky = "a\nroutes: []\nadmin: { address: 0.0.0.0:1 }";
    let text =
        format!("{REST}state: {{ file: '${{X}}' }}\nroutes: [{{ name: r, split: {{ a: 1 }} }}]");

    let config = yaml(&text, &told(&[("X", sneaky)])).unwrap();

    assert_eq!(config.spec().state.file, Path::new(sneaky));
    assert!(config.spec().admin.address.is_local());
}

#[test]
fn interpolation_has_escapes_defaults_and_files() {
    let surroundings = told(&[("EMPTY", ""), ("X", "x")]);
    for (written, meant) in [
        ("${X}/${X}", "x/x"),
        ("$${X}", "${X}"),
        ("$$${X}", "$${X}"),
        ("$X {X} $", "$X {X} $"),
        ("${EMPTY:-d}", "d"),
        ("a${EMPTY}b", "ab"),
        ("${NONE:-}.", "."),
        ("${NONE:-a:-b}", "a:-b"),
        ("${file:/run/port}", "3001"),
        ("${file:/run/two}", "a\n"),
    ] {
        let text = format!(
            "{REST}state: {{ file: '{written}' }}\nroutes: [{{ name: r, split: {{ a: 1 }} }}]"
        );

        let config = yaml(&text, &surroundings).unwrap();

        assert_eq!(config.spec().state.file, Path::new(meant), "{written}");
    }
}

#[test]
fn a_broken_backend_is_not_also_an_unknown_one() {
    let text = "
listeners: [{ address: '127.0.0.1:0' }]
backends: { a: { endpoints: 5 } }
routes: [{ name: r, split: { a: 1 } }]";

    assert_eq!(codes(yaml(text, &Told::default())), [(Code::WrongType, 3)]);
}

#[test]
fn a_section_with_nothing_in_it_has_its_defaults() {
    let text = format!("{REST}limits:\nroutes: [{{ name: r, split: {{ a: 1 }}, shadow: ~ }}]");

    let config = yaml(&text, &Told::default()).unwrap();

    assert_eq!(config.spec().limits, LimitsSpec::default());
}

#[test]
fn comments_and_order_do_not_change_the_fingerprint_and_values_do() {
    let route = |share: u32| format!("routes: [{{ name: r, split: {{ a: {share} }} }}]\n");
    let of = |text: String| yaml(&text, &Told::default()).unwrap().fingerprint();

    assert_eq!(
        of(REST.to_owned() + &route(1)),
        of(route(1) + "# new\n" + REST)
    );
    assert_ne!(
        of(REST.to_owned() + &route(1)),
        of(REST.to_owned() + &route(2))
    );
}

#[test]
fn the_state_folder_starts_at_the_files_folder() {
    let text = format!("{REST}routes: [{{ name: r, split: {{ a: 1 }} }}]");
    let of = |path: &str| {
        let config = parse(Path::new(path), &text, &Told::default()).unwrap();
        config.state_folder()
    };

    assert_eq!(of("/etc/s/c.yaml"), Path::new("/etc/s/./switchback-state"));
    assert_eq!(of("c.yaml"), Path::new("././switchback-state"));
}

#[test]
fn a_file_with_endless_problems_is_told_a_bounded_part() {
    let lines: Vec<_> = (0..500).map(|n| format!("x{n}: 1\n")).collect();

    let diagnostics = yaml(&lines.concat(), &Told::default()).unwrap_err();

    assert_eq!(diagnostics.len(), 100);
}

#[test]
fn a_file_full_of_unknown_backends_is_told_a_bounded_part() {
    let route =
        |n| format!("  - {{ name: r{n}, match: {{ path: /p{n} }}, split: {{ b{n}: 1 }} }}\n");
    let routes: Vec<_> = (0..5_000).map(route).collect();

    let diagnostics = yaml(
        &format!("{REST}routes:\n{}", routes.concat()),
        &Told::default(),
    )
    .unwrap_err();

    assert_eq!(diagnostics.len(), 100);
    assert_eq!(diagnostics.as_slice()[0].code, Code::UnknownBackend);
}

#[test]
fn diagnostics_are_plain_values_for_tools() {
    let text = format!("{REST}worker: 2\nroutes: [{{ name: r, split: {{ a: 1 }} }}]");

    let diagnostics = yaml(&text, &Told::default()).unwrap_err();

    assert_eq!(
        serde_json::to_value(&diagnostics).unwrap(),
        serde_json::json!([{
            "code": "unknown-key",
            "message": "unknown key `worker`",
            "file": "test.yaml",
            "line": 4,
            "column": 1,
            "hint": "did you mean `workers`?",
        }])
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z:{}\\[\\]#&*!|>'\"%@` \n\t${}0-9]{0,200}") {
        for name in ["x.yaml", "x.json", "x.toml"] {
            let _ = parse(Path::new(name), &text, &Told::default()).map_err(|d| d.to_string());
        }
    }
}

#[test]
fn a_mistake_far_along_a_line_is_told_without_drawing_the_line() {
    let wide = format!("{{ \"a\": \"{}\", \"b\": 1 }}", "x".repeat(70_000));

    let diagnostics = yaml(&wide, &Told::default()).unwrap_err();

    let drawn = diagnostics.render(Render::Plain);
    assert!(
        drawn.contains("test.yaml:1:70012: unknown key `b`"),
        "{drawn}"
    );
    assert!(drawn.len() < 5_000, "{} bytes", drawn.len());
}

#[test]
fn what_may_be_a_number_or_text_is_read_as_either_in_yaml() {
    let text = format!(
        "{}routes: [{{ name: r, split: {{ a: 1 }} }}]\nplans: {{ roll: {{ kind: rolling, rolling: {{ batch: 2 }} }}, \
         part: {{ kind: rolling, rolling: {{ batch: 25% }} }} }}\n",
        REST.replace(
            "['http://a:1']",
            "['http://a:1'], health: { statuses: [204, '300-301', 404] }"
        )
    );

    let config = yaml(&text, &Told::default()).unwrap();

    let health = config.spec().backends.values().next().unwrap();
    let statuses = &health.health.as_ref().unwrap().statuses;
    assert_eq!(statuses.len(), 3);
    let batches = config.spec().plans.values();
    let batches = batches.map(|plan| plan.rolling.as_ref().unwrap().batch.to_string());
    assert_eq!(batches.collect::<Vec<_>>(), ["25%", "2"]);
}
