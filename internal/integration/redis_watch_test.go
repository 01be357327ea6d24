package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	"go.aimon.at/idempotency/redis"
)

// TestRedisWatchReconnects: when the connection of the watches breaks, it is made anew, with a hint for all, and the watches go
// on.
func TestRedisWatchReconnects(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), NewRedis(t, "--appendfsync", "always")
	s, writer := openRedis(t, server.Client(t), "p"), openRedis(t, server.Client(t), "p")
	admin := server.Client(t)
	const keys = 50
	all := make([]<-chan struct{}, keys)
	for i := range all {
		hints, err := s.Watch(ctx, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		<-hints // of the subscription
		all[i] = hints
	}
	if n, err := admin.ClientKillByFilter(ctx, "type", "pubsub").Result(); err != nil || n != 1 {
		t.Fatalf("%d connections for %d watches, want 1: %v", n, keys, err)
	}
	for _, breaks := range []func(){func() {}, func() { server.Crash(t) }} {
		breaks()
		for i, hints := range all {
			hintOf(t, hints, "a new connection")
			key := fmt.Sprint(i)
			if _, err := writer.PutIfAbsent(ctx, key, held("a"), longTime); err != nil {
				t.Fatal(err)
			}
			hintOf(t, hints, "a claim after it")
			if _, err := writer.CompareAndReset(ctx, key, "a", time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, hints := range all {
			hintOf(t, hints, "a release")
		}
	}
}

func hintOf(t *testing.T, hints <-chan struct{}, by string) {
	t.Helper()
	select {
	case _, open := <-hints:
		if !open {
			t.Fatalf("the watch was closed before a hint of %s", by)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("no hint of %s", by)
	}
}

// TestRedisWatchGivesUp: when no connection can be had any more, the watches end, and a new one is refused at once.
func TestRedisWatchGivesUp(t *testing.T) {
	t.Parallel()
	server := NewRedis(t)
	s := openRedis(t, server.Client(t), Prefix())
	hints, err := s.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	for open := true; open; {
		select {
		case _, open = <-hints:
		case <-time.After(time.Minute):
			t.Fatal("the server is gone and the watch goes on")
		}
	}
	if _, err := s.Watch(t.Context(), "k"); !errors.Is(err, redis.ErrNoPush) {
		t.Errorf("Watch: %v, want ErrNoPush", err)
	}
}

// TestRedisWatchEndsWithItsStore: Close ends the watches.
func TestRedisWatchEndsWithItsStore(t *testing.T) {
	t.Parallel()
	s := openRedis(t, Redis(t).Client(t), Prefix())
	hints, err := s.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range hints {
	}
	if _, err := s.Watch(t.Context(), "k"); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("Watch after Close: %v", err)
	}
}

// TestRedisManager lets two processes' managers meet on one key: the second is woken by the first's completion.
func TestRedisManager(t *testing.T) {
	t.Parallel()
	client, prefix := Redis(t).Client(t), Prefix()
	var managers [2]*idempotency.Manager
	for i := range managers {
		managers[i] = idempotency.New(openRedis(t, client, prefix))
		defer managers[i].Close(context.Background())
	}
	inside, finish := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = idempotency.Do(t.Context(), managers[0], "k", func(context.Context) (int, error) {
			close(inside)
			<-finish
			return 42, nil
		})
	}()
	await(t, inside)
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	got, err := idempotency.Do(t.Context(), managers[1], "k", func(context.Context) (int, error) { return 0, errors.New("it ran twice") })
	if err != nil || got.Value != 42 || !got.Replayed {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRedisOpen opens stores by URL.
func TestRedisOpen(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"one server": Redis(t).URL, "cluster": ClusterOfRedis(t).URL}
	for name, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("prefix", Prefix())
		q.Set("shards", "5")
		u.RawQuery = q.Encode()
		s, err := backend.Open(t.Context(), u.String())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if res, err := s.PutIfAbsent(t.Context(), "k", held("a"), longTime); err != nil || !res.Inserted {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		if err := s.(io.Closer).Close(); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
	for _, bad := range []string{"redis://h:1?shards=x", "redis://h:1?nonsense=1", "redis://h:1/notadb", "redis://:s3cr3t@127.0.0.1:1/0?shards=0"} {
		if _, err := backend.Open(t.Context(), bad); !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("%s: %v, want ErrInvalidOption", bad, err)
		}
	}
}
