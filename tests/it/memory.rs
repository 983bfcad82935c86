//! What a gateway holds of the machine's memory before it has anything to do.

use std::fs;

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;

/// Twice what it was when this was written, in this build: half of it is what the loader writes to.
const MAX_KIB: u64 = 10 * 1024;

/// Memory of a process that belongs to nobody else and to no file.
fn own_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.unwrap().parse().unwrap()
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux tells it")]
fn a_gateway_that_has_just_begun_holds_little() {
    let backend = Backend::fixed(200, "fine");
    let body = format!(
        "backends: {{ only: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ name: all, split: {{ only: 1 }} }}]\n",
        backend.url()
    );
    let gateway = Gateway::start_with_workers(1, &body);

    assert_eq!(gateway.get("/").status, 200);

    let kib = own_kib(gateway.pid());
    assert!(kib < MAX_KIB, "{kib} KiB");
}
