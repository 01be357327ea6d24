package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
)

const sentinelName = "mymaster"

// sentinels starts three of them that watch a master, and returns their addresses when they know each other and one replica.
func sentinels(t *testing.T, master *RedisServer) []string {
	t.Helper()
	const quorum, count = 2, 3
	host, port, _ := strings.Cut(master.Addr, ":")
	addrs := make([]string, count)
	for i := range addrs {
		p, own, err := prepare("sentinel")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(p.dir, "conf") // which it writes to
		conf := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor %s %s %s %d\nsentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 5000\n",
			own, p.dir, sentinelName, host, port, quorum)
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if p.as != nil {
			if err := os.Chown(file, p.as.uid, p.as.gid); err != nil {
				t.Fatal(err)
			}
		}
		p.argv = []string{master.run.(*program).argv[0], file, "--sentinel"}
		like := master.run.(*program)
		p.ping, p.fast, p.instant = pingRedis(p.addr), like.fast, like.instant
		t.Cleanup(p.stop)
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		addrs[i] = p.addr
	}
	for _, addr := range addrs {
		client := goredis.NewSentinelClient(&goredis.Options{Addr: addr})
		defer client.Close()
		untilDone(t, "the sentinels know each other and the replica", func(ctx context.Context) error {
			facts, err := client.Master(ctx, sentinelName).Result()
			if err == nil && (facts["num-slaves"] != "1" || facts["num-other-sentinels"] != fmt.Sprint(count-1)) {
				err = errors.New("not yet")
			}
			return err
		})
	}
	return addrs
}

func untilDone(t *testing.T, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestRedisSentinel: the master dies with writes that it has acknowledged and no replica has, and the sentinels promote the
// replica. Claims among those writes are lost, which is what Redis does not promise: their keys are given away again. The store
// goes on by the same client, of the two results one survives, and the old holder is refused.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	ctx, old := t.Context(), NewRedis(t)
	if _, ok := old.run.(*program); !ok {
		t.Skip("sentinels are started from a binary of this machine, and the server was started in a container")
	}
	next := replicaOf(t, old.Addr)
	awaitReplicas(t, old, 1)
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: sentinelName, SentinelAddrs: sentinels(t, old), ContextTimeoutEnabled: true,
	})
	defer client.Close()
	s := openRedis(t, client, Prefix())
	if _, err := s.PutIfAbsent(ctx, "replicated", held("a"), longTime); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, old, 1)

	// The replica loses its link for good, and the master its life.
	if err := old.Client(t).Do(ctx, "acl", "setuser", "default", "-psync", "-replconf").Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := old.Client(t).ClientKillByFilter(ctx, "type", "replica").Result(); err != nil || n != 1 {
		t.Fatalf("%d links of replicas: %v", n, err)
	}
	for _, key := range []string{"k", "held"} {
		if res, err := s.PutIfAbsent(ctx, key, held("a"), longTime); err != nil || !res.Inserted {
			t.Fatal(res, err)
		}
	}
	if ok, err := s.MarkDone(ctx, "k", "a", []byte(`"a"`), 0); err != nil || !ok {
		t.Fatal(ok, err)
	}
	old.Kill(t)

	// Until the promotion there is no server, or one that takes no writes.
	for _, key := range []string{"k", "held"} {
		untilDone(t, "a claim on the promoted server", func(ctx context.Context) error {
			res, err := s.PutIfAbsent(ctx, key, held("b"), longTime)
			if err == nil && !res.Inserted {
				t.Errorf("%s: a claim that was not replicated is still there: the test is to show that it is lost", key)
			}
			return err
		})
		if ok, err := s.MarkDone(ctx, key, "b", []byte(`"b"`), 0); err != nil || !ok {
			t.Errorf("completion on the promoted server: %v, %v", ok, err)
		}
	}
	if res, err := s.PutIfAbsent(ctx, "replicated", held("b"), longTime); err != nil || res.Inserted {
		t.Errorf("a claim that was replicated: %+v, %v", res, err)
	}
	for _, key := range []string{"k", "held"} {
		if ok, err := s.MarkDone(ctx, key, "a", []byte(`"a"`), 0); err != nil || ok {
			t.Errorf("completion by the holder whose claim was lost: %v, %v", ok, err)
		}
	}

	// The old master comes back with what it had, and the sentinels make a replica of it.
	if err := old.run.crash(); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, next, 1)
	for name, server := range map[string]*RedisServer{"promoted": next, "demoted": old} {
		keys, err := server.Client(t).Keys(ctx, "*}:k").Result()
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		record, err := server.Client(t).Get(ctx, keys[0]).Result()
		if err != nil || !strings.HasSuffix(record, `"b"`) {
			t.Errorf("%s server: a result survives beside that of the promoted server: %v", name, err)
		}
	}
	if e, err := s.Find(ctx, "k"); err != nil || e.Status != idempotency.Done || string(e.Result) != `"b"` {
		t.Errorf("the result that survives: %v, %v", e.Status, err)
	}
}
