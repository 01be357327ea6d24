#!/usr/bin/env bash
# Installs what the tests need beyond Go, one function for each thing; it does nothing where nothing is missing.
set -euo pipefail

missing=()

# The race detector is linked by a C compiler.
need_c_compiler() {
	command -v "$("${GO:-go}" env CC)" >/dev/null || missing+=(gcc libc6-dev)
}

# The tests start servers of their own from these; see internal/integration.
need_postgres() {
	[ -n "${IDEMPOTENCY_POSTGRES_URL:-}" ] || [ "${IDEMPOTENCY_SERVICES:-}" = containers ] && return
	command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
}

need_pgbouncer() {
	command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
}

need_redis() {
	[ -n "${IDEMPOTENCY_REDIS_URL:-}" ] && [ -n "${IDEMPOTENCY_REDIS_CLUSTER_URL:-}" ] && return
	command -v redis-server >/dev/null || missing+=(redis-server)
}

# Makes the disk fail under the bolt store.
need_strace() {
	[ "$(uname)" = Linux ] || return 0
	command -v strace >/dev/null || missing+=(strace)
}

need_go() {
	command -v "${GO:-go}" >/dev/null && return
	echo "setup: Go is missing: https://go.dev/dl/" >&2
	exit 1
}

# Debian starts the services of what it installs, unless this file says no. Ours run when a test wants them.
keep_services_down() {
	local policy=/usr/sbin/policy-rc.d
	[ -e "$policy" ] && return
	printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
	"${sudo[@]}" chmod +x "$policy"
	trap '"${sudo[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
}

install_missing() {
	[ ${#missing[@]} -gt 0 ] || return 0
	local install=(apt-get install -y --no-install-recommends "${missing[@]}")
	sudo=()
	[ "$(id -u)" = 0 ] || sudo=(sudo -n)
	if ! command -v apt-get >/dev/null; then
		echo "setup: please install what Debian calls ${missing[*]}" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
		echo "setup: please type: sudo ${install[*]}" >&2
		exit 1
	fi
	echo "setup: ${install[*]}"
	keep_services_down
	"${sudo[@]}" apt-get update -qq
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -qq >/dev/null
}

need_go
need_c_compiler
need_postgres
need_pgbouncer
need_redis
need_strace
install_missing
