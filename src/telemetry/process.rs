//! The process as its kernel sees it, under the names that every Prometheus client uses.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::{Kind, Page};

static STARTED: OnceLock<SystemTime> = OnceLock::new();

/// When the process started, as far as this code knows: the first time that this is asked.
pub(super) fn started_at() -> SystemTime {
    *STARTED.get_or_init(SystemTime::now)
}

/// Puts start, memory and open files of the process on the page. What the platform does not
/// tell is left out.
pub(super) fn render_process(page: &mut Page) {
    let started = started_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    page.single(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process started, in seconds since 1970",
        started.as_secs_f64(),
    );
    if let Some(bytes) = resident_bytes() {
        page.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory of the process that is in RAM",
            bytes,
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.single(
            "process_open_fds",
            Kind::Gauge,
            "Open files and sockets",
            open.count() as u64,
        );
    }
    if let Some(limit) = file_limit() {
        page.single(
            "process_max_fds",
            Kind::Gauge,
            "Most open files and sockets that the process may have",
            limit,
        );
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn file_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
