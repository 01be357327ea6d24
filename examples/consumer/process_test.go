package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency/internal/integration"
)

// patience bounds every wait of these tests. Nothing is concluded from how long something took.
const patience = 2 * time.Minute

// asConsumer is the variable of the environment that makes the test's own binary the consumer.
const asConsumer = "CONSUMER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asConsumer) != "" {
		main()
		return
	}
	integration.Main(m)
}

var streams atomic.Int64

// bench is a queue and a ledger of one test, and the program that works on them.
type bench struct {
	t       *testing.T
	queue   *queue
	ledger  *ledger
	pool    *pgxpool.Pool
	program string
	flags   []string
}

func newBench(t *testing.T, flags ...string) *bench {
	t.Helper()
	redis, server := integration.Redis(t), integration.Postgres(t)
	b := &bench{t: t}
	var err error
	if b.program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	schema := pgx.Identifier{server.Schema(t)}.Sanitize()
	name := fmt.Sprintf("bookings-%d-%d", os.Getpid(), streams.Add(1))
	postgresURL := withParameter(t, withParameter(t, server.URL, "search_path", schema), "application_name", name)
	if b.pool, err = pgxpool.New(context.Background(), postgresURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.pool.Close)
	if _, err := b.pool.Exec(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	if b.ledger, err = openLedger(t.Context(), b.pool); err != nil {
		t.Fatal(err)
	}
	b.queue = &queue{
		client: redis.Client(t), stream: name, group: "ledger", consumer: "test",
		minIdle: time.Hour,
	}
	if err := b.queue.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = b.queue.client.Del(ctx, b.queue.stream, b.queue.stream+":dead").Err()
	})
	b.flags = append([]string{
		"-redis", redis.URL, "-postgres", postgresURL, "-stream", b.queue.stream,
		"-publish", "0", "-lease", "500ms", "-min-idle", "200ms",
	}, flags...)
	return b
}

func withParameter(t *testing.T, raw, name, value string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // as libpq has it, pgx takes a plus for itself
	return u.String()
}

// process is a running consumer.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	points chan string   // the points at which it waits
	exited chan struct{} // closed when it is gone
	stderr bytes.Buffer  // to be read when it has exited
}

func (b *bench) start(env string, flags ...string) *process {
	b.t.Helper()
	p := &process{
		t: b.t, cmd: exec.Command(b.program, append(b.flags[:len(b.flags):len(b.flags)], flags...)...),
		points: make(chan string, 1), exited: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), asConsumer+"=1", "GORACE=atexit_sleep_ms=0", env)
	p.cmd.Stderr = &p.stderr
	stdout, err1 := p.cmd.StdoutPipe()
	stdin, err2 := p.cmd.StdinPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		b.t.Fatal(err)
	}
	p.stdin = stdin
	b.t.Cleanup(p.kill)
	go func() {
		defer close(p.exited)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if point, ok := strings.CutPrefix(lines.Text(), "consumer: at "); ok {
				p.points <- point
			}
		}
		_ = p.cmd.Wait() // ProcessState has what there is to know
	}()
	return p
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// wait waits for the process to end by itself.
func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the consumer does not end")
	}
}

// drains waits for the end of a process that works off the queue.
func (p *process) drains() {
	p.t.Helper()
	p.wait()
	if !p.cmd.ProcessState.Success() {
		p.t.Fatalf("the consumer ended: %v\n%s", p.cmd.ProcessState, &p.stderr)
	}
}

// publish sends n bookings, and then every other one again: of a message without a copy nothing makes up for a loss.
func (b *bench) publish(n int) (ids []string) {
	b.t.Helper()
	var list, copies []booking
	for i := range n {
		list = append(list, booking{ID: fmt.Sprint("b", i), Account: fmt.Sprint("account-", i%3), Amount: int64(i + 1)})
		ids = append(ids, list[i].ID)
		if i%2 == 1 {
			copies = append(copies, list[i])
		}
	}
	if err := b.queue.publish(b.t.Context(), append(list, copies...)); err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// lines is the number of lines in the ledger.
func (b *bench) lines() int {
	b.t.Helper()
	n, _, err := b.ledger.count(b.t.Context(), b.queue.keys())
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// wantOnce deviates unless each of the bookings is in the ledger once, and nothing else is, and the queue is worked off.
func (b *bench) wantOnce(ids []string) {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), "SELECT key, count(*) FROM consumer_ledger GROUP BY key")
	if err != nil {
		b.t.Fatal(err)
	}
	counts := map[string]int{}
	var key string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&key, &n}, func() error {
		counts[strings.TrimPrefix(key, b.queue.keys())] = n
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	for _, id := range ids {
		if counts[id] != 1 {
			b.t.Errorf("%s was applied %d times", id, counts[id])
		}
		delete(counts, id)
	}
	if len(counts) > 0 {
		b.t.Errorf("applied, and not published: %v", counts)
	}
	if n, err := b.queue.pending(b.t.Context()); err != nil || n != 0 {
		b.t.Errorf("%d deliveries are pending, %v", n, err)
	}
	groups, err := b.queue.client.XInfoGroups(b.t.Context(), b.queue.stream).Result()
	if err != nil || len(groups) != 1 || groups[0].EntriesRead != b.queue.client.XLen(b.t.Context(), b.queue.stream).Val() {
		b.t.Errorf("not everything was delivered: %+v, %v", groups, err)
	}
}

// dead is the messages that were put aside, each with the reason.
func (b *bench) dead() (whys []string) {
	b.t.Helper()
	messages, err := b.queue.client.XRange(b.t.Context(), b.queue.stream+":dead", "-", "+").Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		b.t.Fatal(err)
	}
	for _, m := range messages {
		whys = append(whys, fmt.Sprint(m.Values["why"]))
	}
	return whys
}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("it never happens: %s", what)
		}
	}
}
