#!/usr/bin/env bash
# Installs what is missing on this machine: system packages (apt, when root), .venv, the locked dependencies.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/packages.sh

find_python() {
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "$candidate"
      return
    fi
  done
  say "Python 3.11 or newer is needed and not on PATH"
  return 1
}

missing_packages() {
  "$python" -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
  [ "$(uname -s)" = Linux ] || return 0
  # The embedded mongod is linked against libcurl; the image engine takes JPEGs through TurboJPEG.
  has_library 'libcurl\.so\.4' || echo libcurl4
  has_library 'libturbojpeg\.so\.0' || { grep -q '^ID=ubuntu' /etc/os-release && echo libturbojpeg || echo libturbojpeg0; }
}

has_library() {
  PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep "$1" >/dev/null  # not -q: pipefail; nor is ldconfig on every PATH
}

python=$(find_python)
mapfile -t packages < <(missing_packages)
install_packages "${packages[@]}"

say "installing the locked dependencies into .venv"
# A venv that was interrupted in the making, or whose Python is gone or too old, is made anew.
.venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || "$python" -m venv --clear .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_HTTP_TIMEOUT=300 UV_NO_PROGRESS=1
# uv itself comes from the lock, by hash, like everything else; then it installs the rest far faster than pip would.
awk '/^[^ #]/ { wanted = /^uv==/ } wanted' deploy/locks/dev.txt > .venv/uv.txt
.venv/bin/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt
.venv/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python deploy/locks/dev.txt
.venv/bin/uv pip install --quiet --no-deps --python .venv/bin/python --editable .
touch .venv/.ready
