#!/bin/sh
# Beam's runners start workers with options alone; whatever else is started is a command: a step, `elboflow …`, a shell.
case ${1:-} in
"" | -*) exec /opt/apache/beam/boot "$@" ;;
*) exec "$@" ;;
esac
