//! What Linux says of a process.

use std::fs;

/// Bytes of a process that are in memory.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .expect("VmRSS in KiB");
    kib * 1024
}

/// Open files and sockets of a process.
pub fn open_files(pid: u32) -> usize {
    let folder = format!("/proc/{pid}/fd");
    fs::read_dir(folder).expect("a process that runs").count()
}

/// Lets this process open as many files as it may; thousands of clients need it.
pub fn raise_open_files() {
    let pid = std::process::id().to_string();
    let status = std::process::Command::new("sh")
        .args(["-c", "prlimit --pid \"$0\" --nofile=\"$(ulimit -Hn)\""])
        .arg(pid)
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success());
}
