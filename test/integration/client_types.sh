#!/bin/bash
# test/integration/client_types.sh: the types of clients/js, name by name, and with the TypeScript compiler.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
scripts=$here/../../scripts
"$scripts/foreign" debian node node
echo "1..2"
node "$here/src/client_types.mjs"

typescript=$("$scripts/foreign" npm typescript@5.6.3)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/../../clients/js/*.d.ts "$work"
cp "$here/src/client_types.ts" "$work"
if said=$(node "$typescript/node_modules/typescript/bin/tsc" --strict --noEmit --target es2022 --module nodenext --moduleResolution nodenext \
	--lib es2022,dom,dom.iterable,dom.asynciterable "$work/client_types.ts" 2>&1); then
	echo "ok 2 - tsc takes uses of all of it"
else
	sed 's/^/# /' <<<"$said" | head -20
	echo "not ok 2 - tsc takes uses of all of it"
	exit 1
fi
