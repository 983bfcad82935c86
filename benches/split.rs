//! What it costs to choose a backend.
#![allow(missing_docs, reason = "the names of benchmarks say what they measure")]
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up should stop"
)]

use std::net::{IpAddr, Ipv4Addr};

use divan::{Bencher, black_box};
use http::HeaderMap;
use switchback::model::{BackendName, Weight};
use switchback::split::spec::StickySpec;
use switchback::split::{Arm, Keys, Split};

fn main() {
    divan::main();
}

/// A split in which every arm has another weight.
fn split(arms: u32) -> Split {
    let arm = |i: u32| {
        let name: BackendName = format!("search-v{i}").parse().unwrap();
        Arm::new(&name, Weight::new(10 * i + 1).unwrap())
    };
    Split::new((1..=arms).map(arm).collect())
}

#[divan::bench(args = [1, 2, 3, 8])]
fn by_key(bencher: Bencher<'_, '_>, arms: u32) {
    let split = split(arms);
    let mut key = 0_u64;
    bencher.bench_local(|| {
        key = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
        split.by_key(black_box(key))
    });
}

#[divan::bench(args = [1, 2, 8])]
fn by_draw(bencher: Bencher<'_, '_>, arms: u32) {
    let split = split(arms);
    let mut draw = 0_u64;
    bencher.bench_local(|| {
        draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
        split.by_draw(black_box(draw))
    });
}

#[divan::bench]
fn key_of_a_header(bencher: Bencher<'_, '_>) {
    let keys = Keys::new(&[StickySpec::Header("x-user-id".into())], 7);
    let headers = headers("x-user-id", "user-4711");
    bencher.bench_local(|| keys.of_request(black_box(&headers), CLIENT));
}

#[divan::bench]
fn key_of_a_cookie(bencher: Bencher<'_, '_>) {
    let keys = Keys::new(&[StickySpec::Cookie("session".into())], 7);
    let headers = headers("cookie", "theme=dark; session=4711abcdef; lang=en");
    bencher.bench_local(|| keys.of_request(black_box(&headers), CLIENT));
}

#[divan::bench]
fn key_of_an_address(bencher: Bencher<'_, '_>) {
    let keys = Keys::new(&[StickySpec::ClientAddress], 7);
    let headers = headers("accept", "*/*");
    bencher.bench_local(|| keys.of_request(black_box(&headers), CLIENT));
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", "gateway.example".parse().unwrap());
    headers.insert("user-agent", "bench/1".parse().unwrap());
    headers.insert(name, value.parse().unwrap());
    headers
}
