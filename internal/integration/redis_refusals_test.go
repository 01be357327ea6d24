package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/redis"
)

// TestRedisRefusals: a server that refuses writes says so, the store proves it, nothing is applied, and the same client
// works again when the server does.
func TestRedisRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		word       string
		spoil, fix []any
	}{
		{"READONLY", []any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
		{"OOM", []any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
		{"NOREPLICAS", []any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"}},
		{"NOPERM", []any{"acl", "setuser", "default", "-evalsha"}, []any{"acl", "setuser", "default", "+evalsha"}},
	} {
		t.Run(c.word, func(t *testing.T) {
			t.Parallel()
			ctx, server := t.Context(), NewRedis(t)
			s, admin := openRedis(t, server.Client(t), Prefix()), server.Client(t)
			do := func(args []any) {
				if err := admin.Do(ctx, args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.PutIfAbsent(ctx, "held", held("a"), longTime); err != nil {
				t.Fatal(err)
			}
			do(c.spoil)
			refused := func(op string, err error) {
				t.Helper()
				if !errors.Is(err, idempotency.ErrNotApplied) || !strings.Contains(err.Error(), c.word) {
					t.Errorf("%s: error %v, want %s and ErrNotApplied", op, err, c.word)
				}
			}
			_, err := s.PutIfAbsent(ctx, "k", held("a"), longTime)
			refused("claim", err)
			_, err = s.MarkDone(ctx, "held", "a", redisResult, 0)
			refused("completion", err)
			for _, r := range s.Batch(ctx, []idempotency.Op{
				{Kind: idempotency.OpPut, Key: "k", Entry: held("a"), TTL: longTime}, {Kind: idempotency.OpTouch, Key: "held", HolderID: "a"},
			}) {
				refused("in a batch", r.Err)
			}
			do(c.fix)
			if res, err := s.PutIfAbsent(ctx, "k", held("b"), longTime); err != nil || !res.Inserted {
				t.Errorf("after that: %+v, %v", res, err)
			}
			if e, err := s.Find(ctx, "held"); err != nil || e.Status != idempotency.InFlight {
				t.Errorf("a completion that was refused: %v, %v", e.Status, err)
			}
		})
	}
}

// TestRedisBusy: a script of somebody else's holds the server up, and then ends.
func TestRedisBusy(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), NewRedis(t, "--busy-reply-threshold", "1")
	s, admin := openRedis(t, server.Client(t), Prefix()), server.Client(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		other := server.Client(t, func(o *goredis.Options) { o.MaxRetries, o.ReadTimeout = -1, time.Minute })
		_ = other.Eval(ctx, "while true do end", nil).Err()
	}()
	for { // until it is at work
		if err := admin.Ping(ctx).Err(); err != nil && strings.HasPrefix(err.Error(), "BUSY") {
			break
		}
	}
	_, err := s.PutIfAbsent(ctx, "k", held("a"), longTime)
	if !errors.Is(err, idempotency.ErrNotApplied) || !strings.Contains(err.Error(), "BUSY") {
		t.Errorf("claim: error %v, want BUSY and ErrNotApplied", err)
	}
	if err := admin.ScriptKill(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	await(t, ended)
	if res, err := s.PutIfAbsent(ctx, "k", held("b"), longTime); err != nil || !res.Inserted {
		t.Errorf("after that: %+v, %v", res, err)
	}
}

// TestRedisLoading: a server that comes back and reads its data refuses until it has them, and then has them.
func TestRedisLoading(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), NewRedis(t, "--appendfsync", "always", "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
	s := openRedis(t, server.Client(t), Prefix(), redis.WithShards(1))
	ops := make([]idempotency.Op, 100)
	for i := range ops {
		ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: fmt.Sprint(i), Entry: held(strings.Repeat("a", 200)), TTL: longTime}
	}
	for _, r := range s.Batch(ctx, ops) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	admin := server.Client(t)
	if err := admin.BgRewriteAOF(ctx).Err(); err != nil { // keys are read with a delay from a snapshot only
		t.Fatal(err)
	}
	for {
		info, err := admin.Info(ctx, "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		server.Crash(t)
	}()
	loading := false
	for over := false; !over; {
		select {
		case <-restarted:
			over = true
		default:
		}
		res, err := s.PutIfAbsent(ctx, "0", held("b"), longTime)
		if err == nil && res.Inserted {
			t.Fatal("a key that is held was given away")
		}
		if err != nil && strings.Contains(err.Error(), "LOADING") {
			loading = true
		}
	}
	if !loading {
		t.Log("the server had its data before it was asked")
	}
	if e, err := s.Find(ctx, "0"); err != nil || e.Status != idempotency.InFlight {
		t.Errorf("after the restart: %v, %v", e.Status, err)
	}
}

// TestRedisStartUp: New refuses servers that lose entries, and says which hazard can be accepted.
func TestRedisStartUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	refuses := func(t *testing.T, client goredis.UniversalClient, want string, opts ...redis.Option) {
		t.Helper()
		_, err := redis.New(client, append([]redis.Option{redis.WithPrefix(Prefix())}, opts...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: error %v, want %q", err, want)
		}
	}
	for _, c := range []struct {
		hazard   redis.Hazard
		settings []string
	}{
		{redis.Evicts, []string{"--maxmemory-policy", "allkeys-lru"}},
		{redis.Evicts, []string{"--maxmemory-policy", "volatile-ttl"}},
		{redis.Volatile, []string{"--appendonly", "no"}},
		{redis.Unknown, []string{"--rename-command", "INFO", ""}},
	} {
		t.Run(strings.Join(c.settings, " "), func(t *testing.T) {
			t.Parallel()
			client := NewRedis(t, c.settings...).Client(t)
			if _, err := redis.New(client); !errors.Is(err, redis.ErrHazard) || !strings.Contains(err.Error(), string(c.hazard)) {
				t.Errorf("New: error %v, want ErrHazard: %s", err, c.hazard)
			}
			openRedis(t, client, Prefix(), redis.WithAccepted(c.hazard))
			openRedis(t, client, Prefix(), redis.WithoutCheck())
		})
	}
	t.Run("CONFIG denied", func(t *testing.T) {
		t.Parallel()
		client := NewRedis(t, "--rename-command", "CONFIG", "", "--maxmemory-policy", "allkeys-random").Client(t)
		refuses(t, client, string(redis.Evicts))
	})
	t.Run("no scripts", func(t *testing.T) {
		t.Parallel()
		refuses(t, NewRedis(t, "--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "").Client(t), "does not run scripts")
		server := NewRedis(t)
		if err := server.Client(t).Do(ctx, "acl", "setuser", "poor", "on", "nopass", "~*", "&*", "+@all", "-@scripting").Err(); err != nil {
			t.Fatal(err)
		}
		refuses(t, server.Client(t, func(o *goredis.Options) { o.Username, o.Password = "poor", "x" }), "does not run scripts")
	})
	t.Run("commands forbidden", func(t *testing.T) {
		t.Parallel()
		server := NewRedis(t)
		for _, command := range []string{"set", "zadd", "zrem", "zcount", "unlink", "zrangebyscore", "time", "get", "getrange"} {
			user := func(o *goredis.Options) { o.Username, o.Password = command, "x" }
			if err := server.Client(t).Do(ctx, "acl", "setuser", command, "on", "nopass", "~*", "&*", "+@all", "-"+command).Err(); err != nil {
				t.Fatal(err)
			}
			refuses(t, server.Client(t, user), "redis: New: ")
		}
		if err := server.Client(t).Do(ctx, "acl", "setuser", "mute", "on", "nopass", "~*", "+@all", "-publish").Err(); err != nil {
			t.Fatal(err)
		}
		mute := server.Client(t, func(o *goredis.Options) { o.Username, o.Password = "mute", "x" })
		refuses(t, mute, "refuses PUBLISH")
		s := openRedis(t, mute, Prefix(), redis.WithoutPush())
		if _, err := s.Watch(t.Context(), "k"); !errors.Is(err, redis.ErrNoPush) {
			t.Errorf("Watch: %v, want ErrNoPush", err)
		}
	})
	t.Run("commands documented", func(t *testing.T) {
		t.Parallel()
		server, prefix := NewRedis(t), "documented"
		args := []any{"acl", "setuser", "poor", "on", "nopass", "resetkeys", "resetchannels", "~{" + prefix + ":*", "&{" + prefix + ":*", "-@all"}
		for _, command := range strings.Fields("eval evalsha info time get getrange set exists unlink zadd zrem zcount zrangebyscore publish subscribe unsubscribe") {
			args = append(args, "+"+command)
		}
		if err := server.Client(t).Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
		s := openRedis(t, server.Client(t, func(o *goredis.Options) { o.Username, o.Password, o.DisableIdentity = "poor", "x", true }), prefix)
		hints, err := s.Watch(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		for range hints { // of the subscription
			break
		}
		if _, err := s.PutIfAbsent(ctx, "k", held("a"), longTime); err != nil {
			t.Error(err)
		}
		hintOf(t, hints, "a claim")
		for i := range 100 { // of which some trim
			if _, err := s.PutIfAbsent(ctx, fmt.Sprint(i), held("a"), time.Millisecond); err != nil {
				t.Error(err)
			}
		}
		if ok, err := s.MarkDone(ctx, "k", "a", redisResult, 0); err != nil || !ok {
			t.Errorf("%v, %v", ok, err)
		}
		if _, err := s.SweepExpired(ctx, time.Time{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("layout", func(t *testing.T) {
		t.Parallel()
		client, prefix := Redis(t).Client(t), Prefix()
		openRedis(t, client, prefix, redis.WithShards(4))
		refuses(t, client, "laid out", redis.WithPrefix(prefix))
		refuses(t, client, "laid out", redis.WithPrefix(prefix), redis.WithShards(4), redis.WithoutPush())
		openRedis(t, client, prefix, redis.WithShards(4))
	})
	t.Run("wrong client", func(t *testing.T) {
		t.Parallel()
		server := ClusterOfRedis(t).Masters
		if len(server) > 0 {
			refuses(t, server[0].Client(t), "ClusterClient")
		}
		ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"one": "127.0.0.1:1"}})
		defer ring.Close()
		refuses(t, ring, "Ring")
		refuses(t, nil, "no client")
	})
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
		defer client.Close()
		refuses(t, client, "refused")
	})
}

// TestRedisTrace: a store leaves nothing on the server but its layout when its entries are gone.
func TestRedisTrace(t *testing.T) {
	t.Parallel()
	ctx, client := t.Context(), NewRedis(t).Client(t)
	s := openRedis(t, client, "trace")
	for i := range 100 {
		key := fmt.Sprint("}{", i)
		if _, err := s.PutIfAbsent(ctx, key, held("a"), longTime); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.CompareAndReset(ctx, key, "a", time.Time{}); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil || len(keys) != 1 || keys[0] != "{trace:layout}" {
		t.Errorf("left behind: %q, %v", keys, err)
	}
}
