package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

// TestRun is what a newcomer sees: published, worked off, counted.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeCommit, modeRecover} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "-mode", mode)
			var out strings.Builder
			if err := run(t.Context(), append(b.flags, "-publish", "30"), strings.NewReader(""), &out); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"published 30 messages, 40 times in all\n",
				"30 deliveries applied, 10 were before, 0 put aside, 0 left for later in ",
				"the ledger has 30 lines for 30 messages, and nothing is pending\n",
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it said\n%s\nand not %q", &out, want)
				}
			}
		})
	}
}

// TestNothingRuns: without servers it says what it needs, and nothing of what it was told.
func TestNothingRuns(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	err = run(t.Context(), []string{
		"-redis", "redis://:secret@" + addr + "/0", "-postgres", "postgres://somebody:secret@" + addr + "/postgres",
	}, strings.NewReader(""), new(strings.Builder))
	if err == nil || !strings.Contains(err.Error(), "docker run") || strings.Contains(err.Error(), "secret") {
		t.Errorf("it said %v", err)
	}
	for _, args := range [][]string{
		{"-mode", "other"},
		{"-batch", "0"},
		{"-redis", "http://secret"},
		{"-postgres", "postgres://secret:port"},
		{"argument"},
	} {
		if _, err := parseFlags(args); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestPutAside: what can never be applied is put aside, each with its reason, and holds nothing up.
func TestPutAside(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeCommit, modeRecover} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "-mode", mode, "-parallel", "1")
			ids := b.publish(5)
			for _, body := range []string{
				"nonsense",
				`{"account":"a","amount":1}`,
				fmt.Sprintf(`{"id":%q,"account":"a","amount":1}`, strings.Repeat("x", idempotency.MaxKeyBytes)),
				`{"id":"nul","account":"\u0000","amount":1}`,
				`{"id":"b0","account":"account-0","amount":999}`,
			} {
				args := &goredis.XAddArgs{Stream: b.queue.stream, Values: []string{field, body}}
				if err := b.queue.client.XAdd(t.Context(), args).Err(); err != nil {
					t.Fatal(err)
				}
			}
			b.start("").drains()
			b.wantOnce(ids)
			dead := strings.Join(b.dead(), "\n")
			for _, want := range []string{
				"another message had the same id", "invalid key", "no id", "not a booking", "the ledger cannot take it",
			} {
				if strings.Count(dead, want) != 1 {
					t.Errorf("put aside, and not with %q:\n%s", want, dead)
				}
			}
			if n := strings.Count(dead, "\n"); n != 4 {
				t.Errorf("%d were put aside, want 5:\n%s", n+1, dead)
			}
		})
	}
}

// TestInFlightElsewhere: a key that somebody has claimed outside of a transaction is left alone until he has done.
func TestInFlightElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-mode", modeCommit)
	store, err := postgres.New(b.pool)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := idempotency.New(store)
	ids := b.publish(4)
	print := (&delivery{booking: booking{Account: "account-0", Amount: 1}}).fingerprint()
	claim, _, err := m.Begin(t.Context(), b.queue.keys()+ids[0], idempotency.WithFingerprint(print))
	if err != nil || claim == nil {
		t.Fatal(err)
	}
	p := b.start("")
	b.eventually("the others are applied", func() bool { return b.lines() == 3 })
	if err := claim.Complete(nil); err != nil {
		t.Fatal(err)
	}
	p.drains()
	b.wantOnce(ids[1:])
}

// TestLedgerFence: the ledger refuses whoever was overtaken, by a line or by a question.
func TestLedgerFence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	book := b.ledger
	at := func(fence int64) line { return line{key: "k", booking: booking{Account: "a", Amount: 1}, fence: fence} }
	if _, found, err := book.find(t.Context(), "k", 5); err != nil || found {
		t.Fatalf("found %v, %v in an empty ledger", found, err)
	}
	if _, err := book.add(t.Context(), at(4)); !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Errorf("add after a later question: %v, want ErrLeaseLost", err)
	}
	number, err := book.add(t.Context(), at(5))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := book.find(t.Context(), "k", 4); !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Errorf("find after a later line: %v, want ErrLeaseLost", err)
	}
	if got, found, err := book.find(t.Context(), "k", 6); err != nil || !found || got != number {
		t.Errorf("found line %d, %v, %v, want %d", got, found, err, number)
	}
}
