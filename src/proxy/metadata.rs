//! What a protected route says of itself, for clients to find where tokens come from (RFC 9728).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue,
};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::access::spec::{JwtSpec, MetadataSpec};
use crate::routing::spec::MatchSpec;

use super::answer::Answer;
use super::spec::RouteSpec;

/// Where clients look, before the resource's own path.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// What one route says of itself.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The place of the route.
    pub(super) route: usize,
    text: Bytes,
}

/// The documents of all routes that have one, each with what it is found by: below the path of
/// the resource, and below the route's own path where that is another one.
pub(super) fn documents<'a>(
    routes: impl Iterator<Item = &'a RouteSpec>,
) -> Vec<(MatchSpec, Document)> {
    let mut by_resource = Vec::new();
    let mut by_path = Vec::new();
    for (place, route) in routes.enumerate() {
        let Some(spec) = route.auth.as_ref().map(|auth| &auth.jwt) else {
            continue;
        };
        let (MetadataSpec::Serve, Some(resource)) = (spec.metadata, spec.resource()) else {
            continue;
        };
        let document = Document {
            route: place,
            text: text_of(spec, resource),
        };
        let at = |path: &str| MatchSpec {
            host: route.matches.host.clone(),
            path: None,
            exact_path: Some(format!("{WELL_KNOWN}{path}")),
            mcp: None,
        };
        let own = route
            .matches
            .exact_path
            .as_deref()
            .or(route.matches.path.as_deref());
        by_resource.push((at(path_of(resource)), document.clone()));
        if let Some(own) = own.filter(|path| *path != "/") {
            by_path.push((at(own), document));
        }
    }
    by_resource.extend(by_path);
    by_resource
}

/// The URL of a resource's metadata (RFC 9728, 3.1): the well-known path goes between host and path.
pub(super) fn url_of(resource: &str) -> String {
    let path = path_of(resource);
    let origin = resource.trim_end_matches('/');
    let origin = origin.strip_suffix(path).unwrap_or(origin);
    format!("{origin}{WELL_KNOWN}{path}")
}

/// The path of a resource, without a slash at its end.
fn path_of(resource: &str) -> &str {
    let after_scheme = resource.find("://").map_or(0, |at| at + 3);
    let rest = resource.get(after_scheme..).unwrap_or_default();
    let path = rest.find('/').and_then(|at| rest.get(at..));
    path.unwrap_or_default().trim_end_matches('/')
}

fn text_of(spec: &JwtSpec, resource: &str) -> Bytes {
    let mut document = json!({
        "resource": resource,
        "authorization_servers": [spec.issuer],
        "bearer_methods_supported": ["header"],
    });
    if let (false, Some(members)) = (spec.scopes.is_empty(), document.as_object_mut()) {
        members.insert("scopes_supported".to_owned(), json!(spec.scopes));
    }
    Bytes::from(document.to_string())
}

impl Document {
    /// The answer to a request for the document. It is public, and pages of any origin may read it.
    pub(super) fn answer(&self, method: &Method) -> Response<Answer> {
        let (status, text) = match *method {
            Method::GET | Method::HEAD => (StatusCode::OK, self.text.clone()),
            Method::OPTIONS => (StatusCode::NO_CONTENT, Bytes::new()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
        };
        let mut response = Response::new(Answer::local(text));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        let any = HeaderValue::from_static("*");
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
        match *method {
            Method::GET | Method::HEAD => {
                let json = HeaderValue::from_static("application/json");
                fields.insert(CONTENT_TYPE, json);
                let hour = HeaderValue::from_static("public, max-age=3600");
                fields.insert(CACHE_CONTROL, hour);
            }
            Method::OPTIONS => {
                fields.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, any);
            }
            _ => {
                fields.insert(ALLOW, METHODS);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_path_goes_between_host_and_path() {
        for (resource, url) in [
            (
                "https://h",
                "https://h/.well-known/oauth-protected-resource",
            ),
            (
                "https://h/",
                "https://h/.well-known/oauth-protected-resource",
            ),
            (
                "https://h:8443/mcp",
                "https://h:8443/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://h/a/b/",
                "https://h/.well-known/oauth-protected-resource/a/b",
            ),
        ] {
            assert_eq!(url_of(resource), url);
        }
    }
}
