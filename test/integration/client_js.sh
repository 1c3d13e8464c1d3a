#!/bin/bash
# test/integration/client_js.sh: clients/js against frames that a test writes, without a server.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
"$here/../../scripts/foreign" debian node node
exec node "$here/src/client_frames.mjs"
