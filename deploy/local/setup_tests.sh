#!/usr/bin/env bash
# Installs what `make test` needs beside `make setup` and is missing: a browser for the tests of the page, and what builds
# and runs the services' images (apt, when root).
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/packages.sh

missing_packages() {
  local name
  for name in chromium buildah mmdebstrap; do
    command -v "$name" >/dev/null || echo "$name"
  done
}

mapfile -t packages < <(missing_packages)
install_packages "${packages[@]}"
touch .venv/.test-ready
