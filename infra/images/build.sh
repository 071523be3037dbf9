#!/usr/bin/env bash
# Builds the images from the last commit, and gives their SBOMs and addresses.
#
#   infra/images/build.sh build IMAGE… [-- OPTION…]   options of the engine, such as --build-arg PYTHON=…
#   infra/images/build.sh sbom  IMAGE                  the Python packages in it, in CycloneDX, to standard output
#   infra/images/build.sh push  IMAGE…                 the addresses by digest, to standard output
#   infra/images/build.sh pins                         resolves cuda.txt and tpu.txt anew
#
# IMAGE: cpu, cuda, tpu, mlflow, or worker, which is cpu run by root. Dataflow is known to mount a folder of root's into
# its workers; where they end with `permission denied`, worker is the image for `runner.image`.
#
# REGISTRY is where they belong (by default localhost), TAG their tag (by default the commit), and ENGINE what builds
# them: docker, podman or buildah, by default the first that is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

REGISTRY=${REGISTRY:-localhost}
TAG=${TAG:-$(git rev-parse --short=12 HEAD)}
ENGINE=${ENGINE:-$(for engine in docker podman buildah; do command -v "$engine" && break; done || true)}
export BUILDAH_FORMAT=docker # which keeps a HEALTHCHECK, unlike OCI's

main() {
    local verb=${1:-} image
    local images=()
    shift || usage
    while [ $# -gt 0 ] && [ "$1" != -- ]; do images+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    case $verb in
    pins) pins; return ;;
    build | sbom | push) [ ${#images[@]} -gt 0 ] || usage ;;
    *) usage ;;
    esac
    [ -n "$ENGINE" ] || { echo "no docker, podman or buildah is here; set ENGINE" >&2; exit 2; }
    for image in "${images[@]}"; do
        case $image in cpu | cuda | tpu | mlflow | worker) ;; *) usage ;; esac
    done
    for image in "${images[@]}"; do "$verb" "$image" "$@"; done
}

usage() { sed -n '4,7s/^# *//p' "$0" >&2; exit 2; }

address() { echo "$REGISTRY/elboflow-$1:$TAG"; }

build() {
    local image=$1 file=$1 source
    local options=("${@:2}")
    if [ "$image" = worker ]; then file=cpu options+=(--build-arg USER=0); fi
    git diff --quiet HEAD || echo "what is not committed is not built" >&2
    source=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$source'" EXIT
    git archive HEAD | tar --extract --directory "$source"
    # shellcheck disable=SC2086 # ENGINE may have options of its own
    $ENGINE build --file "$source/infra/images/$file.Containerfile" --tag "$(address "$image")" \
        --label "org.opencontainers.image.revision=$(git rev-parse HEAD)" "${options[@]}" "$source"
    rm -rf "$source"
    address "$image"
}

# shellcheck disable=SC2086
sbom() { $ENGINE run --rm --entrypoint cat "$(address "$1")" /opt/elboflow/sbom.json; }

# shellcheck disable=SC2086
push() {
    $ENGINE push "$(address "$1")" >&2
    $ENGINE inspect --format '{{index .RepoDigests 0}}' "$(address "$1")"
}

pins() {
    local kind options
    for kind in cuda tpu; do
        options=(--constraint constraints.txt --python-version 3.11 --python-platform x86_64-manylinux_2_31)
        [ ! -f "infra/images/$kind.overrides.txt" ] || options+=(--override "infra/images/$kind.overrides.txt")
        .venv/bin/uv pip compile --quiet pyproject.toml --extra jax "infra/images/$kind.in" "${options[@]}" \
            --upgrade --no-header --no-annotate | {
            echo "# What constraints.txt does not pin of $kind.in; \`infra/images/build.sh pins\` resolves it anew."
            grep --invert-match --line-regexp --fixed-strings --file constraints.txt
        } >"infra/images/$kind.txt.new"
        mv "infra/images/$kind.txt.new" "infra/images/$kind.txt"
    done
}

main "$@"
