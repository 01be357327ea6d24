package redis

import "sync/atomic"

// guess predicts whether the next claim finds its key taken, from how the last ones went, as a processor predicts a branch.
// Reading a live entry is much cheaper than trying to claim its key, but a claim that reads first and finds nothing pays
// for two trips. So it reads first only where nearly all of the last claims found their key taken.
type guess struct {
	share atomic.Int32 // moving average of 0 for free and full for taken, over about the last window claims
}

const (
	full   = 1 << 16
	window = 64
	sure   = full / 32
)

func newGuess() *guess { return new(guess) }

// learn takes one more answer in. That concurrent ones may get lost does no harm.
func (g *guess) learn(taken bool) {
	old := g.share.Load()
	now := int32(0)
	if taken {
		now = full
	}
	if next := old + (now-old)/window; next != old {
		g.share.Store(next)
	}
}

func (g *guess) taken() bool { return g.share.Load() > full-sure }
