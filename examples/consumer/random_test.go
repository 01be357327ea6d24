package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestRandomKills has several consumers at work while each is killed again and again, at random points and at random
// times, and messages are published, some of them several times. None is lost, and none is applied twice.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeCommit, modeRecover} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const consumers, kills, rounds, each = 3, 6, 20, 40
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			b := newBench(t, "-mode", mode, "-batch", "20", "-parallel", "4")
			var wg sync.WaitGroup
			for n := range consumers {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(seed, uint64(n)))
					points := []string{atDelivered, atClaimed, atApplied, atRecorded, atAcked}
					for range kills {
						// At a point, or from outside at any time.
						env, outside := "", time.Duration(random.IntN(300))*time.Millisecond
						if random.IntN(3) > 0 {
							env = fmt.Sprintf("CONSUMER_CRASH=%s:%d", points[random.IntN(len(points))], 1+random.IntN(5))
							outside = time.Second // where the queue has too little for it to get there
						}
						p := b.start(env, "-forever")
						select {
						case <-p.exited:
						case <-time.After(outside):
							p.kill()
						}
					}
				})
			}
			var ids []string
			random := rand.New(rand.NewPCG(seed, consumers))
			for round := range rounds {
				var list []booking
				for i := range each {
					id := fmt.Sprintf("b%d-%d", round, i)
					ids = append(ids, id)
					for range 1 + random.IntN(3)/2 { // a third twice
						list = append(list, booking{ID: id, Account: "a", Amount: 1})
					}
					if round > 0 && random.IntN(10) == 0 { // and some much later once more
						list = append(list, booking{ID: fmt.Sprintf("b%d-%d", random.IntN(round), i), Account: "a", Amount: 1})
					}
				}
				random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				if err := b.queue.publish(t.Context(), list); err != nil {
					t.Error(err)
				}
				time.Sleep(50 * time.Millisecond) // so that they come while consumers come and go
			}
			wg.Wait()
			b.start("").drains()
			b.wantOnce(ids)
			if dead := b.dead(); len(dead) > 0 {
				t.Errorf("put aside: %q", dead)
			}
		})
	}
}
