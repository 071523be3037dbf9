#!/usr/bin/env bash
# Builds the images from the last commit, and gives their SBOMs and addresses.
#
#   infra/images/build.sh build IMAGE… [-- OPTION…]   options of the engine, such as --build-arg PYTHON=…
#   infra/images/build.sh sbom  IMAGE                  the Python packages in it, in CycloneDX, to standard output
#   infra/images/build.sh push  IMAGE…                 what is not there yet; the addresses by digest, to standard output
#   infra/images/build.sh pins                         resolves cuda.txt and tpu.txt anew
#
# IMAGE: cpu, cuda, tpu, mlflow, or worker, which is cpu run by root. Dataflow is known to mount a folder of root's into
# its workers; where they end with `permission denied`, worker is the image for `runner.image`.
#
# REGISTRY is where they belong (by default localhost), TAG their tag (by default the commit), and ENGINE what builds
# them: docker, podman or buildah, by default the first that is there. Whether a registry has a tag is asked by docker's
# buildx, or else by skopeo: a tag stays what it is, and a second build of a commit is another image.
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
    [ "$verb" != push ] || can_ask
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

# The engine without its path and options.
kind() { basename "${ENGINE%% *}"; }

# shellcheck disable=SC2086
sbom() {
    local address container failed=0 file=/opt/elboflow/sbom.json
    address=$(address "$1")
    if [ "$(kind)" = buildah ]; then # which runs commands in a container that it has made, and nothing in an image
        container=$($ENGINE from --pull=never "$address")
        $ENGINE run "$container" -- cat "$file" || failed=$?
        $ENGINE rm "$container" >/dev/null
        return "$failed"
    fi
    $ENGINE run --rm --entrypoint cat "$address" "$file"
}

# shellcheck disable=SC2086
push() {
    local address digest
    address=$(address "$1")
    if digest=$(there "$address" 2>/dev/null); then
        echo "$address is in the registry already, and stays what it is" >&2
    else
        $ENGINE push "$address" >&2
        digest=$(there "$address")
    fi
    echo "${address%:*}@$digest"
}

# shellcheck disable=SC2086
can_ask() {
    if [ "$(kind)" = docker ]; then $ENGINE buildx version; else command -v skopeo; fi >/dev/null 2>&1 || {
        echo "push must ask the registry what it has, by docker's buildx, or with $(kind) by skopeo: install it" >&2
        exit 2
    }
}

# The digest of the tag, as the registry has it.
# shellcheck disable=SC2086
there() {
    if [ "$(kind)" = docker ]; then
        $ENGINE buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
    else
        skopeo inspect --format '{{.Digest}}' "docker://$1"
    fi
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
