#!/usr/bin/env bash
# Installs what the tests need beyond Go, one function for each thing; it does nothing where nothing is missing.
set -euo pipefail

install_packages() {
	local sudo=()
	[ "$(id -u)" = 0 ] || sudo=(sudo -n)
	if ! command -v apt-get >/dev/null; then
		echo "setup: please install: $*" >&2
		exit 1
	fi
	"${sudo[@]}" apt-get update -qq
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_go() {
	command -v "${GO:-go}" >/dev/null && return
	echo "setup: Go is missing: https://go.dev/dl/" >&2
	exit 1
}

# The race detector is linked by a C compiler.
need_c_compiler() {
	command -v "$("${GO:-go}" env CC)" >/dev/null || install_packages gcc libc6-dev
}

need_go
need_c_compiler
