package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
)

// said is an error that a server answered.
type said string

func (s said) Error() string { return string(s) }
func (said) RedisError()     {}

var _ goredis.Error = said("")

func TestErrorsAreClassified(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	timeout := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	for _, c := range []struct {
		err             error
		refused, passes bool
	}{
		{said("MOVED 3999 127.0.0.1:6381"), true, true},
		{said("ASK 3999 127.0.0.1:6381"), true, true},
		{said("TRYAGAIN Multiple keys request during rehashing of slot"), true, true},
		{said("CLUSTERDOWN Hash slot not served"), true, true},
		{said("LOADING Redis is loading the dataset in memory"), true, true},
		{said("READONLY You can't write against a read only replica."), true, true},
		{said("MASTERDOWN Link with MASTER is down"), true, true},
		{said("BUSY Redis is busy running a script."), true, true},
		{said("OOM command not allowed when used memory > 'maxmemory'."), true, false},
		{said("NOREPLICAS Not enough good replicas to write."), true, false},
		{said("MISCONF Errors writing to the AOF file"), true, false},
		{said("NOPERM this user has no permissions to run the 'evalsha' command"), true, false},
		{said("NOAUTH Authentication required."), true, false},
		{said("NOSCRIPT No matching script."), true, false},
		{said("ERR max number of clients reached"), true, true},
		{said("ERR unknown command 'EVALSHA'"), true, false},
		{said("ERR user_script:5: out of memory script: 4d1, on @user_script:5."), false, false},
		{said("WRONGTYPE Operation against a key holding the wrong kind of value"), false, false},
		{dial, true, true},
		{goredis.ErrPoolTimeout, true, true},
		{goredis.ErrClosed, true, false},
		{io.EOF, false, true},
		{io.ErrUnexpectedEOF, false, true},
		{timeout, false, true},
		{&net.OpError{Op: "write", Err: errors.New("broken pipe")}, false, true},
		{context.DeadlineExceeded, false, false},
		{context.Canceled, false, false},
		{errRecord, false, false},
		{ErrTooFewReplicas, false, false},
		{&unprovenError{dial}, false, true},
		{&unprovenError{said("LOADING")}, false, true},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err)} {
			if got := refused(err); got != c.refused {
				t.Errorf("%v: refused %v, want %v", err, got, c.refused)
			}
			if got := passes(err); got != c.passes {
				t.Errorf("%v: passes %v, want %v", err, got, c.passes)
			}
			failed := fail(t.Context(), "Op", err)
			if !errors.Is(failed, c.err) || errors.Is(failed, idempotency.ErrNotApplied) != c.refused {
				t.Errorf("%v becomes %v", err, failed)
			}
		}
	}
	if err := fail(t.Context(), "Op", nil); err != nil {
		t.Error(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fail(over, "Op", io.EOF); !errors.Is(err, context.Canceled) || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("a link that broke when the context ended: %v", err)
	}
}

func TestHazards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		info    string
		cluster bool
		want    []Hazard
	}{
		{info: "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"},
		{info: "redis_version:6.2.0\r\naof_enabled:1\r\n"},
		{info: "redis_version:6.2.0\r\naof_enabled:1\r\n", cluster: true, want: []Hazard{Old}},
		{info: "redis_version:6.0.16\r\naof_enabled:1\r\n", want: []Hazard{Old}},
		{info: "redis_version:255.255.255\r\n"},
		{info: "redis_version:unstable\r\n"},
		{info: "aof_enabled:0\r\nmaxmemory_policy:volatile-lru\r\n", want: []Hazard{Evicts, Volatile}},
		{info: ""},
	} {
		if got := found(parseInfo(c.info), c.cluster); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: %q, want %q", c.info, got, c.want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]Option{
		"empty prefix": WithPrefix(""), "brace": WithPrefix("a}b"), "NUL": WithPrefix("\x00"), "no UTF-8": WithPrefix("\xff"),
		"no shards": WithShards(0), "many shards": WithShards(1025), "done TTL": WithDoneTTL(1), "grace": WithGrace(1),
		"trips": WithCoalescing(-1, 1), "batch": WithCoalescing(1, 0), "replicas": WithMinReplicas(-1, 0),
	} {
		if _, err := newConfig([]Option{opt}); !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("%s: %v, want ErrInvalidOption", name, err)
		}
	}
	if c, err := newConfig([]Option{WithShards(1), WithoutCheck()}); err != nil || !c.accepted[Evicts] || !c.accepted[Volatile] {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCursor(t *testing.T) {
	t.Parallel()
	s := &Store{names: newLayout("p", 4)}
	for _, at := range []place{{}, {"1800000000000000", "xé,\xff"}} {
		shard, kind, got, err := s.parseCursor(formatCursor(3, idempotency.Done, at))
		if err != nil || shard != 3 || kind != idempotency.Done || got != at {
			t.Errorf("%d, %v, %+v, %v", shard, kind, got, err)
		}
	}
	for _, bad := range []string{
		"x", "4,1,,", "-1,1,,", "0,0,,", "0,3,,", "0,1,nan,", "0,1,-1,", "0,1,inf,", "0,1,1e300,", "0,1,1,!", "0,1,1,eA,", ",,,", "0,1,",
	} {
		if _, _, _, err := s.parseCursor(bad); !errors.Is(err, idempotency.ErrInvalidKey) {
			t.Errorf("%q: %v, want ErrInvalidKey", bad, err)
		}
	}
}
