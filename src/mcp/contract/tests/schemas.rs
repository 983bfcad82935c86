//! Schemas, rule by rule.

use super::*;

#[test]
fn arguments_are_lost_required_and_added() {
    let old = json!({ "type": "object", "required": ["q", "r"], "properties": {
        "q": { "type": "string" }, "r": { "type": "string" }, "gone": {}, "deep": { "type": "object",
        "properties": { "a": { "type": "integer" } } }, "opt": {} } });
    let new = json!({ "type": "object", "required": ["q", "must", "opt"], "properties": {
        "q": { "type": "string" }, "r": { "type": "string" }, "must": {}, "may": {}, "opt": {},
        "deep": { "type": "object", "required": ["b"], "properties": { "b": {} } } } });

    let found = input(&old, &new);

    assert_eq!(
        said(&found),
        [
            "argument_lost deep.a",
            "argument_required deep.b",
            "argument_lost gone",
            "argument_required must",
            "argument_required opt",
            "argument_added may",
            "argument_optional r",
        ]
    );
}

#[test]
fn each_change_of_a_schema_follows_its_rule() {
    let p = |schema: &Value| json!({ "type": "object", "properties": { "x": schema } });
    for (old, new, given, got) in [
        (
            json!({"type":"string"}),
            json!({"type":"integer"}),
            "type_narrowed",
            "result_type_changed",
        ),
        (
            json!({"type":"number"}),
            json!({"type":"integer"}),
            "type_narrowed",
            "result_promised",
        ),
        (
            json!({"type":"integer"}),
            json!({"type":"number"}),
            "type_widened",
            "result_type_changed",
        ),
        (
            json!({}),
            json!({"type":"string"}),
            "type_narrowed",
            "result_promised",
        ),
        (
            json!({"type":"string"}),
            json!({"type":["string","null"]}),
            "type_widened",
            "result_type_changed",
        ),
        (
            json!({"enum":["a","b"]}),
            json!({"enum":["a"]}),
            "enum_narrowed",
            "result_promised",
        ),
        (
            json!({"enum":["a"]}),
            json!({"enum":["a","b"]}),
            "enum_widened",
            "result_widened",
        ),
        (
            json!({"type":"string"}),
            json!({"type":"string","enum":["a"]}),
            "enum_narrowed",
            "result_promised",
        ),
        (
            json!({"type":"string","const":"a"}),
            json!({"type":"string"}),
            "enum_widened",
            "result_widened",
        ),
        (
            json!({"maxLength":9}),
            json!({"maxLength":5}),
            "bounds_tightened",
            "result_promised",
        ),
        (
            json!({"minimum":1}),
            json!({"minimum":0}),
            "bounds_loosened",
            "result_widened",
        ),
        (
            json!({}),
            json!({"maxItems":5}),
            "bounds_tightened",
            "result_promised",
        ),
        (
            json!({"pattern":"a"}),
            json!({"pattern":"b"}),
            "bounds_tightened",
            "result_widened",
        ),
        (
            json!({"uniqueItems":false}),
            json!({"uniqueItems":true}),
            "bounds_tightened",
            "result_promised",
        ),
        (
            json!({"additionalProperties":false}),
            json!({}),
            "unknown_accepted",
            "result_widened",
        ),
        (
            json!({}),
            json!({"additionalProperties":false}),
            "unknown_refused",
            "result_promised",
        ),
        (
            json!({"items":{"type":"string"}}),
            json!({"items":{"type":"null"}}),
            "type_narrowed",
            "result_type_changed",
        ),
        (
            json!({"allOf":[{}]}),
            json!({}),
            "schema_unclear",
            "schema_unclear",
        ),
        (
            json!({"type":"string"}),
            json!({"anyOf":[{"type":"string"},{"type":"null"}]}),
            "type_widened",
            "result_type_changed",
        ),
        (
            json!({"anyOf":[{"type":"string"},{"type":"null"}]}),
            json!({"type":"string"}),
            "type_narrowed",
            "result_promised",
        ),
        (
            json!({"description":"a"}),
            json!({"description":"b"}),
            "text_changed",
            "text_changed",
        ),
        (
            json!(true),
            json!(false),
            "type_narrowed",
            "result_promised",
        ),
        (json!(7), json!("x"), "schema_unclear", "schema_unclear"),
        (
            json!({"$ref":"http://x"}),
            json!({"$ref":"http://y"}),
            "schema_unclear",
            "schema_unclear",
        ),
    ] {
        let (asked, answered) = (input(&p(&old), &p(&new)), output(&p(&old), &p(&new)));

        assert_eq!(asked.len(), 1, "{old} -> {new}: {asked:?}");
        assert_eq!(asked[0].0, given, "{old} -> {new}");
        assert_eq!(answered.len(), 1, "{old} -> {new}: {answered:?}");
        assert_eq!(answered[0].0, got, "{old} -> {new}");
    }
}

#[test]
fn defaults_matter_to_those_who_leave_values_out() {
    let p = |schema: Value| json!({ "properties": { "x": schema } });
    let change = |old, new| input(&p(old), &p(new));

    assert_eq!(
        said(&change(json!({}), json!({"default":1}))),
        ["default_added x"]
    );
    assert_eq!(
        said(&change(json!({"default":1}), json!({"default":2}))),
        ["default_changed x"]
    );
    assert_eq!(
        said(&change(json!({"default":1}), json!({}))),
        ["default_changed x"]
    );
    assert_eq!(output(&p(json!({"default":1})), &p(json!({}))), []);
}

#[test]
fn results_that_were_promised_must_stay() {
    let old = json!({ "type": "object", "required": ["sure"], "additionalProperties": false,
        "properties": { "sure": {}, "maybe": {}, "weak": {} } });
    let new = json!({ "type": "object", "required": ["weak"], "additionalProperties": false,
        "properties": { "weak": {}, "more": {} } });

    assert_eq!(
        said(&output(&old, &new)),
        [
            "result_lost result.sure",
            "result_unsure result.maybe",
            "result_unexpected result.more",
            "result_promised result.weak",
        ]
    );
    let schema = json!({ "outputSchema": { "type": "object" } });
    assert_eq!(said(&tool(&schema, &json!({}))), ["output_schema_lost"]);
    assert_eq!(said(&tool(&json!({}), &schema)), ["output_schema_added"]);
}

#[test]
fn references_are_followed_to_what_they_mean() {
    let with = |x: Value, def: Value| json!({ "type": "object", "properties": { "x": x }, "$defs": { "d": def } });
    let by_name = json!({ "$ref": "#/$defs/d" });
    let old = with(by_name.clone(), json!({ "type": "string" }));

    let same = with(json!({ "type": "string" }), json!({}));
    assert_eq!(input(&old, &same), []);
    let other = with(by_name.clone(), json!({ "type": "integer" }));
    assert_eq!(said(&input(&old, &other)), ["type_narrowed x"]);

    let tree = |leaf: &str| {
        let node = json!({ "type": "object", "properties": { "v": { "type": leaf },
            "next": { "$ref": "#/$defs/d" }, "all": { "items": { "$ref": "#/$defs/d" } } } });
        with(by_name.clone(), node)
    };
    assert_eq!(
        said(&input(&tree("string"), &tree("null"))),
        ["type_narrowed x.v"]
    );
    let round = with(by_name.clone(), by_name);
    assert_eq!(input(&round, &round), []);
}
