package integration

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/redis"
)

// TestRedisFaults runs the cases of the suite about restarts and cut links, each on a server of its own that is killed by
// SIGKILL, behind a link of its own, with a client that leaves contexts alone and one that follows them.
func TestRedisFaults(t *testing.T) {
	t.Parallel()
	for _, c := range conformance.Cases() {
		if !c.Needs.Durable && !c.Needs.Sever {
			continue
		}
		for _, follows := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/contexts=%v", c.Name, follows), func(t *testing.T) {
				t.Parallel()
				server := NewRedis(t, "--appendfsync", "always")
				link := newRedisLink(t, server.Addr)
				prefix := Prefix()
				err := c.Check(t, conformance.Backend{
					Time:     conformance.Wait,
					Features: conformance.Features{Durable: true, Sever: true},
					New: func(testing.TB) conformance.Namespace {
						return conformance.Namespace{
							Open: func(tb testing.TB) idempotency.Store {
								return openRedis(tb, server.Client(tb, through(link), func(o *goredis.Options) {
									o.ContextTimeoutEnabled = follows
								}), prefix)
							},
							Restart: server.Crash,
							Sever:   func(testing.TB) func() { return link.stall() },
						}
					},
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func through(link *redisLink) func(*goredis.Options) {
	return func(o *goredis.Options) { o.Addr = link.addr }
}

var (
	held = func(holder string) idempotency.Entry {
		return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
	}
	redisResult = []byte(`{"n":12345678901234567890}`)
	longTime    = time.Hour
)

// linked returns a store over a link, and one that goes around it.
func linked(t *testing.T) (over *redis.Store, link *redisLink, direct *redis.Store) {
	t.Helper()
	server := NewRedis(t)
	link = newRedisLink(t, server.Addr)
	prefix := Prefix()
	return openRedis(t, server.Client(t, through(link)), prefix), link, openRedis(t, server.Client(t), prefix)
}

// TestRedisLostReply loses the reply to each operation: the store repeats it, and it answers as if nothing had happened.
func TestRedisLostReply(t *testing.T) {
	t.Parallel()
	s, link, direct := linked(t)
	ctx := t.Context()

	lost := link.loseReply("the claim", false)
	res, err := s.PutIfAbsent(ctx, "the claim", held("a"), longTime)
	if err != nil || !res.Inserted || res.Entry.Attempt != 1 {
		t.Errorf("claim: %+v, %v", res, err)
	}
	await(t, lost)

	lost = link.loseReply("a heartbeat's holder", false)
	if _, err := direct.PutIfAbsent(ctx, "touched", held("a heartbeat's holder"), longTime); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Touch(ctx, "touched", "a heartbeat's holder"); err != nil || !ok {
		t.Errorf("touch: %v, %v", ok, err)
	}
	await(t, lost)

	lost = link.loseReply("12345678901234567890", false)
	if ok, err := s.MarkDone(ctx, "the claim", "a", redisResult, 0); err != nil || !ok {
		t.Errorf("completion: %v, %v", ok, err)
	}
	await(t, lost)

	lost = link.loseReply("the next holder", false)
	res, err = s.TakeOver(ctx, "touched", "a heartbeat's holder", time.Time{}, held("the next holder"), longTime)
	if err != nil || !res.Inserted || res.Entry.Attempt != 2 {
		t.Errorf("take-over: %+v, %v", res, err)
	}
	await(t, lost)

	// A release that took effect would say false if it were sent again.
	lost = link.loseReply("the next holder", false)
	ok, err := s.CompareAndReset(ctx, "touched", "the next holder", time.Time{})
	if err == nil || ok || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("release: %v, %v, want an unknown outcome", ok, err)
	}
	await(t, lost)
	if _, err := direct.Find(ctx, "touched"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("after a release whose reply was lost: %v", err)
	}
}

// TestRedisRefusedRepeat: the reply is lost and the repeat cannot be sent. That the repeat was not sent proves nothing.
func TestRedisRefusedRepeat(t *testing.T) {
	t.Parallel()
	s, link, direct := linked(t)
	lost := link.loseReply("the claim", true)
	_, err := s.PutIfAbsent(t.Context(), "the claim", held("a"), longTime)
	if err == nil || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("claim that took effect: error %v, want an unknown outcome", err)
	}
	await(t, lost)
	if e, err := direct.Find(t.Context(), "the claim"); err != nil || e.HolderID != "a" {
		t.Errorf("the claim is not there: %v", err)
	}
	if _, err := s.PutIfAbsent(t.Context(), "another", held("a"), longTime); !errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("claim without a link: error %v, want one that is ErrNotApplied", err)
	}
	link.listen(t)
	if res, err := s.PutIfAbsent(t.Context(), "the claim", held("a"), longTime); err != nil || !res.Inserted {
		t.Errorf("the same claim on a mended link: %+v, %v", res, err)
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("it did not come to pass")
	}
}

// TestRedisForgetsScripts flushes the server's scripts between and during operations, single and in pipelines.
func TestRedisForgetsScripts(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]goredis.UniversalClient{
		"one server": NewRedis(t).Client(t), "cluster": NewRedisCluster(t).Client(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := openRedis(t, client, Prefix(), redis.WithCoalescing(2, 8))
			forget := func() {
				if err := client.ScriptFlush(ctx).Err(); err != nil {
					t.Error(err)
				}
			}
			var inserted atomic.Int64
			conc(40, func(i int) {
				if i%8 == 0 {
					forget()
				}
				for n := range 10 {
					res, err := s.PutIfAbsent(ctx, fmt.Sprint(n), held(fmt.Sprint("h", i)), longTime)
					if err != nil {
						t.Error(err)
					}
					if res.Inserted {
						inserted.Add(1)
					}
				}
			})
			if n := inserted.Load(); n != 10 {
				t.Errorf("%d claims of 10 keys", n)
			}
			forget()
			ops := make([]idempotency.Op, 100)
			for i := range ops {
				ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: fmt.Sprint("batch", i/2), Entry: held(fmt.Sprint("h", i%2)), TTL: longTime}
			}
			for i, r := range s.Batch(ctx, ops) {
				if r.Err != nil || r.Put.Inserted != (i%2 == 0) {
					t.Errorf("operation %d: inserted %v, %v", i, r.Put.Inserted, r.Err)
				}
			}
			forget()
			if found, err := s.FindStaleInFlight(ctx, time.Now().Add(time.Hour), 0); err != nil || len(found) != 60 {
				t.Errorf("%d in flight, want 60: %v", len(found), err)
			}
		})
	}
}

