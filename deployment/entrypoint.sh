#!/bin/sh
# Runs a command of Lookalike; before the first `serve` that others can reach, it makes a token and shows it once.
set -eu

if [ "${1:-}" = serve ] && [ ! -e "$LOOKALIKE_HOME/access/tokens.json" ] && [ "${LOOKALIKE_SERVE_INSECURE:-}" = "" ]; then
    token=$(lookalike token create first --scope admin --quiet)
    echo "This token opens everything, and is shown this once: $token" >&2
fi
if [ "${1:-}" = serve ]; then
    shift
    set -- serve --no-browser "$@"
fi
exec lookalike "$@"
