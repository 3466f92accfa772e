#!/bin/sh
# Set up the environment of the Makefile's targets. Needs Python 3.11 or newer and git.
# Takes a few milliseconds when everything is there.
#   ./bootstrap.sh            .venv: the project, editable, with its test and check tools
#   ./bootstrap.sh sandbox    the same, and a sandbox: bubblewrap, unless Docker is running
set -eu
cd "$(dirname "$0")"

say() { echo "set-up: $*" >&2; }
die() { say "$@"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- the virtual environment

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if has "$name" && new_enough "$name"; then echo "$name"; return; fi
  done
  die "no Python 3.11 or newer among: ${PYTHON:-python3 and python3.11 to python3.14}.
Install one, or name its path: make PYTHON=/path/to/python3.11"
}

new_venv() {
  python="$(find_python)"
  "$python" -c 'import ensurepip' 2>/dev/null || {  # Debian has it in a package of its own
    package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    install_package "$package" || die "Python's own venv is missing. Install it: sudo apt-get install $package"
  }
  "$python" -m venv --clear .venv
}

install_by_uv() {
  if uv --version >/dev/null 2>&1; then
    uv=uv
    [ -d .venv ] || { python="$(find_python)" && uv venv --quiet --python "$python" .venv; }
  else
    uv=.venv/bin/uv
    [ -d .venv ] || new_venv
    [ -x "$uv" ] || .venv/bin/python -m pip install --quiet uv
  fi
  "$uv" pip install --quiet --python .venv/bin/python -c constraints.txt -e ".[dev]" --group test --group check
}

install_by_pip() {  # slower, but it reads the machine's own settings for indexes and certificates
  new_venv
  .venv/bin/python -m pip install --quiet --upgrade pip
  .venv/bin/python -m pip install --quiet -c constraints.txt -e ".[dev]" --group test --group check
}

environment() {
  wanted="$PWD $(cat bootstrap.sh pyproject.toml constraints.txt server/main.py | cksum)"
  ready="$(cat .venv/ready 2>/dev/null || true)"
  if [ "$ready" = "$wanted" ]; then return; fi
  say "installing into .venv (the first time takes about a minute)"
  case "$ready" in
    "$PWD "*) new_enough .venv/bin/python || rm -rf .venv ;;
    *) rm -rf .venv ;;  # missing, incomplete, or moved, which breaks its scripts
  esac
  install_by_uv || { say "the installation with uv failed, trying pip"; install_by_pip; }
  echo "$wanted" >.venv/ready
}

# --- the sandbox

install_package() {  # with the system's package manager, if it needs no password
  sudo=""
  [ "$(id -u)" -eq 0 ] || { sudo="sudo -n"; has sudo && $sudo true 2>/dev/null; } || return 1
  say "installing $* through the system's package manager"
  if has apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    apt="$sudo apt-get install -y -qq --no-install-recommends"
    $apt "$@" || { $sudo apt-get update -qq && $apt "$@"; }
  elif has dnf; then $sudo dnf install -y -q "$@"
  elif has pacman; then $sudo pacman -S --noconfirm --needed "$@"
  elif has zypper; then $sudo zypper --non-interactive --quiet install "$@"
  elif has apk; then $sudo apk add --quiet "$@"
  else return 1
  fi >/dev/null 2>&1
}

bubblewrap_works() { bwrap --unshare-all --ro-bind / / true 2>/dev/null; }
docker_answers() { has docker && docker version >/dev/null 2>&1; }

sandbox() {
  if bubblewrap_works || docker_answers; then return; fi
  if ! has bwrap && install_package bubblewrap && bubblewrap_works; then return; fi
  if has bwrap; then
    say "bubblewrap is installed, but the system does not allow it:"
    bwrap --unshare-all --ro-bind / / true || true
    die "Either start a Docker engine, or allow user namespaces:
  Ubuntu:       sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
  Debian:       sudo sysctl kernel.unprivileged_userns_clone=1
  a container:  start it with --privileged"
  fi
  die "no sandbox is available, and no code runs without one. Install bubblewrap:
  Debian, Ubuntu:  sudo apt-get install bubblewrap
  Fedora:          sudo dnf install bubblewrap
  Arch:            sudo pacman -S bubblewrap
  openSUSE:        sudo zypper install bubblewrap
  Alpine:          sudo apk add bubblewrap
or start a Docker engine that this user reaches: \`docker version\` must answer."
}

prepare() {  # build the sandbox's environment, which the first run would wait for
  home="${AUTOCODE_HOME:-$HOME/.autocode}"
  if [ "$(cat .venv/prepared 2>/dev/null || true)" = "$wanted $home" ]; then return; fi
  .venv/bin/python -m sandbox "$home"
  echo "$wanted $home" >.venv/prepared
}

if [ "${1:-}" = sandbox ]; then sandbox; fi
environment
if [ "${1:-}" = sandbox ]; then prepare; fi
