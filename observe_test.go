package idempotency_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// take returns the events so far in words, and forgets them.
func (r *events) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var words []string
	for _, e := range r.all {
		word := e.Kind.String()
		switch e.Kind {
		case idempotency.EventStoreCall:
			word = e.Op
		case idempotency.EventClaimed, idempotency.EventTookOver, idempotency.EventReplayed, idempotency.EventHolderLost:
			word += fmt.Sprintf("/%d", e.Attempt)
		case idempotency.EventCompleted:
			word += fmt.Sprintf("/%d(%s)", e.Attempt, e.Outcome)
		case idempotency.EventLeaseLost:
			word += fmt.Sprintf("/%d(%v)", e.Attempt, e.Elapsed)
		case idempotency.EventWaitEnded:
			word += fmt.Sprintf("(%v)", e.Elapsed.Round(time.Second))
		case idempotency.EventSwept:
			word += fmt.Sprintf("(%d)", e.Count)
		}
		words = append(words, word)
	}
	r.all = nil
	return strings.Join(words, " ")
}

func TestEventNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for k := idempotency.EventClaimed; k <= idempotency.EventSwept; k++ {
		if name := k.String(); seen[name] || strings.Contains(name, "EventKind") {
			t.Errorf("event %d is called %q", uint8(k), name)
		}
		seen[k.String()] = true
	}
	for _, none := range []idempotency.EventKind{0, idempotency.EventSwept + 1, 255} {
		if want := fmt.Sprintf("EventKind(%d)", uint8(none)); none.String() != want {
			t.Errorf("%q, want %q", none, want)
		}
	}
}

func TestEventsOfEachPath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, ev := memory.New(), new(events)
		store := link(shared)
		m := newManager(t, store, idempotency.WithObserver(ev))
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := ev.take(); got != want {
				t.Errorf("events %q, want %q", got, want)
			}
		}
		wantRun(t, m, key, "v")
		expect("PutIfAbsent claimed/1 MarkDone completed/1(value)")
		wantReplay(t, m, key, "v")
		expect("PutIfAbsent replayed/1")
		wantRefused(t, m, key, idempotency.ErrFingerprintMismatch, idempotency.WithFingerprint("f"))
		expect("PutIfAbsent refused")
		_, _ = idempotency.Do(t.Context(), m, "fails", fails(errWork))
		expect("PutIfAbsent claimed/1 CompareAndReset released")
		_, _ = idempotency.Do(t.Context(), m, "final", fails(idempotency.Final(errWork)))
		expect("PutIfAbsent claimed/1 MarkDone completed/1(final)")
		_, _ = idempotency.Do(t.Context(), m, "unknown", fails(idempotency.ErrOutcomeUnknown))
		expect("PutIfAbsent claimed/1 abandoned")
		time.Sleep(2 * lease)
		wantRun(t, m, "unknown", "v")
		expect("PutIfAbsent TakeOver took-over/2 holder-lost/1 MarkDone completed/2(value)")

		c := begin(t, m, "late")
		_, _ = shared.CompareAndReset(t.Context(), "late", c.Entry().HolderID, time.Time{})
		wantNil(t, c.Complete("v"))
		expect("PutIfAbsent claimed/1 MarkDone PutIfAbsent completed/1(value)")

		c = begin(t, m, "lost")
		_, _ = shared.CompareAndReset(t.Context(), "lost", c.Entry().HolderID, time.Time{})
		time.Sleep(lease)
		wantRun(t, newManager(t, shared), "lost", "w")
		wantErr(t, c.Complete("v"), idempotency.ErrLeaseLost)
		expect("PutIfAbsent claimed/1 Touch lease-lost/1(10s) MarkDone PutIfAbsent not-recorded")

		run := start(t.Context(), newManager(t, shared), "waited", takes(5*time.Second, "v"))
		synctest.Wait()
		slow := newManager(t, pushing{store, shared}, idempotency.WithObserver(ev),
			idempotency.WithPoll(idempotency.Backoff{Base: time.Hour, Max: time.Hour}))
		wantReplay(t, slow, "waited", "v")
		wantNil(t, (<-run).err)
		expect("PutIfAbsent wait-started PutIfAbsent PutIfAbsent wait-ended(5s) replayed/1")

		die(t, shared, "swept")
		time.Sleep(2 * lease)
		_, err := m.Sweep(t.Context())
		wantNil(t, err)
		expect("Now FindStaleInFlight CompareAndReset holder-lost/1 SweepExpired swept(0)")

		a := &asked{value: "found", found: true}
		die(t, shared, "recovered", a.option())
		time.Sleep(2 * lease)
		_, err = idempotency.Do(t.Context(), m, "recovered", never(t), a.option())
		wantNil(t, err)
		expect("PutIfAbsent TakeOver took-over/2 holder-lost/1 MarkDone completed/2(recovered) Find")
	})
}

func TestStoreCallsAreTimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, ev := link(memory.New()), new(events)
		store.once("PutIfAbsent", slowReply(time.Second), dropRequest)
		m := newManager(t, store, idempotency.WithObserver(ev))
		wantRun(t, m, key, "v")
		wantRun(t, m, "another", "v")
		calls := ev.of(idempotency.EventStoreCall)
		if calls[0].Elapsed != time.Second || calls[0].Err != nil || calls[2].Err == nil {
			t.Fatalf("calls %+v", calls)
		}
	})
}

// logs captures everything that is logged, attributes included.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func TestLogsNeverHoldWhatIsPrivate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const secretKey, secretValue, prefix = "secret-key", "secret-value", "secret-holder"
		var out logs
		ev := new(events)
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store, idempotency.WithHolderPrefix(prefix), idempotency.WithObserver(ev),
			idempotency.WithSweepInterval(time.Second),
			idempotency.WithLogger(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		// A lost lease, a failing sweep, an outcome and a release that cannot be recorded.
		store.cut()
		store.on("PutIfAbsent", pass)
		_, err := idempotency.Do(t.Context(), m, secretKey, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return secretValue, nil
		}, idempotency.WithFingerprint("secret-print"), idempotency.WithSession("secret-session"))
		wantErr(t, err, idempotency.ErrNotRecorded)
		_, err = idempotency.Do(t.Context(), m, secretKey+"2", fails(errWork))
		wantErr(t, err, errWork)
		logged := out.buf.String()
		for _, want := range []string{"heartbeat", "lease was lost", "not recorded", "not be released", "sweep failed"} {
			if !strings.Contains(logged, want) {
				t.Errorf("nothing about %q in\n%s", want, logged)
			}
		}
		for _, e := range ev.all {
			logged += fmt.Sprintf("%+v", e)
		}
		if strings.Contains(logged, "secret") {
			t.Errorf("something private in\n%s", logged)
		}
	})
}

func TestErrorsNeverHoldWhatIsPrivate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const secret = "secret-key"
		m := newManager(t, memory.New(), idempotency.WithHolderPrefix("secret-holder"), idempotency.WithWait(0))
		c := begin(t, m, secret, idempotency.WithFingerprint("secret-print"))
		var errs []error
		try := func(_ idempotency.Result[string], err error) { errs = append(errs, err) }
		try(idempotency.Do(t.Context(), m, secret, never(t)))
		try(idempotency.Do(t.Context(), m, secret, never(t), idempotency.WithFingerprint("secret-print")))
		try(idempotency.Do(c.Context(), m, secret, never(t)))
		try(idempotency.Do(t.Context(), m, secret+"\x00", never(t)))
		try(idempotency.Do(t.Context(), m, "k", never(t), idempotency.WithSession("secret\x00")))
		wantNil(t, c.Complete(map[string]string{"secret": "secret"}))
		try(idempotency.Do(t.Context(), m, secret, never(t), idempotency.WithFingerprint("secret-print")))
		if slices.Contains(errs, nil) {
			t.Fatalf("errors %v", errs)
		}
		for _, err := range errs {
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("something private in %q", err)
			}
		}
	})
}
