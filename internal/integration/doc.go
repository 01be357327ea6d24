// Package integration finds real servers for tests, and is the only package that starts any. Its own tests run the stores
// on them.
//
// A server is, in this order: the one whose URL the environment names (IDEMPOTENCY_POSTGRES_URL), or one started from
// the machine's own binaries for this test process, on a free loopback port and in a temporary directory. Where there is
// neither, the test is skipped in words, or fails when IDEMPOTENCY_REQUIRE_SERVICES=1.
//
// A package whose tests use it calls Main from its TestMain, which stops what was started. Servers also end when the test
// process dies in any other way.
package integration
