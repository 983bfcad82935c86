//! The OpenAPI document, made of the table of endpoints and the schemas of the wire types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::endpoints::{ENDPOINTS, Endpoint, Gives, Shape, Takes};
use super::error::status;
use super::wire::{ErrorCode, ErrorReply, WHO_FIELD};

/// What any endpoint may answer besides what the table says.
const ALWAYS: [ErrorCode; 3] = [
    ErrorCode::BadRequest,
    ErrorCode::ForeignOrigin,
    ErrorCode::ForeignHost,
];

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            let verb = endpoint.verb.as_str().to_ascii_lowercase();
            methods.insert(verb, operation(endpoint));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchback admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Watches and steers a Switchback gateway. Numbers carry their unit in their name; moments are RFC 3339 texts in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "parameters": parameters(endpoint),
        "responses": responses(endpoint),
    });
    let body = match endpoint.takes {
        Takes::Nothing => return operation,
        Takes::Json(shape) => json!({
            "required": true,
            "content": {"application/json": {"schema": reference(&shape)}},
        }),
        Takes::File => {
            let text = json!({"schema": {"type": "string"}});
            json!({"content": {"application/yaml": text, "application/toml": text, "application/json": {}}})
        }
    };
    if let Some(fields) = operation.as_object_mut() {
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

/// `PUT /v1/routes/{route}/weights` is `put_routes_route_weights`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/v1");
    let words = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_");
    let name = if name.is_empty() { "home" } else { &name };
    format!("{}_{name}", endpoint.verb.as_str().to_ascii_lowercase())
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let text = |name: &str, place: &str, required: bool, about: &str| json!({"name": name, "in": place, "required": required, "description": about, "schema": {"type": "string"}});
    let inside = endpoint.path.split('{').skip(1);
    let mut all: Vec<_> = inside
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| text(name, "path", true, "Name or id"))
        .collect();
    all.extend(
        endpoint
            .query
            .iter()
            .map(|(name, about)| text(name, "query", false, about)),
    );
    if matches!(endpoint.takes, Takes::Json(_)) {
        all.push(text(
            WHO_FIELD,
            "header",
            false,
            "Who asks, for the history",
        ));
    }
    if endpoint.refuses.contains(&ErrorCode::GenerationMismatch) {
        let about = "Refuse unless this is the generation in force, such as \"17\"";
        all.push(text("If-Match", "header", false, about));
    }
    all
}

fn responses(endpoint: &Endpoint) -> Value {
    let (status_code, content) = match endpoint.gives {
        Gives::Json(shape) => (
            200,
            json!({"application/json": {"schema": reference(&shape)}}),
        ),
        Gives::Created(shape) => (
            201,
            json!({"application/json": {"schema": reference(&shape)}}),
        ),
        Gives::Other(content_type) => (200, json!({content_type: {}})),
    };
    let mut all = Map::new();
    all.insert(
        status_code.to_string(),
        json!({"description": "Done", "content": content}),
    );
    let refused = json!({
        "description": "Refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
    });
    for code in ALWAYS.iter().chain(endpoint.refuses) {
        all.insert(status(*code).as_str().to_owned(), refused.clone());
    }
    Value::Object(all)
}

fn reference(shape: &Shape) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", (shape.name)())})
}

fn schemas() -> BTreeMap<String, RefOr<Schema>> {
    let mut parts = vec![(ErrorReply::name().into_owned(), ErrorReply::schema())];
    ErrorReply::schemas(&mut parts);
    for endpoint in ENDPOINTS {
        let given = match endpoint.gives {
            Gives::Json(shape) | Gives::Created(shape) => Some(shape),
            Gives::Other(_) => None,
        };
        let taken = match endpoint.takes {
            Takes::Json(shape) => Some(shape),
            Takes::Nothing | Takes::File => None,
        };
        for shape in given.into_iter().chain(taken) {
            parts.push(((shape.name)(), (shape.schema)()));
            (shape.parts)(&mut parts);
        }
    }
    parts.into_iter().collect()
}
