//! Reading the past.

use std::sync::Arc;

use crate::model::{RolloutId, RouteName};
use crate::store::{Query, StoreReader};

use super::command::HistoryFilter;
use super::error::ControlError;
use super::event::Event;

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
    // Rows that cannot be read (`wanted` has let none of them pass) are left out.
    let events = rows.iter().filter_map(|(_, row)| parse(row));
    Ok(events.collect())
}

fn wanted(row: &[u8], route: Option<&RouteName>, rollout: Option<RolloutId>) -> bool {
    parse(row).is_some_and(|event| {
        (route.is_none() || event.route.as_ref() == route)
            && (rollout.is_none() || event.rollout == rollout)
    })
}

fn parse(row: &[u8]) -> Option<Event> {
    serde_json::from_slice(row).ok()
}
