#!/usr/bin/env bash
# Measures Switchback, as it is shipped (profile dist), beside nginx and HAProxy: same backends,
# same load, interleaved rounds, judged by ratios inside one run.
#
#   HARNESS=path/to/perf benches/compare/run.sh                     get1k,post4k
#   HARNESS=path/to/perf benches/compare/run.sh get1k,rate,reload --rounds 5 --json out.json
#
# HARNESS is the folder of the comparison's compare.py. The first argument is a comma list of its
# scenarios, the rest goes to it as it is. More peers: PEERS=naive-hyper,nginx,haproxy,envoy.
# Run it on a machine that does nothing else.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
harness=${HARNESS:?name the folder of compare.py in HARNESS}
[ -x "$harness/compare.py" ] || { echo "no compare.py in $harness" >&2; exit 1; }
scenarios=${1:-get1k,post4k}
[ $# -eq 0 ] || shift

# The harness brings its load generator and backend as source; they are built once.
build=${TMPDIR:-/tmp}/perf-compare
[ -x "$build/kit/release/load" ] ||
  cargo build --release --manifest-path "$harness/kit/Cargo.toml" --target-dir "$build/kit"

(cd "$root" && cargo build --profile dist --locked --bin switchback)
target=${CARGO_TARGET_DIR:-$root/target}
binary=$(cd "$target/dist" && pwd)/switchback

exec "$harness/compare.py" \
  --proxies "${PEERS:-nginx,haproxy}" \
  --scenarios "$scenarios" \
  --candidate "ours=$binary serve -c {config}" \
  --candidate-config "ours=$here/ours.yaml.tmpl" \
  --candidate-kinds ours=reload \
  --candidate-reload ours=rewrite \
  "$@"
