//! HTTP/2 heads that no honest client sends, and how HTTP/2 is written to an HTTP/1 backend.

use crate::support::frames::{Frames, request};
use crate::support::gateway::Gateway;
use crate::support::mirror::Mirror;
use crate::support::routes::through;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn house() -> (Mirror, Gateway) {
    let mirror = Mirror::start();
    let gateway = Gateway::start_with_workers(1, &through(&mirror.url()));
    (mirror, gateway)
}

fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    (name.as_ref().to_vec(), value.as_ref().to_vec())
}

/// A request with these fields behind its own.
fn with<N: AsRef<[u8]>, V: AsRef<[u8]>>(method: &str, more: &[(N, V)]) -> Fields {
    let mut fields = request(method, "/x");
    fields.extend(more.iter().map(|(name, value)| field(name, value)));
    fields
}

#[test]
fn an_ordinary_request_arrives_as_http_1() {
    let (mirror, gateway) = house();
    let mut client = Frames::connect(gateway.address);

    let reply = client.ask(
        1,
        &with("POST", &[("accept", "*/*"), ("te", "trailers")]),
        b"body",
    );

    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (Some(200), &b"fine"[..])
    );
    let (seen, broken) = mirror.take();
    assert_eq!((seen.len(), broken.len()), (1, 0));
    assert_eq!(
        (seen[0].path().as_str(), seen[0].host().as_str()),
        ("/x", "h")
    );
    assert_eq!(seen[0].body, b"body");
    assert!(seen[0].all("te").is_empty());
}
