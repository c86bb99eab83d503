#!/usr/bin/env bash
# Installs what `make bench` needs beside `make setup` and is missing: nginx and photographs (apt, when root), the locked
# extra `bench`, into the same .venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/packages.sh

missing_packages() {
  # nginx stands in sbin, which is not on every user's PATH.
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nginx >/dev/null || echo nginx-light
  compgen -G '/usr/share/backgrounds/mate/nature/*.jpg' >/dev/null || echo mate-backgrounds
}

mapfile -t packages < <(missing_packages)
install_packages "${packages[@]}"

say "installing the locked dependencies of the bench into .venv"
export UV_HTTP_TIMEOUT=300 UV_NO_PROGRESS=1
# Not `sync`: the lock holds what dev.txt does and more, and imagepress itself is there already.
.venv/bin/uv pip install --quiet --require-hashes --python .venv/bin/python --requirement deploy/locks/bench.txt
touch .venv/.bench-ready
