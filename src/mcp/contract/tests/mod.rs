//! Two servers beside each other, rule by rule.

mod bounds;
mod schemas;

use serde_json::{Value, json};

use super::*;

const BOUNDS: ContractBounds = ContractBounds {
    pages: 10,
    items: 100,
    bytes: 1 << 20,
};

fn contract(tools: &Value) -> Contract {
    let mut contract = Contract::default();
    let opened = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} } });
    contract.open("initialize", &opened).unwrap();
    let page = json!({ "tools": tools });
    contract.page(Part::Tool, &page, &BOUNDS).unwrap();
    contract
}

/// The rules that are met when a tool of `old` becomes `new`, with their places.
fn tool(old: &Value, new: &Value) -> Vec<(&'static str, String)> {
    let with_name = |tool: &Value| {
        let mut tool = tool.clone();
        tool["name"] = json!("t");
        json!([tool])
    };
    let found = compare(&contract(&with_name(old)), &contract(&with_name(new)));
    let changes = found.changes.into_iter();
    changes
        .map(|change| (change.rule.as_str(), change.place))
        .collect()
}

fn input(old: &Value, new: &Value) -> Vec<(&'static str, String)> {
    tool(
        &json!({ "inputSchema": old }),
        &json!({ "inputSchema": new }),
    )
}

fn output(old: &Value, new: &Value) -> Vec<(&'static str, String)> {
    tool(
        &json!({ "outputSchema": old }),
        &json!({ "outputSchema": new }),
    )
}

