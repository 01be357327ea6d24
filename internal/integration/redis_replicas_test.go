package integration

import (
	"errors"
	"net"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/redis"
)

func replicaOf(t *testing.T, addr string) *RedisServer {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return NewRedis(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
}

// TestRedisMinReplicas: a write that too few replicas have is an unknown outcome, also when it is repeated, and what writes
// nothing needs no replica.
func TestRedisMinReplicas(t *testing.T) {
	t.Parallel()
	ctx, master := t.Context(), NewRedis(t)
	replica := replicaOf(t, master.Addr)
	client := master.Client(t)
	s := openRedis(t, client, Prefix(), redis.WithMinReplicas(1, 200*time.Millisecond))
	awaitReplicas(t, master, 1)
	if res, err := s.PutIfAbsent(ctx, "k", held("a"), longTime); err != nil || !res.Inserted {
		t.Fatalf("with a replica: %+v, %v", res, err)
	}
	if ok, err := s.MarkDone(ctx, "k", "a", redisResult, 0); err != nil || !ok {
		t.Fatalf("with a replica: %v, %v", ok, err)
	}
	replica.Kill(t)
	awaitReplicas(t, master, 0)
	for range 2 {
		_, err := s.PutIfAbsent(ctx, "new", held("a"), longTime)
		if !errors.Is(err, redis.ErrTooFewReplicas) || errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("without: %v, want ErrTooFewReplicas, and not ErrNotApplied", err)
		}
	}
	for _, r := range s.Batch(ctx, []idempotency.Op{{Kind: idempotency.OpTouch, Key: "new", HolderID: "a"}}) {
		if !errors.Is(r.Err, redis.ErrTooFewReplicas) {
			t.Errorf("in a batch: %v, want ErrTooFewReplicas", r.Err)
		}
	}
	if res, err := s.PutIfAbsent(ctx, "k", held("b"), longTime); err != nil || res.Inserted || res.Entry.Status != idempotency.Done {
		t.Errorf("a duplicate: %+v, %v", res, err)
	}
	if e, err := s.Find(ctx, "new"); err != nil || e.HolderID != "a" {
		t.Errorf("what too few replicas have is there: %v", err)
	}
}

func awaitReplicas(t *testing.T, master *RedisServer, n int64) {
	t.Helper()
	client := master.Client(t)
	deadline := time.Now().Add(30 * time.Second)
	for {
		// WAIT speaks of the writes of its connection.
		pipe := client.Pipeline()
		pipe.Set(t.Context(), "probe", "", time.Minute)
		wait := goredis.NewIntCmd(t.Context(), "wait", 1, 50)
		_ = pipe.Process(t.Context(), wait)
		_, err := pipe.Exec(t.Context())
		acks := wait.Val()
		if err == nil && acks == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d replicas, want %d: %v", acks, n, err)
		}
	}
}

// TestRedisPromotion shows what Redis does not promise: a replica is promoted that does not have the last writes, and a
// completed key runs again. Of the two results one survives, and the old holder is told.
func TestRedisPromotion(t *testing.T) {
	t.Parallel()
	ctx, old := t.Context(), NewRedis(t)
	link := newRedisLink(t, old.Addr)
	next := replicaOf(t, link.addr)
	awaitReplicas(t, old, 1)
	prefix := Prefix()
	before := openRedis(t, old.Client(t), prefix)
	if _, err := before.PutIfAbsent(ctx, "replicated", held("a"), longTime); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, old, 1)

	link.stall() // for good
	for _, key := range []string{"k", "held"} {
		if res, err := before.PutIfAbsent(ctx, key, held("a"), longTime); err != nil || !res.Inserted {
			t.Fatal(res, err)
		}
	}
	if ok, err := before.MarkDone(ctx, "k", "a", []byte(`"a"`), 0); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := next.Client(t).ReplicaOf(ctx, "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	after := openRedis(t, next.Client(t), prefix)
	if res, err := after.PutIfAbsent(ctx, "replicated", held("b"), longTime); err != nil || res.Inserted {
		t.Errorf("a claim that was replicated: %+v, %v", res, err)
	}
	for _, key := range []string{"k", "held"} {
		res, err := after.PutIfAbsent(ctx, key, held("b"), longTime)
		if err != nil || !res.Inserted {
			t.Errorf("a claim that was not replicated: %+v, %v: the test is to show that it is lost", res, err)
		}
		if ok, err := after.MarkDone(ctx, key, "b", []byte(`"b"`), 0); err != nil || !ok {
			t.Errorf("completion on the promoted server: %v, %v", ok, err)
		}
	}
	host, port, _ := net.SplitHostPort(next.Addr)
	if err := old.Client(t).ReplicaOf(ctx, host, port).Err(); err != nil { // as Sentinel would
		t.Fatal(err)
	}
	awaitReplicas(t, next, 1)
	for name, server := range map[string]*RedisServer{"promoted": next, "demoted": old} {
		keys, err := server.Client(t).Keys(ctx, "*}:k").Result()
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		record, err := server.Client(t).Get(ctx, keys[0]).Result()
		if err != nil || record[len(record)-3:] != `"b"` {
			t.Errorf("%s server: a result survives beside that of the promoted server: %v", name, err)
		}
	}
	if ok, err := after.MarkDone(ctx, "held", "a", []byte(`"a"`), 0); err != nil || ok {
		t.Errorf("completion by the holder whose claim was lost: %v, %v", ok, err)
	}
	if ok, err := after.Touch(ctx, "held", "a"); err != nil || ok {
		t.Errorf("touch by the holder whose claim was lost: %v, %v", ok, err)
	}
}
