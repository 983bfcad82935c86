#!/usr/bin/env bash
# Measures Switchback, as it is shipped (profile dist), beside nginx and HAProxy, and beside Envoy and
# Caddy where they are found: same backend, same load, interleaved rounds, judged by ratios in one run.
#
#   benches/compare/run.sh                                  get1k and post4k, 3 rounds
#   benches/compare/run.sh --scenarios all --rounds 5       more: --help
#   HARNESS=path/to/perf benches/compare/run.sh get1k,rate,reload --rounds 5 --json out.json
#
# HARNESS is for who has another harness with a compare.py that takes candidates: its scenarios come
# first, the rest goes to it as it is; PEERS names its proxies.
# Run it on a machine that does nothing else. What is missing comes from apt where this runs as root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..

missing=()
for pair in nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client valgrind:valgrind openssl:openssl; do
  command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "compare: please install what ${missing[*]} are on Debian" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

binary=${SWITCHBACK:-}
if [ -z "$binary" ]; then
  (cd "$root" && cargo build --profile dist --locked --bin switchback)
  binary=$(cd "${CARGO_TARGET_DIR:-$root/target}/dist" && pwd)/switchback
fi
[ -n "${HARNESS:-}" ] || SWITCHBACK=$binary exec "$here/compare.py" "$@"

scenarios=${1:-get1k,post4k}
[ $# -eq 0 ] || shift
# The harness brings its load generator and backend as source; they are built once.
build=${TMPDIR:-/tmp}/perf-compare
[ -x "$build/kit/release/load" ] ||
  cargo build --release --manifest-path "$HARNESS/kit/Cargo.toml" --target-dir "$build/kit"
exec "$HARNESS/compare.py" \
  --proxies "${PEERS:-nginx,haproxy}" \
  --scenarios "$scenarios" \
  --candidate "ours=$binary serve -c {config}" \
  --candidate-config "ours=$here/ours.yaml.tmpl" \
  --candidate-kinds ours=reload \
  --candidate-reload ours=rewrite \
  "$@"
