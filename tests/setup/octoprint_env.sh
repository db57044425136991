#!/bin/sh
# Makes .octoprint/, the environment in which the tests start a real OctoPrint. Quick when it is already there.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
lock="$root/requirements/octoprint.txt"
env="$root/.octoprint"
if [ -x "$env/bin/octoprint" ] && cmp -s "$lock" "$env/installed.txt"; then
    exit 0
fi
echo "Installing OctoPrint for the tests into .octoprint/ …"
rm -rf "$env"
"${PYTHON:-python3}" -m venv "$env"
"$env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$lock"
cp "$lock" "$env/installed.txt"      # last: an installation that was cut short is made again
