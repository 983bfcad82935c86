//! The OpenAPI document, made of the table of endpoints and the schemas of the wire types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::access::Role;

use super::endpoints::{Call, ENDPOINTS, Endpoint, Gives, Needs, Shape, Takes};
use super::error::status;
use super::wire::{ErrorCode, ErrorReply, NAME_PATTERN, RolloutState, WHO_FIELD};

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
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the config's admin.tokens; needed where it has any. The answer to a call says whom it is for.",
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "description": whom(endpoint.needs),
        "security": security(endpoint.needs),
        "parameters": parameters(endpoint),
        "responses": responses(endpoint),
    });
    let body = match endpoint.takes {
        Takes::Nothing => return operation,
        Takes::Json(shape) | Takes::Told(shape) => json!({
            "required": true,
            "content": {"application/json": {"schema": reference(&shape)}},
        }),
        Takes::File => {
            json!({"content": {"application/yaml": {}, "application/toml": {}, "application/json": {}}})
        }
    };
    if let Some(fields) = operation.as_object_mut() {
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

/// Whom a call is for, in words.
fn whom(needs: Needs) -> String {
    match needs {
        Needs::Nothing => "For anybody.".to_owned(),
        Needs::ViewerFromAfar => {
            "For anybody on a loopback listener, else for viewers and above.".to_owned()
        }
        Needs::Role(Role::Viewer) => "For viewers and above.".to_owned(),
        Needs::Role(Role::Reporter) => {
            "For reporters and deployers, on the routes of their scope, and admins.".to_owned()
        }
        Needs::Role(Role::Deployer) => {
            "For deployers, on the routes of their scope, and admins.".to_owned()
        }
        Needs::Role(Role::Admin) => "For admins.".to_owned(),
    }
}

/// What a call takes; nothing stands for a file without tokens.
fn security(needs: Needs) -> Value {
    match needs {
        Needs::Nothing => json!([]),
        Needs::ViewerFromAfar | Needs::Role(_) => json!([{"token": []}, {}]),
    }
}

/// What any endpoint may answer for who asks.
fn refuses_callers(needs: Needs) -> &'static [ErrorCode] {
    match needs {
        Needs::Nothing => &[],
        Needs::ViewerFromAfar | Needs::Role(_) => &[
            ErrorCode::Unauthorized,
            ErrorCode::Forbidden,
            ErrorCode::TooMany,
        ],
    }
}

/// What any endpoint with a body may answer for the body.
fn refuses_bodies(takes: Takes) -> &'static [ErrorCode] {
    match takes {
        Takes::Nothing => &[],
        Takes::Json(_) | Takes::Told(_) | Takes::File => &[
            ErrorCode::Timeout,
            ErrorCode::TooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::Invalid,
        ],
    }
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
    let text = |name: &str, place: &str, required: bool, about: &str| json!({"name": name, "in": place, "required": required, "description": about, "schema": shape_of(endpoint.call, name)});
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
    if endpoint.call == Call::Events {
        let about = "Go on after the event with this id";
        all.push(text("Last-Event-ID", "header", false, about));
    }
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

/// What a parameter may be; anything else is refused.
fn shape_of(call: Call, name: &str) -> Value {
    match name {
        "before" if call == Call::Rollouts => shape_of(call, "rollout"),
        "state" => json!({"type": "string", "enum": RolloutState::ALL.map(RolloutState::as_str)}),
        "stages" => {
            json!({"type": "string", "pattern": "^[0-9]{1,2}(\\.[0-9]{1,2})?(,[0-9]{1,2}(\\.[0-9]{1,2})?){0,31}$"})
        }
        "for" => {
            json!({"type": "string", "example": "5m", "pattern": "^([1-9][0-9]{0,4}(ms|s|m|h)( |$))+$"})
        }
        "ok" => {
            json!({"type": "string", "pattern": "^(pass|fail|early)(,(pass|fail|early)){0,2}$"})
        }
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": 1000}),
        "before" | "Last-Event-ID" => json!({"type": "integer", "minimum": 0}),
        "id" | "rollout" => json!({"type": "string", "pattern": "^r-[0-9]{1,18}$"}),
        "route" | "backend" | "candidate" | "against" | "to" | "plan" => {
            json!({"type": "string", "pattern": NAME_PATTERN})
        }
        "If-Match" => json!({"type": "string", "pattern": "^(\"[0-9]{1,18}\"|[0-9]{1,18}|\\*)$"}),
        WHO_FIELD => {
            json!({"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]([ -~]*[!-~])?$"})
        }
        _ => json!({"type": "string"}),
    }
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
    if matches!(endpoint.call, Call::Verdict | Call::RouteVerdict) {
        for (code, about) in [(417, "Fail"), (425, "Too early to say")] {
            let not_ok = json!({"description": about, "content": content});
            all.insert(code.to_string(), not_ok);
        }
    }
    all.insert(
        status_code.to_string(),
        json!({"description": "Done", "content": content}),
    );
    let refused = json!({
        "description": "Refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
    });
    let by_name: &[ErrorCode] = if endpoint.path.contains('{') {
        &[ErrorCode::NotFound]
    } else {
        &[]
    };
    let codes = ALWAYS
        .iter()
        .chain(endpoint.refuses)
        .chain(refuses_callers(endpoint.needs))
        .chain(refuses_bodies(endpoint.takes))
        .chain(by_name);
    for code in codes {
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
            Takes::Json(shape) | Takes::Told(shape) => Some(shape),
            Takes::Nothing | Takes::File => None,
        };
        for shape in given.into_iter().chain(taken) {
            parts.push(((shape.name)(), (shape.schema)()));
            (shape.parts)(&mut parts);
        }
    }
    parts.into_iter().collect()
}
