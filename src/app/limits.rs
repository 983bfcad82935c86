//! How many files the process may have open, and what it can take on with them.

use std::os::fd::RawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::proxy::spec::LimitsSpec;
use crate::proxy::{CapSizes, Caps};

/// Files that connections never get: those of the admin API, of its store, of logs, runtimes,
/// health checks and shadows.
const RESERVE: u64 = 320;
/// Files of each worker, and of each of its listeners.
const OF_WORKER: u64 = 4;
/// Most connections, and most requests, unless the file says so.
const ENOUGH: u64 = 65_536;
/// Fewest, however few files there are.
const LEAST: u64 = 16;

/// The bounds of the process: what the file says, else what the limit of open files allows. Each
/// connection needs one, and each request another towards its backend.
pub(super) fn caps(spec: &LimitsSpec, (workers, listeners): (usize, usize)) -> Caps {
    let files = getrlimit(Resource::Nofile).current;
    let own = own_of(workers, listeners);
    let derived = share(files, own);
    let sizes = CapSizes {
        connections: spec.connections.unwrap_or(derived),
        requests: spec.requests.unwrap_or(derived),
        connections_per_client: spec.connections_per_client,
        buffered_bytes: spec.buffered_bytes,
    };
    let wanted = u64::from(sizes.connections) + u64::from(sizes.requests) + RESERVE + own;
    if let Some(files) = files.filter(|files| *files < wanted) {
        tracing::warn!(
            files,
            wanted,
            "the limit of open files is too low for `limits.connections` and `limits.requests`"
        );
    }
    metrics::gauge!("switchback_connections_max").set(f64::from(sizes.connections));
    metrics::gauge!("switchback_requests_max").set(f64::from(sizes.requests));
    Caps::new(sizes, workers)
}

/// The first descriptor that traffic may not have: whoever gets it knows that all below are taken,
/// so that the reserve is there whatever traffic does. `None` without a limit.
pub(super) fn reserved_from((workers, listeners): (usize, usize)) -> Option<RawFd> {
    let files = getrlimit(Resource::Nofile).current?;
    i32::try_from(first_reserved(files, own_of(workers, listeners))).ok()
}

fn own_of(workers: usize, listeners: usize) -> u64 {
    workers as u64 * (OF_WORKER + listeners as u64)
}

fn first_reserved(files: u64, own: u64) -> u64 {
    files - (RESERVE + own).min(files / 2).saturating_sub(own)
}

/// Half of the files that are left, when `own` and the reserve are taken; `None` is no limit.
fn share(files: Option<u64>, own: u64) -> u32 {
    let Some(files) = files else {
        return ENOUGH as u32;
    };
    // With very few files the reserve takes no more than half of them.
    let reserve = (RESERVE + own).min(files / 2);
    ((files - reserve) / 2).clamp(LEAST, ENOUGH) as u32
}

/// Raises the limit of open files as far as the system lets a process do that by itself: each
/// call needs two, and the usual 1,024 are meant for programs that use `select`.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = limit.current, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_files_is_never_given_away() {
        for files in [1024, 4096, 65_536, 100_000] {
            let each = u64::from(share(Some(files), 100));

            assert!(2 * each + RESERVE + 100 <= files, "{files}");
        }
        for files in [64, 256, 400, 1024, 100_000] {
            let traffic = first_reserved(files, 20);
            let calls = 2 * u64::from(share(Some(files), 20));
            assert!(
                traffic < files && traffic >= (calls + 20).min(files / 2),
                "{files}"
            );
        }
        assert_eq!(share(Some(1024), 20), 342);
        assert_eq!(u64::from(share(None, 20)), ENOUGH);
        assert_eq!(u64::from(share(Some(64), 20)), LEAST);
    }
}
