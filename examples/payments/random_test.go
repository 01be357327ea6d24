package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRandomKills has clients charge many keys, hang up and come back, while the service is killed at random points and
// at random times. Every answered key is charged exactly once in the end, and no key twice.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	const clients, keysEach = 4, 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := newFiles(t)
	var (
		url     atomic.Value // of the service that runs now
		answers sync.Map     // key: body
		wg      sync.WaitGroup
	)
	url.Store("http://127.0.0.1:1") // nobody serves yet
	for n := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			for i := range keysEach {
				key := fmt.Sprintf("order-%d-%d", n, i)
				if random.IntN(3) == 0 { // impatient first
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(20))*time.Millisecond)
					_, _ = do(ctx, http.MethodPost, url.Load().(string)+"/charges", key, visa)
					cancel()
					if random.IntN(3) == 0 { // and never back
						continue
					}
				}
				body, err := insist(t.Context(), &url, key)
				if err != nil {
					t.Error(err)
					return
				}
				answers.Store(key, body)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()

	random := rand.New(rand.NewPCG(seed, clients))
	kills := 0
	for served := false; !served; {
		env := []string{}
		outside := time.Hour
		switch i := random.IntN(4); i {
		case 0, 1, 2:
			point := []string{beforeEffect, afterEffect, afterCompletion}[i]
			env = append(env, fmt.Sprintf("PAYMENTS_CRASH=%s:%d", point, 1+random.IntN(6)))
		default:
			outside = time.Duration(random.IntN(200)) * time.Millisecond
		}
		p := start(t, env, f.flags("-lease", "300ms")...)
		url.Store(p.url)
		select {
		case <-p.exited:
			kills++
		case <-time.After(outside):
			p.kill()
			kills++
		case <-done:
			served = true
			p.stop(t)
		}
	}
	t.Logf("%d kills", kills)
	if kills == 0 {
		t.Error("nothing was killed")
	}
	charges := f.charges(t)
	for key, n := range charges {
		if n != 1 {
			t.Errorf("%s was charged %d times", key, n)
		}
	}
	answers.Range(func(key, _ any) bool {
		if charges[key.(string)] != 1 {
			t.Errorf("%s was answered and charged %d times", key, charges[key.(string)])
		}
		return true
	})
}

// insist repeats a charge until it is answered, and once more for the replay.
func insist(ctx context.Context, url *atomic.Value, key string) (body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for answered := 0; ctx.Err() == nil; {
		a, err := do(ctx, http.MethodPost, url.Load().(string)+"/charges", key, visa)
		switch {
		case err != nil, a.status == http.StatusServiceUnavailable, a.code == "in_flight":
			time.Sleep(10 * time.Millisecond)
			continue
		case a.status != http.StatusCreated:
			return "", fmt.Errorf("%s: %d %s", key, a.status, a.body)
		case answered > 0 && a.body != body:
			return "", fmt.Errorf("%s: first %s, then %s", key, body, a.body)
		}
		body = a.body
		if answered++; answered == 2 {
			return body, nil
		}
	}
	return "", fmt.Errorf("%s: no answer: %w", key, ctx.Err())
}
