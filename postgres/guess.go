package postgres

import "sync/atomic"

// guess predicts whether the next claim finds its key free or taken, from how the last ones went, as a processor predicts
// a branch. put.sql answers both in one statement, but pays for a plan that can do both; a statement that can do one is
// as fast as a plain INSERT or SELECT, and a second is needed when the guess was wrong. So it guesses only where nearly all of
// the last claims went one way.
type guess struct {
	share atomic.Int32 // moving average of 0 for free and full for taken, over about the last sixteen
}

const (
	full   = 1 << 10
	window = 16
	sure   = full / 8
)

func newGuess() *guess {
	g := new(guess)
	g.share.Store(full / 2)
	return g
}

// learn takes one more answer in. That concurrent ones may get lost does no harm.
func (g *guess) learn(taken bool) {
	old := g.share.Load()
	var now int32
	if taken {
		now = full
	}
	g.share.Store(old + (now-old)/window)
}

func (g *guess) free() bool  { return g.share.Load() < sure }
func (g *guess) taken() bool { return g.share.Load() > full-sure }
