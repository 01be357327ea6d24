// Package integration finds real servers for tests, and is the only package that starts any. Its own tests run the stores
// on them, and break servers, links and processes while they do.
//
// A server is, in this order:
//
//   - the one whose URL the environment names (IDEMPOTENCY_POSTGRES_URL, IDEMPOTENCY_REDIS_URL, IDEMPOTENCY_REDIS_CLUSTER_URL);
//   - one started from the machine's own binaries for this test process, on a free loopback port, in a temporary directory
//     and as an unprivileged user;
//   - one in a container, where there is an engine. IDEMPOTENCY_SERVICES=containers puts containers before binaries.
//     The image is the one that IDEMPOTENCY_POSTGRES_IMAGE or IDEMPOTENCY_REDIS_IMAGE names, else one built from the machine's
//     own binaries, which needs no registry, else the official one.
//
// Where there is none of them the test is skipped in words, or fails when IDEMPOTENCY_REQUIRE_SERVICES=1. A test that stops
// its server, or freezes it, never does that to one that the environment names.
//
// A package whose tests use it calls Main from its TestMain, which stops what was started. Servers also end when the test
// process dies in any other way, and what a killed one left on the disk is removed by the next.
package integration
