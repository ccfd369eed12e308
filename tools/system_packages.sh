#!/bin/sh
# Install the system packages that the build needs and this machine lacks.
#
#   sh tools/system_packages.sh PYTHON
#   sh tools/system_packages.sh --update-lists    only update apt's package lists
#   sh tools/system_packages.sh --for-tests P...  packages that some tests need; never fails
#
# Prints what it installs first. Needs root (or sudo) only if something is missing.
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# as_root COMMAND...: run it as root, and show its output only if it fails.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@" >"$scratch/log" 2>&1
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@" >"$scratch/log" 2>&1
    else
        echo "birdembed: this needs root, and there is no sudo; run as root: $*" >&2
        exit 1
    fi || {
        tail -n 20 "$scratch/log" >&2
        return 1
    }
}

if [ "$1" = --update-lists ]; then
    echo "birdembed: apt-get update" >&2
    as_root apt-get -q update
    exit 0
fi

if [ "$1" = --for-tests ]; then
    shift
    missing=
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || exit 0
    echo "birdembed: installing with apt-get, for tests:$missing" >&2
    # shellcheck disable=SC2086
    if ! (as_root apt-get -q update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing); then
        echo "birdembed: not installed; tests that need these packages are skipped:$missing" >&2
    fi
    exit 0
fi

python=$1
cc=${CC:-gcc}
missing=
need() { # need PACKAGE REASON
    case " $missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac
    echo "birdembed: missing: $2 (Debian package $1)" >&2
}

printf '#include <math.h>\n#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' \
    >"$scratch/probe.c"

if ! command -v "$cc" >/dev/null 2>&1; then
    need gcc "a C compiler"
    need libc6-dev "the C library's headers"
    need libgomp1 "the OpenMP runtime"
else
    "$cc" -pthread -o "$scratch/probe" "$scratch/probe.c" -lm >/dev/null 2>&1 ||
        need libc6-dev "the C library's headers"
    case $("$cc" -print-file-name=libgomp.so.1) in
        /*) ;;
        *) need libgomp1 "the OpenMP runtime" ;;
    esac
fi
stb=${STB_IMAGE_INCLUDE:-/usr/include/stb}
[ -f "$stb/stb_image.h" ] || [ -f /usr/local/include/stb/stb_image.h ] ||
    need libstb-dev "stb_image.h, the image decoder"

# Debian's Python comes without venv and headers. Any other Python has both, or is broken.
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    need "python$version-venv" "the module venv of $python"
fi
if ! "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; then
    need "python$version-dev" "the headers of $python"
fi

[ -n "$missing" ] || exit 0
case " $missing" in
    *" python"*)
        if [ "$("$python" -c 'import sys; print(sys.base_prefix)')" != /usr ]; then
            echo "birdembed: $python is not Debian's Python, so no Debian package can add what is" \
                "missing; choose another Python with make PYTHON=..." >&2
            exit 1
        fi
        ;;
esac
if ! command -v apt-get >/dev/null 2>&1; then
    echo "birdembed: install the missing packages with this system's package manager, then try again" >&2
    exit 1
fi
echo "birdembed: installing with apt-get:$missing" >&2
# A package source that cannot be reached does not matter if the next command works.
as_root apt-get -q update || true
# shellcheck disable=SC2086
as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
