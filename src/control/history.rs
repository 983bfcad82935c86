//! Reading the past.

use std::sync::Arc;

use serde::Deserialize;

use crate::model::{RolloutId, RouteName};
use crate::store::{Query, Row, StoreReader};

use super::command::HistoryFilter;
use super::error::ControlError;
use super::event::Event;

/// Where an event names its rollout, if it is about one: before anything that can be long.
const NAMED_WITHIN_BYTES: usize = 512;
/// Most events in one answer.
const LIMIT_MAX: usize = 1000;
/// Events in one answer when the asker names no limit.
const LIMIT_DEFAULT: usize = 100;

/// Reads events, latest first.
pub(super) async fn read(
    store: &StoreReader,
    filter: HistoryFilter,
) -> Result<Vec<Event>, ControlError> {
    let HistoryFilter {
        route,
        rollout,
        before,
        limit,
    } = filter;
    let limit = match limit {
        0 => LIMIT_DEFAULT,
        limit => limit.min(LIMIT_MAX),
    };
    let keep = Box::new(move |row: &[u8]| wanted(row, route.as_ref(), rollout));
    let query = Query {
        before,
        limit,
        keep,
    };
    let rows = store.history(query).await;
    let rows = rows.map_err(|error| ControlError::Store(Arc::new(error)))?;
    Ok(parse(rows).await)
}

/// The events of rows; those that cannot be read are left out. Beside this thread, since an event
/// may have much to it, and no revert is to wait for that.
pub(super) async fn parse(rows: Vec<Row>) -> Vec<Event> {
    let read = move || {
        let events = rows.iter();
        let events = events.filter_map(|(_, row)| serde_json::from_slice(row).ok());
        events.collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn wanted(row: &[u8], route: Option<&RouteName>, rollout: Option<RolloutId>) -> bool {
    /// All of an event that is looked at.
    #[derive(Deserialize)]
    struct Head {
        route: Option<RouteName>,
        rollout: Option<RolloutId>,
    }
    if !rollout.is_none_or(|rollout| names(row, &format!("\"rollout\":\"{rollout}\""))) {
        return false;
    }
    serde_json::from_slice(row).is_ok_and(|event: Head| {
        (route.is_none() || event.route.as_ref() == route)
            && (rollout.is_none() || event.rollout == rollout)
    })
}

/// Whether an event says this where it names its rollout. Told as cheaply as can be: there may be
/// thousands of events, and some are large.
pub(super) fn names(row: &[u8], what: &str) -> bool {
    let head = row.get(..NAMED_WITHIN_BYTES).unwrap_or(row);
    memchr::memmem::find(head, what.as_bytes()).is_some()
}
