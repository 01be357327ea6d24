#!/usr/bin/env bash
# Runs every fuzz target of the tree for the time given (60s), one after the other, since `go test -fuzz` takes one.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}

targets=$(grep -rEo --include='*_test.go' '^func Fuzz[[:alnum:]_]+' . | sort || true)
if [ -z "$targets" ]; then
	echo "fuzz: no targets" >&2
	exit 1
fi
while IFS=: read -r file func; do
	name=${func#func }
	echo "== ${file%/*} $name"
	(cd "${file%/*}" && "${GO:-go}" test -run "^$name\$" -fuzz "^$name\$" -fuzztime "$time" . </dev/null)
done <<<"$targets"
