#!/usr/bin/env bash
# Executes the cpu Containerfile where no container registry can be reached, and the main job in what comes out.
#
#   infra/images/try.sh [FOLDER]
#
# The base is made of Debian's packages by debootstrap. It and the image are kept in FOLDER for the next time; without
# one, nothing is kept. Beam's worker, which comes as an image only, is stood in for by a program that says so: the copy
# of it is tried, the worker is not. Needs buildah and debootstrap, which wants root; no daemon, no privileged mode.
set -euo pipefail
cd "$(dirname "$0")/../.."

for needed in buildah debootstrap; do
    command -v "$needed" >/dev/null || { echo "$needed is not installed: apt-get install buildah debootstrap" >&2; exit 2; }
done

folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
export TMPDIR=$folder BUILDAH_ISOLATION=chroot
buildah=(buildah --root "$folder/storage" --runroot "$folder/run")
# Layers that are laid over each other need a file system that can; copies work everywhere, and take more room.
STORAGE_DRIVER=overlay "${buildah[@]}" info >/dev/null 2>&1 && export STORAGE_DRIVER=overlay || export STORAGE_DRIVER=vfs

finish() {
    "${buildah[@]}" rm --all >/dev/null 2>&1 || true
    if [ -z "$kept" ]; then
        "${buildah[@]}" rmi --all --force >/dev/null 2>&1 || true
        umount "$folder/storage/overlay" 2>/dev/null || true
        rm -rf "$folder"
    fi
}
kept=${1:-}
trap finish EXIT

base() {
    local mirror container
    if "${buildah[@]}" inspect --type image localhost/debian-python >/dev/null 2>&1; then return; fi
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
    rm -rf "$folder/rootfs"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/rootfs" "$mirror"
    rm -rf "$folder/rootfs"/var/cache/apt/archives/*.deb
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$folder/rootfs" / >/dev/null
    "${buildah[@]}" commit --quiet --rm "$container" localhost/debian-python >/dev/null
    rm -rf "$folder/rootfs"

    mkdir -p "$folder/beam/opt/apache/beam"
    printf '#!/bin/sh\necho "this stands in for the worker of Apache Beam" >&2\nexit 1\n' >"$folder/beam/opt/apache/beam/boot"
    chmod +x "$folder/beam/opt/apache/beam/boot"
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$folder/beam" / >/dev/null
    "${buildah[@]}" commit --quiet --rm "$container" localhost/beam >/dev/null
}

# How this machine reaches its package index: its settings of pip and the certificates that it trusts.
index() {
    local file
    for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" /etc/ssl/certs; do
        if [ -e "$file" ]; then printf '%s\n' --volume "$file:${file/#$HOME//root}:ro"; fi
    done
    echo "system-certs = true" >"$folder/uv.toml"
    printf '%s\n' --volume "$folder/uv.toml:/etc/uv/uv.toml:ro"
}

step() { echo "== $1 ($((SECONDS))s)" >&2; }

step "the base"
base >&2
step "the cpu image"
mapfile -t options < <(index)
image=$(TAG=try ENGINE="${buildah[*]}" infra/images/build.sh build cpu -- --quiet --pull=never \
    --build-arg PYTHON=localhost/debian-python --build-arg BEAM=localhost/beam "${options[@]}" | tail -1)
step "the main job in $image"
container=$("${buildah[@]}" from --pull=never "$image")
in_it=("${buildah[@]}" run "$container" --)
"${in_it[@]}" sh -c 'test "$(id -u)" = 10001 && test -x /opt/apache/beam/boot'
TAG=try ENGINE="${buildah[*]}" infra/images/build.sh sbom cpu | grep CycloneDX >/dev/null
"${in_it[@]}" entrypoint sh -c 'python3 -m kfp.dsl.executor_main --help >/dev/null'
if "${in_it[@]}" entrypoint --id=1 2>"$folder/worker"; then exit 1; fi
grep -q 'stands in for the worker' "$folder/worker"
"${in_it[@]}" elboflow run digits --json --set training.epochs=2 --set training.batch_size=128 --set model.latent=4 \
    --set evaluation.bound_samples=20 --set evaluation.bootstrap_samples=100 --set registry.baseline=false
step "done"
