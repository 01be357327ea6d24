package integration

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// TestContainer starts servers the way that is otherwise taken on machines without their binaries. Without an engine it
// demands that the helper says so.
func TestContainer(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		service *service
		way     func([]string) (instance, error)
		setting []string
		open    func(*testing.T, server) idempotency.Store
	}{
		{&postgresService, containerPostgres, []string{"fsync=off"}, func(t *testing.T, s server) idempotency.Store {
			server := &PostgresServer{s}
			pool := server.Pool(t, 4)
			return open(t, pool, migrated(t, server, pool))
		}},
		{&redisService, containerRedis, []string{"--appendfsync", "always"}, func(t *testing.T, s server) idempotency.Store {
			return openRedis(t, redisServer(s).Client(t), Prefix())
		}},
	} {
		t.Run(kind.service.name, func(t *testing.T) {
			t.Parallel()
			run, err := kind.way(kind.setting)
			if errors.Is(err, errMissing) {
				t.Logf("nothing to start: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(run.stop)
			server := server{URL: kind.service.at(run.address()), run: run}
			store := kind.open(t, server)
			claim := idempotency.Entry{Status: idempotency.InFlight, HolderID: "h"}
			if put, err := store.PutIfAbsent(t.Context(), "k", claim, time.Hour); err != nil || !put.Inserted {
				t.Fatalf("inserted %v, %v", put.Inserted, err)
			}
			server.Crash(t)
			eventually(t, "the claim after a crash", func() bool {
				_, err := store.Find(t.Context(), "k")
				return err == nil
			})
			if err := run.signal(syscall.SIGCONT); err != nil {
				t.Error(err)
			}
			server.Kill(t)
			if _, err := store.Find(t.Context(), "k"); err == nil {
				t.Error("it serves after it was killed")
			}
		})
	}
}

// TestNoServerIsSaidInWords takes every way to a server away.
func TestNoServerIsSaidInWords(t *testing.T) {
	gone := service{
		name: "Nothing", url: "IDEMPOTENCY_NOTHING_URL", debian: "nothing",
		local:     func([]string) (instance, error) { return nil, errMissing },
		container: func([]string) (instance, error) { return nil, errMissing },
	}
	_, err := gone.start()
	if !errors.Is(err, errMissing) {
		t.Fatal(err)
	}
	t.Log(err)
	for value, skips := range map[string]bool{"": true, "0": true, "1": false} {
		t.Setenv(RequireServices, value)
		if skippable(err) != skips {
			t.Errorf("%s=%q: skips: %v, want %v", RequireServices, value, !skips, skips)
		}
		if skippable(os.ErrPermission) {
			t.Error("a server that fails to start is no reason to skip")
		}
	}
}

// eventually waits until ok. How long it takes is not judged.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within a minute", what)
		}
	}
}