func conc(n int, f func(i int)) {
	done := make(chan struct{})
	for i := range n {
		go func() { f(i); done <- struct{}{} }()
	}
	for range n {
		<-done
	}
}

// TestRedisDeadline: the store is back when the context ends, by its deadline or by cancel, whether the client cares for
// contexts or not, and the connections that hang stand in nobody's way. The client itself would wait ten minutes.
func TestRedisDeadline(t *testing.T) {
	t.Parallel()
	for _, follows := range []bool{false, true} {
		t.Run(fmt.Sprintf("contexts=%v", follows), func(t *testing.T) {
			t.Parallel()
			server := NewRedis(t)
			link := newRedisLink(t, server.Addr)
			s := openRedis(t, server.Client(t, through(link), func(o *goredis.Options) {
				o.ContextTimeoutEnabled, o.ReadTimeout, o.PoolSize = follows, 10*time.Minute, 100
			}), Prefix(), redis.WithCoalescing(2, 4))
			restore := link.stall()
			conc(20, func(i int) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if i%2 == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				} else {
					time.AfterFunc(50*time.Millisecond, cancel)
				}
				defer cancel()
				var err error
				if i%3 == 0 {
					_, err = s.Find(ctx, fmt.Sprint(i))
				} else {
					_, err = s.PutIfAbsent(ctx, fmt.Sprint(i), held("a"), longTime)
				}
				if want := ctx.Err(); want == nil || !errors.Is(err, want) {
					t.Errorf("over a stalled link: %v, want %v", err, want)
				}
			})
			// Those that were left behind still hang, and yet the next is sent, not queued behind them.
			brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := s.PutIfAbsent(brief, "k", held("a"), longTime); err == nil || errors.Is(err, idempotency.ErrNotApplied) {
				t.Errorf("claim beside those that hang: %v, want an unknown outcome", err)
			}
			restore()
			if res, err := s.PutIfAbsent(t.Context(), "k", held("a"), longTime); err != nil || !res.Inserted {
				t.Errorf("on a mended link: %+v, %v", res, err)
			}
		})
	}
}

// BenchmarkRedisDeadline says how late a claim over a stalled link is back, at worst, by a deadline and by a cancel: goal 50 ms.
func BenchmarkRedisDeadline(b *testing.B) {
	server := NewRedis(b)
	link := newRedisLink(b, server.Addr)
	s := openRedis(b, server.Client(b, through(link)), Prefix())
	defer link.stall()()
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc, time.Time){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc, time.Time) {
			at := time.Now().Add(20 * time.Millisecond)
			ctx, cancel := context.WithDeadline(ctx, at)
			return ctx, cancel, at
		},
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc, time.Time) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel, time.Now().Add(20 * time.Millisecond)
		},
	} {
		b.Run(name, func(b *testing.B) {
			var worst time.Duration
			for b.Loop() {
				ctx, cancel, at := end(b.Context())
				_, err := s.PutIfAbsent(ctx, "k", held("a"), longTime)
				worst = max(worst, time.Since(at))
				cancel()
				if err == nil {
					b.Fatal("a claim over a stalled link")
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms-late")
		})
	}
}
