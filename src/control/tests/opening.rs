//! From a folder to a snapshot, with nothing between.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config;
use crate::control::{Certificates, ControlError, ControlOptions, Opened, SetWeights, open};
use crate::model::{Generation, Weight};
use crate::stats::Registry;
use crate::store::StoreError;

use super::rig::{FILE, author, backend, route};

fn options(folder: &Path) -> ControlOptions {
    let path = folder.join("switchback.yaml");
    fs::write(&path, FILE).unwrap();
    ControlOptions {
        config: config::load(path).unwrap(),
        workers: 1,
        registry: Arc::new(Registry::default()),
        certificates: Certificates::default(),
        conditions: Arc::default(),
        sessions: Arc::default(),
        bonds: Default::default(),
    }
}

/// A process that another test starts holds our locks between its fork and its exec.
fn open_when_free(options: &ControlOptions) -> Result<Opened, ControlError> {
    let taken = |error: &ControlError| matches!(error, ControlError::Store(cause) if matches!(**cause, StoreError::InUse { .. }));
    loop {
        match open(options) {
            Err(error) if taken(&error) => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

#[tokio::test]
async fn weights_outlive_the_process_in_the_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&options(folder.path())).unwrap();
    assert_eq!(opened.snapshots.load().generation, Generation(1));
    let (stop, stopped) = oneshot::channel::<()>();
    let actor = tokio::spawn(opened.control.run(async move {
        let _ = stopped.await;
    }));

    let request = SetWeights {
        route: route("search"),
        weights: [(backend("v2"), Weight::new(7).unwrap())].into(),
        if_match: Some(Generation(1)),
        author: author(),
    };
    let changed = opened.handle.set_weights(request).await.unwrap();

    assert_eq!(opened.snapshots.load().generation, changed.generation);
    let taken = open(&options(folder.path())).unwrap_err();
    assert!(
        matches!(&taken, ControlError::Store(cause) if matches!(**cause, StoreError::InUse { .. })),
        "{taken:?}"
    );
    stop.send(()).unwrap();
    actor.await.unwrap();
    let again = open_when_free(&options(folder.path())).unwrap();
    assert_eq!(again.snapshots.load().generation, changed.generation);
    let status = again.handle.status();
    assert_eq!(status.routes[0].arms[1].weight.share(), 7);
}

#[test]
fn a_state_that_cannot_be_read_is_refused_with_the_folder_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let state_folder = options.config.state_folder();
    for (state, why) in [("{}", "damaged"), (r#"{"version":99}"#, "version 99")] {
        let (store, _) = loop {
            match crate::store::Store::open(&state_folder) {
                Err(StoreError::InUse { .. }) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let written = store.save(crate::store::faulty::batch(state));
        written.blocking_recv().unwrap().unwrap();
        drop(store);

        let error = open_when_free(&options).unwrap_err();

        assert!(matches!(error, ControlError::State { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.to_string().contains("switchback-state"), "{error}");
    }
}
