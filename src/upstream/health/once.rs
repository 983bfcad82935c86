//! One look at an endpoint, for whoever cannot wait for the checks that the file asks for.

use tokio::time::Instant;

use crate::model::BackendName;
use crate::upstream::conditions::Conditions;
use crate::upstream::dial::Dial;
use crate::upstream::spec::{CheckKind, EndpointUrl, HealthSpec};

use super::check::host_of;
use super::probe::{ProbeError, probe};

/// Asks an endpoint once whether it lives and wants traffic, as the backend's `health` says, or by a
/// connection where it has none. Nothing is counted or marked. `None` when this process is to blame
/// that it could not be asked.
pub async fn look_at(
    conditions: &Conditions,
    backend: &BackendName,
    url: &EndpointUrl,
) -> Option<Result<(), String>> {
    let known = conditions.find(backend)?;
    let condition = known.endpoints.get(url)?;
    let tls = conditions.tls_of(backend);
    let dial = Dial::new(url, (&known.spec, tls.as_ref()), condition);
    let usual = HealthSpec {
        kind: CheckKind::Tcp,
        ..HealthSpec::default()
    };
    let health = known.spec.health.as_ref().unwrap_or(&usual);
    let questions = [Some(health), health.ready.as_deref()];
    for question in questions.into_iter().flatten() {
        let mut question = question.clone();
        if let Some(file) = &mut question.token_file {
            *file = conditions.folder().join(&file);
        }
        let host = host_of(url, &known.spec, &question);
        let asked = Instant::now();
        match probe(&dial, &question, &host).await {
            Ok(()) => {}
            Err(error) if error.is_own() => {
                tracing::warn!(%backend, endpoint = %url, error = &error as &dyn std::error::Error, "an endpoint could not be asked how it is");
                return None;
            }
            Err(error) => return Some(Err(told(&error, asked))),
        }
    }
    Some(Ok(()))
}

/// Why a check fails, in words.
fn told(error: &ProbeError, asked: Instant) -> String {
    format!("{error}, after {} ms", asked.elapsed().as_millis())
}
