//! How the program that is shipped is linked: what runs at the start lies side by side (link/start.ld), and
//! the places that the loader corrects are told in some KiB instead of half a MiB, read at each start.

use std::env;
use std::path::{Component, Path};
use std::process::Command;

/// Set to anything by who builds on this machine for one with an older glibc.
const OLD_GLIBC: &str = "SWITCHBACK_OLD_GLIBC";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link/start.ld");
    println!("cargo::rerun-if-env-changed={OLD_GLIBC}");
    let said = |name| env::var(name).unwrap_or_default();
    // Cargo tells a build script no name of a profile but in this path: it is before `build`.
    let out = said("OUT_DIR");
    let parts: Vec<_> = Path::new(&out)
        .components()
        .map(Component::as_os_str)
        .collect();
    let is_shipped = parts.windows(2).any(|pair| pair == ["dist", "build"]);
    if is_shipped && said("CARGO_CFG_TARGET_OS") == "linux" {
        let folder = said("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/link/start.ld");
        let is_for_here = said("TARGET") == said("HOST") && said(OLD_GLIBC).is_empty();
        if is_for_here && said("CARGO_CFG_TARGET_ENV") == "gnu" && packed_is_read() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// Whether the loader of this machine reads packed relocations, as glibc's does since 2.36. A program with
/// them does not start with an older one.
fn packed_is_read() -> bool {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
    let version = said.ok().and_then(|said| {
        let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    version.is_some_and(|version: (u32, u32)| version >= (2, 36))
}
