//! What it costs to find a request's route.
#![allow(missing_docs, reason = "the names of benchmarks say what they measure")]

use divan::{Bencher, black_box};
use switchback::routing::RouteTable;
use switchback::routing::spec::MatchSpec;

fn main() {
    divan::main();
}

/// Half of the routes take a path on any host, half a host of their own.
fn table(routes: usize) -> RouteTable {
    let specs: Vec<MatchSpec> = (0..routes)
        .map(|i| MatchSpec {
            host: (i % 2 == 1).then(|| format!("host{i}.example")),
            path: Some(format!("/api/v{i}")),
            exact_path: None,
            mcp: None,
        })
        .collect();
    RouteTable::new(&specs)
}

#[divan::bench(args = [2, 20, 1000])]
fn a_prefix_on_any_host(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes);
    let path = format!("/api/v{}/users/17", routes - 2);
    bencher.bench_local(|| table.find(black_box("other.example"), black_box(&path)));
}

#[divan::bench(args = [2, 20, 1000])]
fn a_prefix_on_its_host(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes);
    let host = format!("host{}.example", routes - 1);
    let path = format!("/api/v{}/users/17", routes - 1);
    bencher.bench_local(|| table.find(black_box(&host), black_box(&path)));
}

#[divan::bench(args = [2, 20, 1000])]
fn nothing(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes);
    bencher.bench_local(|| table.find(black_box("other.example"), black_box("/none/of/these")));
}

#[divan::bench]
fn the_only_route(bencher: Bencher<'_, '_>) {
    let table = RouteTable::new(&[MatchSpec::default()]);
    bencher.bench_local(|| table.find(black_box("other.example"), black_box("/any/path/at/all")));
}
