//! How many sessions live at a backend that are streams of their own (HTTP+SSE).

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{BackendName, RouteName};

use super::session::Census;

/// The sessions whose streams are open. Written when one opens, moves and ends.
#[derive(Debug, Default)]
pub struct StreamCensus {
    open: Mutex<Census>,
}

impl StreamCensus {
    /// A session lives here from now on.
    pub fn enter(&self, route: &RouteName, backend: &BackendName) {
        let mut open = self.open();
        *open.entry((route.clone(), backend.clone())).or_default() += 1;
    }

    /// A session that lived here does no more.
    pub fn leave(&self, route: &RouteName, backend: &BackendName) {
        let mut open = self.open();
        let key = (route.clone(), backend.clone());
        if let Some(count) = open.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&key);
            }
        }
    }

    /// Adds where the sessions live.
    pub(super) fn add_to(&self, census: &mut Census) {
        for (key, count) in self.open().iter() {
            *census.entry(key.clone()).or_default() += count;
        }
    }

    fn open(&self) -> MutexGuard<'_, Census> {
        // Each number is whole whatever interrupted its holder.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_where_they_live() {
        let streams = StreamCensus::default();
        let (route, v1, v2): (RouteName, BackendName, BackendName) = (
            "r".parse().unwrap(),
            "v1".parse().unwrap(),
            "v2".parse().unwrap(),
        );
        streams.enter(&route, &v1);
        streams.enter(&route, &v1);
        streams.leave(&route, &v1);
        streams.enter(&route, &v2);
        streams.leave(&route, &v2);
        streams.leave(&route, &v2);

        let mut census = Census::from([((route.clone(), v1.clone()), 4)]);
        streams.add_to(&mut census);

        assert_eq!(census, Census::from([((route, v1), 5)]));
    }
}
