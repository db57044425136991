#!/bin/sh
# Installs the named Debian packages that are missing; asks sudo where we are not root.
set -eu
missing=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "These packages are needed, and this system has no apt-get to install them:$missing" >&2
    exit 2
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "These packages are needed; please let an administrator run: apt-get install$missing" >&2
        exit 2
    fi
    sudo=sudo
fi
echo "Installing system packages:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of words
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
    $sudo apt-get update -qq >&2
    $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
