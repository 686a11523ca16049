#!/bin/sh
# From a clean clone: set it up, then run every command of README and docs.
set -eu
here=$(git rev-parse --show-toplevel)
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$here" "$clone/curate"
cd "$clone/curate"
make .venv/.ready
.venv/bin/python tests/walk.py
