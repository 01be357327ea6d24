package main

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// plan is how the handler behaves for one operation. It follows from the seed alone.
type plan struct {
	panics   int32 // so many of the first runs panic before the effect,
	failures int32 // and so many after those answer 503
	work     time.Duration
	status   int
	filler   int  // bytes of the body after its first line
	pieces   bool // written one after the other
}

// steady: once a run has begun the key is never free again.
func (p *plan) steady() bool { return p.panics+p.failures == 0 }

// random is the source of all that is decided about an operation: by the handler (side 0) and by its clients.
func random(seed uint64, op, side int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(op)<<3|uint64(side)))
}

func planOf(seed uint64, op int) plan {
	r := random(seed, op, 0)
	p := plan{status: http.StatusCreated, filler: r.IntN(300), pieces: r.IntN(2) == 0}
	if r.IntN(8) == 0 {
		p.panics = 1 + r.Int32N(2)
	}
	if r.IntN(8) == 0 {
		p.failures = 1 + r.Int32N(2)
	}
	switch r.IntN(10) {
	case 0:
		p.status = http.StatusOK
	case 1:
		p.status, p.filler = http.StatusNoContent, 0
	case 2: // a failure that is a result
		p.status = http.StatusNotFound
	case 3:
		p.filler = 4000 + r.IntN(8000)
	}
	if r.IntN(4) == 0 {
		p.work = time.Duration(r.IntN(4000)) * time.Microsecond
	}
	return p
}

// hangUp is how a client ends a request early.
type hangUp int

const (
	stays         hangUp = iota
	cutsBody             // in the middle of the request
	losesPatience        // at any time, by its context
	leavesAnswer         // with the answer's header read and its body not
)

func drawHangUp(r *rand.Rand) hangUp {
	if r.IntN(8) > 0 {
		return stays
	}
	return 1 + hangUp(r.IntN(3))
}
