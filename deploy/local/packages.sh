# What the set-up scripts share: how Debian's packages are installed. Sourced, not run.
say() { printf 'setup: %s\n' "$*" >&2; }

install_packages() {
  [ $# -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "these are missing; install them with your package manager: $*"
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    say "packages are missing; run this and try again: sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
    return 1
  fi
  say "installing system packages: $*"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}
