//! The JSON schema of the file, for editors and pipelines.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::spec::ConfigSpec;

/// The JSON schema of a config file, as `switchback schema` prints it.
///
/// Wherever a number, a truth value or a text with a pattern belongs, a text with `${...}` in
/// it is accepted too.
pub fn schema() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<ConfigSpec>();
    Interpolated.transform(&mut schema);
    schema.insert("title".to_owned(), json!("Switchback's config file"));
    schema.to_value()
}

/// Accepts `${...}` where the plain value would refuse it, and tidies descriptions.
struct Interpolated;

impl Transform for Interpolated {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(fields) = schema.as_object_mut() else {
            return;
        };
        if let Some(Value::String(text)) = fields.get_mut("description") {
            *text = as_paragraphs(text);
        }
        let kind = fields.get("type");
        let is = |name: &str| match kind {
            Some(Value::Array(names)) => names.iter().any(|n| n == name),
            Some(one) => one == name,
            None => false,
        };
        let refuses = is("integer")
            || is("number")
            || is("boolean")
            || (is("string") && fields.contains_key("pattern"));
        if !refuses {
            return;
        }
        let mut outside = serde_json::Map::new();
        for told in ["description", "default"] {
            if let Some(value) = fields.remove(told) {
                outside.insert(told.to_owned(), value);
            }
        }
        let inside = std::mem::replace(fields, outside);
        let either = json!([inside, { "type": "string", "pattern": "\\$\\{" }]);
        fields.insert("anyOf".to_owned(), either);
    }
}

/// A doc comment without the line ends that only its source needs.
fn as_paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|p| p.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{Format, Process, load_with};

    fn at(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn validator() -> jsonschema::Validator {
        jsonschema::validator_for(&schema()).unwrap()
    }

    /// A file as any other tool reads it, without our own checks.
    fn plain(path: &Path) -> Value {
        let text = fs::read_to_string(path).unwrap();
        match Format::of(path) {
            Format::Yaml => serde_saphyr::from_str(&text).unwrap(),
            Format::Json => serde_json::from_str(&text).unwrap(),
            Format::Toml => toml::from_str(&text).unwrap(),
        }
    }

    #[test]
    fn the_committed_schema_is_the_one_that_is_printed() {
        let committed = fs::read_to_string(at("config/schema.json")).unwrap_or_default();

        assert_eq!(
            serde_json::from_str::<Value>(&committed).unwrap_or_default(),
            schema(),
            "renew it with: switchback schema > config/schema.json"
        );
    }

    #[test]
    fn every_example_is_valid_by_the_schema() {
        let validator = validator();
        for entry in fs::read_dir(at("config")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("schema.json") {
                let errors: Vec<_> = validator
                    .iter_errors(&plain(&path))
                    .map(|error| error.to_string())
                    .collect();
                assert!(errors.is_empty(), "{}: {errors:?}", path.display());
            }
        }
    }

    #[test]
    fn what_the_schema_refuses_is_refused_by_the_reader_too() {
        let good = plain(&at("config/canary.yaml"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        for (pointer, wrong) in [
            ("/routes", json!(5)),
            ("/routes/0/name", json!("a b")),
            ("/routes/0/split/search-v1", json!(-1)),
            ("/routes/0/split/search-v1", json!(1_000_001)),
            ("/routes/0/protocol", json!("grpc")),
            ("/routes/0/sticky/0", json!("referer")),
            ("/backends/search-v1", json!({ "endpoint": [] })),
            ("/listeners/0/address", json!(8080)),
        ] {
            let mut broken = good.clone();
            *broken.pointer_mut(pointer).unwrap() = wrong;
            fs::write(&file, broken.to_string()).unwrap();

            assert!(!validator().is_valid(&broken), "{pointer}");
            assert!(
                load_with(&file, &Process::new(folder.path())).is_err(),
                "{pointer}"
            );
        }
    }

    #[test]
    fn the_reference_page_mentions_every_key() {
        let page = fs::read_to_string(at("docs/configuration.md")).unwrap_or_default();
        let mut missing = Vec::new();
        keys(&schema(), &mut |key| {
            if !page.contains(&format!("`{key}`")) {
                missing.push(key.to_owned());
            }
        });

        assert!(
            missing.is_empty(),
            "not in docs/configuration.md: {missing:?}"
        );
    }

    fn keys(schema: &Value, told: &mut impl FnMut(&str)) {
        match schema {
            Value::Object(fields) => {
                if let Some(Value::Object(properties)) = fields.get("properties") {
                    properties.keys().for_each(|key| told(key));
                }
                fields.values().for_each(|below| keys(below, told));
            }
            Value::Array(items) => items.iter().for_each(|below| keys(below, told)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
