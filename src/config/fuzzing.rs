//! What holds for every file whatever, as a check over bytes: for the fuzz target and the tests.

use std::io;
use std::path::Path;

use super::{Config, Render, Surroundings, parse};

/// A file is a config, or at least one problem that can be shown; a config, written out, says
/// the same again. The first byte tells the syntax.
pub fn file(input: &[u8]) {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let name = match first % 3 {
        0 => "switchback.yaml",
        1 => "switchback.json",
        _ => "switchback.toml",
    };
    match parse(Path::new(name), text, &Few) {
        Ok(config) => assert_says_the_same(&config),
        Err(problems) => {
            assert!(!problems.is_empty());
            for render in [Render::Plain, Render::Colour] {
                assert!(!problems.render(render).is_empty());
            }
        }
    }
}

fn assert_says_the_same(config: &Config) {
    let written = serde_json::to_string(config.spec()).unwrap_or_default();
    if written.contains('$') {
        // It would be interpolated a second time.
        return;
    }
    if !config.spec().admin.tokens.is_empty() {
        // Secrets are not written out, so what is written lacks them.
        return;
    }
    match parse(Path::new("switchback.json"), &written, &Few) {
        Ok(again) => assert_eq!(config.fingerprint(), again.fingerprint(), "{written}"),
        Err(problems) => unreachable!("{}\nin {written}", problems.render(Render::Plain)),
    }
}

/// Surroundings with a little in them, the same everywhere.
struct Few;

impl Surroundings for Few {
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match name {
            "PORT" => Ok(Some("8080".to_owned())),
            "ODD" => Err("it is not UTF-8 text".to_owned()),
            _ => Ok(None),
        }
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        if path == Path::new("/secret") {
            Ok("${PORT}: [\"\n".to_owned())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What files are made of, good and bad.
    const PIECES: &[&str] = &[
        "listeners: [{ address: \"127.0.0.1:${PORT}\" }]\n",
        "state: { file: s }\n",
        "backends: { v1: { endpoints: [\"http://127.0.0.1:9\"] } }\n",
        "routes: [{ name: all, split: { v1: 100 } }]\n",
        "plans: { p: { stages: [{ percent: 5, for: 5m }] } }\n",
        "workers: 4\n",
        "admin:\n",
        "  address: &a x\n",
        "*a",
        "<<: *a\n",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "|\n",
        "\t",
        "\n",
        "  ",
        "---\n",
        "${ODD}",
        "${file:/secret}",
        "${PORT:-",
        "$${",
        "!!binary x",
        "#",
        "[listeners]\n",
        "[[routes]]\n",
        "a = 1\n",
        ".inf",
        "1e999",
        "99999999999999999999",
        "null",
        "~",
        ",",
    ];

    proptest! {
        #[test]
        fn a_file_is_a_config_or_problems_that_can_be_shown(
            syntax in 0_u8..3, some in prop::collection::vec(prop::sample::select(PIECES), 0..24),
        ) {
            file(&[&[syntax], some.concat().as_bytes()].concat());
        }
    }

    #[test]
    fn the_examples_say_the_same_when_they_are_written_out() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let syntax = match path.extension().and_then(|name| name.to_str()) {
                Some("yaml") => 0,
                Some("json") => 1,
                Some("toml") => 2,
                Some(_) | None => continue,
            };
            file(&[&[syntax], &*std::fs::read(path).unwrap()].concat());
        }
    }
}