fn said(found: &[(&'static str, String)]) -> Vec<String> {
    let each = found.iter().map(|(rule, place)| format!("{rule} {place}"));
    each.map(|text| text.trim_end().to_owned()).collect()
}

#[test]
fn every_rule_has_a_name_of_its_own_and_says_why() {
    let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    names.sort_unstable();
    names.dedup();

    assert_eq!(names.len(), Rule::ALL.len());
    for rule in Rule::ALL {
        assert!(rule.reason().ends_with('.'), "{rule:?}");
        let text = serde_json::to_value(rule).unwrap();
        assert_eq!(text, rule.as_str());
        assert_eq!(serde_json::from_value::<Rule>(text).unwrap(), *rule);
    }
    let newer: Rule = serde_json::from_str("\"of_another_release\"").unwrap();
    assert_eq!(newer, Rule::Other);
}

#[test]
fn the_rules_are_in_the_docs() {
    let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/contract.md"));
    for rule in Rule::ALL {
        let (name, severity) = (rule.as_str(), rule.severity());
        let row = format!(
            "| `{name}` | {severity} | {} | {} |",
            rule.what(),
            rule.reason()
        );

        assert!(docs.contains(&row), "{row}");
    }
}

#[test]
fn harm_that_annotations_admit_is_told() {
    let hints = |hints: Value| json!({ "annotations": hints });
    for (old, new, rules) in [
        (
            json!({"readOnlyHint":true}),
            json!({"readOnlyHint":false}),
            vec!["no_longer_read_only"],
        ),
        (
            json!({"readOnlyHint":true}),
            json!({}),
            vec!["no_longer_read_only"],
        ),
        (
            json!({}),
            json!({"readOnlyHint":true}),
            vec!["became_read_only"],
        ),
        (
            json!({"destructiveHint":false}),
            json!({}),
            vec!["became_destructive"],
        ),
        (
            json!({}),
            json!({"destructiveHint":false}),
            vec!["no_longer_destructive"],
        ),
        (
            json!({"idempotentHint":true}),
            json!({}),
            vec!["no_longer_idempotent"],
        ),
        (
            json!({"openWorldHint":false}),
            json!({}),
            vec!["became_open_world"],
        ),
        (
            json!({"readOnlyHint":true,"idempotentHint":true}),
            json!({"readOnlyHint":true}),
            vec![],
        ),
        (
            json!({}),
            json!({"destructiveHint":true,"openWorldHint":true,"readOnlyHint":false}),
            vec![],
        ),
    ] {
        let found = tool(&hints(old.clone()), &hints(new.clone()));
        let found: Vec<_> = found.iter().map(|(rule, _)| *rule).collect();

        assert_eq!(found, rules, "{old} -> {new}");
    }
    let tasks = |word: &str| json!({ "execution": { "taskSupport": word } });
    assert_eq!(
        said(&tool(&json!({}), &tasks("required"))),
        ["task_required"]
    );
    assert_eq!(
        said(&tool(&tasks("optional"), &tasks("forbidden"))),
        ["task_lost"]
    );
    assert_eq!(
        said(&tool(&tasks("required"), &tasks("optional"))),
        ["task_allowed"]
    );
}

fn whole(opened: &Value, lists: &[(Part, Value)]) -> Contract {
    let mut contract = Contract::default();
    contract.open("initialize", opened).unwrap();
    for (part, page) in lists {
        contract.page(*part, page, &BOUNDS).unwrap();
    }
    contract
}

#[test]
fn everything_else_that_a_server_promises_is_compared_too() {
    let old = whole(
        &json!({ "protocolVersion": "2025-06-18", "serverInfo": { "name": "s", "version": "1" },
            "capabilities": { "tools": { "listChanged": true }, "logging": {},
                "resources": { "subscribe": true }, "experimental": { "x": {} } } }),
        &[
            (
                Part::Prompt,
                json!({ "prompts": [ { "name": "p", "arguments": [
                { "name": "a", "required": true }, { "name": "b" }, { "name": "c" } ] }, { "name": "gone" } ] }),
            ),
            (
                Part::Resource,
                json!({ "resources": [ { "uri": "u", "mimeType": "a/b" }, { "uri": "gone" } ] }),
            ),
            (
                Part::ResourceTemplate,
                json!({ "resourceTemplates": [ { "uriTemplate": "t/{x}" } ] }),
            ),
        ],
    );
    let new = whole(
        &json!({ "protocolVersion": "2025-11-25", "serverInfo": { "name": "s", "version": "2" },
            "instructions": "new", "capabilities": { "tools": {}, "prompts": {}, "resources": {} } }),
        &[
            (
                Part::Prompt,
                json!({ "prompts": [ { "name": "p", "arguments": [
                { "name": "a" }, { "name": "b", "required": true }, { "name": "d" } ] } ] }),
            ),
            (
                Part::Resource,
                json!({ "resources": [ { "uri": "u", "mimeType": "c/d" }, { "uri": "new" } ] }),
            ),
        ],
    );

    let found = compare(&old, &new);

    let texts: Vec<_> = found.changes.iter().map(ToString::to_string).collect();
    for text in [
        "revision 2025-06-18 is no longer spoken",
        "revision 2025-11-25 is spoken now",
        "capability logging is lost",
        "capability prompts is new",
        "capability resources: is lost at subscribe (was true)",
        "capability tools: is reduced at listChanged (was true)",
        "capability experimental: is reduced at x (was {})",
        "prompt gone is lost",
        "prompt p: argument lost at c",
        "prompt p: argument newly required at b",
        "prompt p: argument no longer required at a",
        "prompt p: optional argument added at d",
        "resource gone is not listed",
        "resource new is new",
        "resource u has another media type (a/b -> c/d)",
        "resource template t/{x} is lost",
        "server: has another name or version at version (1 -> 2)",
        "server has other instructions",
    ] {
        assert!(
            texts.iter().any(|other| other == text),
            "{text}: {texts:#?}"
        );
    }
    assert_eq!(found.counts.total(), texts.len() as u64);
    assert_eq!(found.counts.worst(), Some(Severity::Breaking));
    let severities: Vec<_> = found.changes.iter().map(|change| change.severity).collect();
    assert!(severities.is_sorted_by(|a, b| a >= b));
}
