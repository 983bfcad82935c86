//! What has no end, is no contract, or is made to deceive; and any JSON at all.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_read_is_bounded() {
    let tools = |range: std::ops::Range<usize>| {
        let tools: Vec<_> = range.map(|n| json!({ "name": n.to_string() })).collect();
        json!({ "tools": tools, "nextCursor": "more" })
    };
    let mut many = Contract::default();
    assert_eq!(
        many.page(Part::Tool, &tools(0..100), &BOUNDS),
        Ok(Some("more".to_owned()))
    );
    assert!(many.page(Part::Tool, &tools(100..101), &BOUNDS).is_err());
    let mut pages = Contract::default();
    let all: Vec<_> = (0..11)
        .map(|_| pages.page(Part::Tool, &tools(0..0), &BOUNDS).is_ok())
        .collect();
    assert_eq!(all.iter().filter(|fine| **fine).count(), BOUNDS.pages);
    let mut heavy = Contract::default();
    assert!(heavy.weigh(1 << 20, &BOUNDS).is_ok());
    assert!(heavy.weigh(1, &BOUNDS).is_err());
    for wrong in [
        json!(null),
        json!({}),
        json!({ "tools": {} }),
        json!({ "tools": [{}] }),
    ] {
        assert!(
            Contract::default()
                .page(Part::Tool, &wrong, &BOUNDS)
                .is_err(),
            "{wrong}"
        );
    }
    for wrong in [
        json!(null),
        json!({ "capabilities": {} }),
        json!({ "protocolVersion": "1" }),
    ] {
        assert!(
            Contract::default().open("initialize", &wrong).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn many_changes_are_counted_and_the_worst_kept() {
    let tools = |range: std::ops::Range<usize>| {
        let tools: Vec<_> = range.map(|n| json!({ "name": n.to_string() })).collect();
        json!({ "tools": tools })
    };
    let bounds = ContractBounds {
        items: 10_000,
        ..BOUNDS
    };
    let (mut old, mut new) = (Contract::default(), Contract::default());
    old.page(Part::Tool, &tools(0..300), &bounds).unwrap();
    new.page(Part::Tool, &tools(300..5000), &bounds).unwrap();

    let found = compare(&old, &new);

    assert_eq!(
        (found.counts.breaking, found.counts.compatible),
        (300, 4700)
    );
    assert_eq!(found.changes.len(), 500);
    let kept = found.changes.iter();
    assert_eq!(
        kept.filter(|c| c.severity == Severity::Breaking).count(),
        300
    );
}

#[test]
fn texts_of_a_server_cannot_deceive_a_terminal() {
    let name = format!("a\u{1b}[31m\u{202e}\n{}", "x".repeat(1000));
    let old = contract(&json!([{ "name": name }]));

    let found = compare(&old, &contract(&json!([])));

    let shown = &found.changes[0].name;
    assert!(
        shown.len() <= 256 && !shown.contains(char::is_control),
        "{shown}"
    );
    assert!(!shown.contains('\u{202e}'));
}

#[test]
fn what_grows_with_every_level_comes_to_an_end() {
    let nested = |leaf: &str| {
        let mut schema = json!({ "type": leaf });
        for _ in 0..40 {
            schema =
                json!({ "anyOf": [schema, { "type": "object", "properties": { "a": schema } }] });
            if schema.to_string().len() > 200_000 {
                break;
            }
        }
        schema
    };

    let found = input(&nested("string"), &nested("null"));

    assert!(!found.is_empty());
    let mut deep = json!({ "type": "string" });
    let mut other = json!({ "type": "null" });
    for _ in 0..100 {
        deep = json!({ "properties": { "a": deep } });
        other = json!({ "properties": { "a": other } });
    }
    assert_eq!(input(&deep, &other)[0].0, "schema_unclear");
    assert_eq!(input(&deep, &deep), []);
}

/// Any JSON, with the words of schemas in it more often than by chance.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "string|integer|object|#/\\$defs/a|[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        let key = "type|properties|required|items|anyOf|oneOf|enum|const|\\$ref|\\$defs|default|\
            additionalProperties|minimum|maxLength|pattern|allOf|description|[a-c]";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

fn any_contract() -> impl Strategy<Value = Contract> {
    let tool = ("[a-d]", any_json(), any_json(), any_json()).prop_map(|(name, input, output, hints)| {
        json!({ "name": name, "inputSchema": input, "outputSchema": output, "annotations": hints })
    });
    let prompt = ("[a-c]", any_json())
        .prop_map(|(name, arguments)| json!({ "name": name, "arguments": [arguments] }));
    let tools = prop::collection::vec(tool, 0..4);
    (tools, prop::collection::vec(prompt, 0..3), any_json()).prop_map(
        |(tools, prompts, capabilities)| {
            let mut contract = Contract::default();
            let opened = json!({ "protocolVersion": "1", "capabilities": { "x": capabilities } });
            contract.open("initialize", &opened).unwrap();
            contract
                .page(Part::Tool, &json!({ "tools": tools }), &BOUNDS)
                .unwrap();
            contract
                .page(Part::Prompt, &json!({ "prompts": prompts }), &BOUNDS)
                .unwrap();
            contract
        },
    )
}

proptest! {
    #[test]
    fn a_server_differs_in_nothing_from_itself(contract in any_contract()) {
        prop_assert_eq!(compare(&contract, &contract), Comparison::default());
    }

    #[test]
    fn what_is_lost_one_way_is_added_the_other(one in any_contract(), other in any_contract()) {
        let of = |comparison: &Comparison, rule: Rule| {
            let changes = comparison.changes.iter().filter(|change| change.rule == rule);
            let mut names: Vec<_> = changes.map(|change| change.name.clone()).collect();
            names.sort();
            names
        };

        let (there, back) = (compare(&one, &other), compare(&other, &one));

        for (lost, added) in [(Rule::ToolLost, Rule::ToolAdded), (Rule::PromptLost, Rule::PromptAdded)] {
            prop_assert_eq!(of(&there, lost), of(&back, added));
            prop_assert_eq!(of(&there, added), of(&back, lost));
        }
    }

    #[test]
    fn no_answer_makes_a_reader_panic(answer in any_json()) {
        let mut contract = Contract::default();
        let _ = contract.open("initialize", &answer);
        for part in Part::LISTED {
            let _ = contract.page(part, &answer, &BOUNDS);
        }
    }
}
