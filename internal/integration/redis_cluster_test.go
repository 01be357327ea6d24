package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/redis"
)

// TestRedisShardsOnAllMasters: entries lie on every master, and whatever is about all entries sees all of them.
func TestRedisShardsOnAllMasters(t *testing.T) {
	t.Parallel()
	const entries = 300
	ctx, client := t.Context(), NewRedisCluster(t).Client(t)
	prefix := Prefix()
	s := openRedis(t, client, prefix)
	for i := range entries {
		if _, err := s.PutIfAbsent(ctx, fmt.Sprint(i), held("a"), longTime); err != nil {
			t.Fatal(err)
		}
	}
	err := client.ForEachMaster(ctx, func(ctx context.Context, master *goredis.Client) error {
		if n, err := master.DBSize(ctx).Result(); err != nil || n < entries/5 {
			t.Errorf("a master has %d keys of %d entries: %v", n, entries, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if found, err := s.FindStaleInFlight(ctx, time.Now().Add(time.Hour), entries+1); err != nil || len(found) != entries {
		t.Errorf("%d stale of %d: %v", len(found), entries, err)
	}
}

// TestRedisMigration moves the slots of shards from master to master while callers claim, complete, touch and watch:
// every key has one holder, and nothing is lost.
func TestRedisMigration(t *testing.T) {
	t.Parallel()
	const keys, callers, moves = 400, 4, 12
	client := NewRedisCluster(t).Client(t)
	prefix := Prefix()
	s := openRedis(t, client, prefix, redis.WithShards(3))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	for i := range keys {
		if _, err := s.PutIfAbsent(ctx, fmt.Sprint("held", i), held("a"), longTime); err != nil {
			t.Fatal(err)
		}
	}
	hints, err := s.Watch(ctx, "watched")
	if err != nil {
		t.Fatal(err)
	}
	<-hints // of the subscription

	stop := make(chan struct{})
	moved := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil && i < moves; i++ {
			err = moveSlot(ctx, client, prefix, i%3)
		}
		close(stop)
		moved <- err
	}()
	var inserted, completed, refused atomic.Int64
	var round atomic.Int64
	conc(callers+1, func(c int) {
		holder := fmt.Sprint("h", c)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if c == callers {
				until(ctx, t, &refused, func() error {
					ok, err := s.Touch(ctx, fmt.Sprint("held", n%keys), "a")
					if err == nil && !ok {
						t.Error("touch by the holder: false")
					}
					return err
				})
				continue
			}
			key := fmt.Sprint("k", n)
			round.Store(int64(n))
			until(ctx, t, &refused, func() error {
				res, err := s.PutIfAbsent(ctx, key, held(holder), longTime)
				if err == nil && res.Inserted {
					inserted.Add(1)
					if res.Entry.HolderID != holder {
						t.Errorf("inserted, and the entry is another's")
					}
				}
				if err != nil || !res.Inserted {
					return err
				}
				until(ctx, t, &refused, func() error {
					ok, err := s.MarkDone(ctx, key, holder, redisResult, 0)
					if err == nil && !ok {
						t.Errorf("completion by the holder: false")
					}
					if ok {
						completed.Add(1)
					}
					return err
				})
				return nil
			})
		}
	})
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	most := int(round.Load()) + callers // callers differ by where they were stopped
	found := 0
	for n := range most + 1000 {
		e, err := s.Find(ctx, fmt.Sprint("k", n))
		if errors.Is(err, idempotency.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Attempt != 1 || e.Status != idempotency.Done {
			t.Errorf("attempt %d, %v", e.Attempt, e.Status)
		}
		found++
	}
	if int64(found) != inserted.Load() || int64(found) != completed.Load() {
		t.Errorf("%d claims, %d completions, %d entries", inserted.Load(), completed.Load(), found)
	}
	listed, cursor := 0, ""
	for {
		page, next, err := s.List(ctx, cursor, 0)
		if err != nil {
			t.Fatal(err)
		}
		listed += len(page)
		if cursor = next; cursor == "" {
			break
		}
	}
	if listed != found+keys {
		t.Errorf("%d listed of %d", listed, found+keys)
	}
	if stale, err := s.FindStaleInFlight(ctx, time.Now().Add(time.Hour), keys+1); err != nil || len(stale) != keys {
		t.Errorf("%d in flight, want %d: %v", len(stale), keys, err)
	}
	drain(hints)
	if _, err := s.PutIfAbsent(ctx, "watched", held("a"), longTime); err != nil {
		t.Fatal(err)
	}
	select {
	case _, open := <-hints:
		if !open {
			t.Error("the watch was closed")
		}
	case <-ctx.Done():
		t.Error("no hint of a claim after the shard has moved")
	}
	t.Logf("%d keys, %d moves of slots, %d refusals", found, moves, refused.Load())
}

func drain(hints <-chan struct{}) {
	select {
	case <-hints:
	default:
	}
}

// until repeats what failed, as clause 3.11 says, and counts how often.
func until(ctx context.Context, t *testing.T, failed *atomic.Int64, f func() error) {
	t.Helper()
	for {
		err := f()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Errorf("not to be had: %v", err)
			return
		}
		failed.Add(1)
	}
}

// moveSlot moves the slot of a shard to another master, as redis-cli's reshard does.
func moveSlot(ctx context.Context, client *goredis.ClusterClient, prefix string, shard int) error {
	// Who has it is asked of the servers themselves: the client's knowledge may be of before the last move.
	var source *goredis.Client
	var masters []*goredis.Client
	var mu sync.Mutex
	ids, tag := map[string]string{}, ""
	err := client.ForEachMaster(ctx, func(ctx context.Context, m *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, m)
		keys, err := m.Keys(ctx, "*").Result()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if strings.HasPrefix(k, fmt.Sprintf("{%s:%d.", prefix, shard)) {
				source, tag = m, k
			}
		}
		ids[m.Options().Addr], err = m.ClusterMyID(ctx).Result()
		return err
	})
	if err != nil || source == nil {
		return err
	}
	slot, err := source.ClusterKeySlot(ctx, tag).Result()
	if err != nil {
		return err
	}
	target := masters[0]
	if target == source {
		target = masters[1]
	}
	from, to := source.Options().Addr, target.Options().Addr
	if err := target.Do(ctx, "cluster", "setslot", slot, "importing", ids[from]).Err(); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	if err := source.Do(ctx, "cluster", "setslot", slot, "migrating", ids[to]).Err(); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	host, port, _ := net.SplitHostPort(to)
	for {
		keys, err := source.ClusterGetKeysInSlot(ctx, int(slot), 10).Result()
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"migrate", host, port, "", 0, 5000, "keys"}
		for _, k := range keys {
			args = append(args, k)
		}
		if err := source.Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	for _, m := range append([]*goredis.Client{target, source}, masters...) {
		if err := m.Do(ctx, "cluster", "setslot", slot, "node", ids[to]).Err(); err != nil {
			return fmt.Errorf("node: %w", err)
		}
	}
	return nil
}

// TestRedisClusterDown: a cluster without one of its masters refuses, or cannot be reached; what it refuses is not applied.
func TestRedisClusterDown(t *testing.T) {
	t.Parallel()
	cluster := NewRedisCluster(t)
	s := openRedis(t, cluster.Client(t), Prefix())
	ctx := t.Context()
	cluster.Masters[2].Kill(t)
	deadline := time.Now().Add(30 * time.Second) // after the node timeout the others know
	down := false
	for n := 0; !down && time.Now().Before(deadline); n++ {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err := s.PutIfAbsent(ctx, fmt.Sprint(n), held("a"), longTime)
		cancel()
		if err != nil && strings.Contains(err.Error(), "CLUSTERDOWN") {
			down = true
			if !errors.Is(err, idempotency.ErrNotApplied) {
				t.Errorf("claim: %v, want ErrNotApplied", err)
			}
		}
	}
	if !down {
		t.Error("the cluster was never down")
	}
}
