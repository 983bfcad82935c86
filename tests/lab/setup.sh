#!/usr/bin/env bash
# Installs the real MCP servers, clients and the conformance suite that the lab tests use, at
# the versions of versions.env, from npm and PyPI by name. Nothing outside one folder is
# touched: $SWITCHBACK_LAB, by default target/lab. Does nothing when that folder is up to date.
#
# Needs npm and a Python of 3.10 or later with venv ($PYTHON, by default python3).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=${SWITCHBACK_LAB:-$here/../../target/lab}
# shellcheck disable=SC1091
. "$here/versions.env"

mkdir -p "$lab"
lab=$(cd "$lab" && pwd)
recipe=$(cat "$here/versions.env" "$here/setup.sh" | sha256sum)

# The scripts import packages of this folder, so they are run through links in it.
link_scripts() {
  mkdir -p "$lab/kit"
  for script in "$here"/js/*; do ln -sfn "$script" "$lab/kit/${script##*/}"; done
}

if [ "$(cat "$lab/recipe" 2>/dev/null)" = "$recipe" ]; then
  link_scripts
  echo "lab: up to date in $lab"
  exit 0
fi
rm -f "$lab/recipe"

# npm_install FOLDER PACKAGE@VERSION...
npm_install() {
  local folder=$lab/$1
  shift
  rm -rf "$folder"
  mkdir -p "$folder"
  echo '{ "private": true, "type": "module" }' > "$folder/package.json"
  (cd "$folder" && npm install --no-fund --no-audit --loglevel=error "$@")
}

npm_install node "node@$NODE"
npm_install kit \
  "@modelcontextprotocol/sdk@$SDK_V1" \
  "@modelcontextprotocol/server@$SDK_V2" \
  "@modelcontextprotocol/client@$SDK_V2" \
  "@modelcontextprotocol/node@$SDK_V2_NODE" \
  "@modelcontextprotocol/server-everything@$EVERYTHING" \
  "zod@$ZOD"
npm_install inspector "@modelcontextprotocol/inspector@$INSPECTOR"
npm_install conformance "@modelcontextprotocol/conformance@$CONFORMANCE"
npm_install conformance-next "@modelcontextprotocol/conformance@$CONFORMANCE_NEXT"

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "lab: $python is older than 3.10; name a newer one in PYTHON" >&2
  exit 1
}
[ -x "$lab/py/bin/python" ] || "$python" -m venv "$lab/py"
"$lab/py/bin/pip" install --quiet --disable-pip-version-check "mcp==$PY_MCP"
# Examiners apart: their many packages are not to choose the versions of the clients'.
[ -x "$lab/hostile/bin/python" ] || "$python" -m venv "$lab/hostile"
"$lab/hostile/bin/pip" install --quiet --disable-pip-version-check \
  "schemathesis==$SCHEMATHESIS" "h2==$PY_H2"

link_scripts
echo "$recipe" > "$lab/recipe"
echo "lab: ready in $lab"
