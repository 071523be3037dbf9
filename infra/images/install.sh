#!/bin/sh
# What the first stage of every image does: the project's wheel and what it needs, pinned, into /opt/elboflow.
#
#   install.sh REQUIREMENT [EXTRA]
#
# REQUIREMENT is `mlflow`, or the project with its extras. EXTRA.txt, beside this file, pins what constraints.txt does
# not, and is installed as well; EXTRA.overrides.txt, where there is one, replaces requirements of the project.
set -eu
requirement=$1 extra=${2:-}
here=infra/images

python3 -m venv /opt/build
/opt/build/bin/pip install --no-cache-dir --quiet --constraint constraints.txt uv
uv=/opt/build/bin/uv

set -- --constraint constraints.txt
[ -z "$extra" ] || set -- "$@" --requirement "$here/$extra.txt"
[ ! -f "$here/$extra.overrides.txt" ] || set -- "$@" --override "$here/$extra.overrides.txt"
case $requirement in
elboflow*)
    $uv build --quiet --wheel --build-constraints constraints.txt --out-dir /wheel .
    requirement="$(echo /wheel/elboflow-*.whl)${requirement#elboflow}"
    ;;
esac
$uv venv --quiet --python "$(command -v python3)" /opt/elboflow
$uv pip install --quiet --no-cache --compile-bytecode --python /opt/elboflow/bin/python "$@" "$requirement"

# The SBOM of the Python packages, in CycloneDX; that of the base comes with the base.
$uv tool run --quiet --no-cache --constraints constraints.txt --from cyclonedx-bom==7.5.0 \
    cyclonedx-py environment --output-reproducible --of JSON --output-file /opt/elboflow/sbom.json /opt/elboflow
