#!/bin/sh
# Refuses a Triton below the given release: `require_release.sh RELEASE MINIMUM`. The images' builds run it.
set -eu
release=${1:-}
minimum=$2
case $release in
    [0-9][0-9].[0-9][0-9]*) ;;
    *)
        echo "this base image does not say its Triton release (NVIDIA_TRITON_SERVER_VERSION is '$release');" \
            "use nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3" >&2
        exit 1
        ;;
esac
oldest=$(printf '%s\n%s\n' "$release" "$minimum" | sort -V | head -n 1)
if [ "$oldest" != "$minimum" ]; then
    echo "Triton $release has known holes (NVIDIA's bulletins; the last, CVE-2026-47627, is fixed in 26.06):" \
        "use $minimum or later, see docs/security.md" >&2
    exit 1
fi
