#!/bin/bash
# test/integration/client_js.sh: clients/js against frames that a test writes, without a server.
set -euo pipefail

if ! command -v node >/dev/null; then
	echo "1..0 # SKIP there is no node"
	exit 0
fi
exec node "$(dirname "$(readlink -f "$0")")/src/client_frames.mjs"
