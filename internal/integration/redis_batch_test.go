package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/redis"
)

// TestRedisFailsAlone: of entries that share the run of a script one has something foreign under its name. It fails, and the
// others do not, and are in their index.
func TestRedisFailsAlone(t *testing.T) {
	t.Parallel()
	t.Run("hash", func(t *testing.T) {
		t.Parallel()
		failsAlone(t, func(ctx context.Context, client *goredis.Client, name string) error {
			return client.HSet(ctx, name, "field", "value").Err()
		})
	})
	t.Run("short string", func(t *testing.T) {
		t.Parallel()
		failsAlone(t, func(ctx context.Context, client *goredis.Client, name string) error {
			return client.Set(ctx, name, "foreign", 0).Err()
		})
	})
}

func failsAlone(t *testing.T, spoil func(ctx context.Context, client *goredis.Client, name string) error) {
	ctx, client, prefix := t.Context(), NewRedis(t).Client(t), "p"
	s := openRedis(t, client, prefix, redis.WithShards(1))
	if _, err := s.PutIfAbsent(ctx, "bad", held("a"), longTime); err != nil {
		t.Fatal(err)
	}
	keys, err := client.Keys(ctx, "*}:bad").Result()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if err := client.Del(ctx, keys[0]).Err(); err != nil { // its index still tells of it
		t.Fatal(err)
	}
	if err := spoil(ctx, client, keys[0]); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []idempotency.OpKind{idempotency.OpPut, idempotency.OpTouch, idempotency.OpDone} {
		var ops []idempotency.Op
		for _, key := range []string{"good", "bad", "fine"} {
			ops = append(ops, idempotency.Op{Kind: kind, Key: key, HolderID: "a", Entry: held("a"), Result: redisResult, TTL: longTime})
		}
		for i, r := range s.Batch(ctx, ops) {
			if ops[i].Key == "bad" {
				if r.Err == nil || errors.Is(r.Err, idempotency.ErrNotApplied) {
					t.Errorf("operation %v on what is foreign: %v, want an unknown outcome", kind, r.Err)
				}
			} else if r.Err != nil || !r.Put.Inserted && !r.OK {
				t.Errorf("operation %v beside it: %+v", kind, r)
			}
		}
		if kind == idempotency.OpTouch {
			if found, err := s.FindStaleInFlight(ctx, time.Now().Add(time.Hour), 0); err != nil || len(found) != 2 {
				t.Errorf("%d in flight, want 2: %v", len(found), err)
			}
			if _, err := s.SweepExpired(ctx, time.Time{}); err != nil {
				t.Errorf("sweep: %v", err)
			}
		}
	}
}

// TestRedisLargeAnswers: of records that are too large for one answer each claim is shown its own.
func TestRedisLargeAnswers(t *testing.T) {
	t.Parallel()
	const entries = 6
	ctx, s := t.Context(), openRedis(t, Redis(t).Client(t), Prefix())
	result := func(i int) []byte {
		return append(append([]byte{'"'}, bytes.Repeat([]byte{'a' + byte(i)}, 700<<10)...), '"')
	}
	ops := make([]idempotency.Op, entries)
	for i := range ops {
		key := fmt.Sprint(i)
		if _, err := s.PutIfAbsent(ctx, key, held("a"), longTime); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.MarkDone(ctx, key, "a", result(i), 0); err != nil || !ok {
			t.Fatal(ok, err)
		}
		ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: key, Entry: held("b"), TTL: longTime}
	}
	for i, r := range s.Batch(ctx, ops) {
		if r.Err != nil || r.Put.Inserted || !bytes.Equal(r.Put.Entry.Result, result(i)) {
			t.Errorf("claim %d: %v, inserted %v, %d bytes", i, r.Err, r.Put.Inserted, len(r.Put.Entry.Result))
		}
	}
}
