#!/bin/sh
# Makes the Python environment .venv from the locked versions. Usage: environment.sh [extras], e.g. "test".
# Does nothing where it stands already for this lock and project file.
set -eu
cd "$(dirname "$0")/../.."
extras=${1:-}
say() { printf '%s\n' "$*" >&2; }

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { say "Fablab needs Python 3.11 or newer; none was found. On Debian 12 or newer: apt install python3"; exit 2; }

stamp=.venv/.ready-${extras:-plain}
wanted=$(cat pyproject.toml requirements/lock.txt | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    sh deploy/setup/packages.sh python3-venv
fi
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; "$python" -m venv .venv; }
say "Installing Fablab and what it needs into .venv …"
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --no-input \
    --constraint requirements/lock.txt --editable ".${extras:+[$extras]}" >&2
printf '%s' "$wanted" > "$stamp"
