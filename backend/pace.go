package backend

import "time"

// pace finds how many trips are best under way at once. Where a trip mostly waits, for a distant server or a slow disk, many
// at once cost nothing and each caller is answered sooner. Where it mostly computes, they stand in each other's way, and
// fewer and larger ones get more done. The difference shows in their time: when it is well over twice that of a quick one,
// the pipe is full and more would only queue. The rule is akin to that of BBR (Cardwell et al., "BBR: congestion-based
// congestion control", 2016), which has twice the product of rate and quickest round trip under way.
type pace struct {
	most  int
	width int           // trips that may be under way
	quick time.Duration // of a trip, lately
	mean  time.Duration // of the last trips
	since int           // trips since the width has changed
}

const (
	crowded = 2.5     // mean over quick, from which on there are too many trips,
	roomy   = 1.75    // and up to which there may be more
	settled = 16      // trips after a change until the mean tells what came of it
	forget  = 1 << 12 // trips in which the quickest is forgotten, bit by bit: the server may have moved
	outlier = 8       // times the quickest is all that a single trip counts for
)

func newPace(most int) pace { return pace{most: most, width: most} }

// note takes in how long a trip took.
func (p *pace) note(took time.Duration) {
	took = max(took, 1)
	if p.quick == 0 {
		p.quick, p.mean = took, took
	}
	p.quick = min(p.quick+p.quick/forget, took)
	p.mean += (min(took, outlier*p.quick) - p.mean) / settled
	if p.since++; p.since < settled {
		return
	}
	width := p.width
	switch ratio := float64(p.mean) / float64(p.quick); {
	case ratio > crowded:
		width = max(width/2, min(p.most, 2))
	case ratio < roomy:
		width = min(2*width, p.most)
	}
	if width != p.width {
		p.width, p.since = width, 0
	}
}

// allowed is how many trips may be under way when there are so many items. Where not even two would share a trip each goes
// alone.
func (p *pace) allowed(items int) int {
	if items < 2*p.width {
		return p.most
	}
	return p.width
}
