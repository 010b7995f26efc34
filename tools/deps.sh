#!/usr/bin/env bash
# Installs the Debian packages that Lethe's build needs and this machine lacks.
set -euo pipefail

packages=(build-essential cmake git pkg-config ca-certificates
          libdnnl-dev libjansson-dev libxxhash-dev libcurl4-openssl-dev libssl-dev libmicrohttpd-dev
          libncurses-dev libcmocka-dev zlib1g-dev libzstd-dev libzip-dev)

if ! command -v dpkg-query >/dev/null; then
    echo "Lethe needs: a C and C++ compiler, cmake >= 3.25, git, pkg-config, and the development files"
    echo "of oneDNN (or a CBLAS: OpenBLAS, BLIS), jansson, xxhash, libcurl (7.85 or later), libcrypto (OpenSSL 3), libmicrohttpd (0.9.71 or later), ncursesw, zlib, libzstd, libzip and cmocka. This system has no dpkg: install them by hand."
    for lib in jansson libxxhash libcurl libcrypto libmicrohttpd ncursesw zlib libzstd libzip cmocka; do
        pkg-config --exists "$lib" || { echo "missing: $lib"; exit 1; }
    done
    exit 0
fi

missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
run=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "not root and no sudo here; as root run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    run=(sudo)
fi
"${run[@]}" apt-get update -qq -o DPkg::Lock::Timeout=120
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=120 --no-install-recommends "${missing[@]}" >/dev/null
