package backend

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Trips says how a [Coalescer] sends its items.
type Trips[T any] struct {
	// Most trips may be under way at once; 0: every item is a trip of its own, and any number of them.
	Most int
	// Items is how many may share a trip, Bytes how large they may be together (0: any size), by Size. A single item may be
	// larger.
	Items int
	Bytes int
	Size  func(item T) int
	// Alone sends one item. Its context is the caller's.
	Alone func(ctx context.Context, item T) error
	// Together sends several items in one trip and returns the error of each. Its context is nobody's: it ends when all
	// callers of the trip have left, and has the last of their deadlines.
	Together func(ctx context.Context, items []T) []error
	// Detach says that Alone may return long after its context has ended, so nobody waits for it longer than that.
	Detach bool
}

// Coalescer is the group commit of a store on a server. While few callers are at work, each sends its own item; when they
// are more than the trips that may be under way, they queue up, and what has queued when a trip ends goes as one. So a
// lone caller never waits for company, and a crowd shares what a trip costs. A caller whose context ends leaves, and its
// neighbours' trip goes on.
//
// The idea is that of a database's own group commit (DeWitt et al., "Implementation techniques for main memory database
// systems", 1984), a round trip further out.
type Coalescer[T any] struct {
	Trips[T]
	members sync.Pool

	mu    sync.Mutex
	trips int // under way
	under int // items under way
	load  int // about how many items there are at a time, under way or waiting
	pace  pace
	queue []*member[T]
}

// member is an item that somebody waits for.
type member[T any] struct {
	ctx  context.Context
	item T
	trip *trip         // set when it is taken out of the queue
	done chan struct{} // gets a value when err is set
	err  error
}

// trip is what was sent. When all its callers have left, it counts no longer: a connection that hangs must not stand in
// the way of others.
type trip struct {
	cancel context.CancelFunc // nil for one that is Alone
	start  time.Time
	items  int
	left   int // callers that still wait
	over   bool
}

// NewCoalescer returns a coalescer that sends as t says.
func NewCoalescer[T any](t Trips[T]) *Coalescer[T] {
	return &Coalescer[T]{Trips: t, pace: newPace(t.Most)}
}

// Do sends item, alone or in a trip with those of others, and returns its error. An item whose Do ended with its context may
// still be in the hands of a trip: it is not to be used again. [idempotency.ErrNotApplied] then says that it was never
// sent.
func (c *Coalescer[T]) Do(ctx context.Context, item T) error {
	detach := c.Detach && ctx.Done() != nil
	c.mu.Lock()
	if free := c.Most == 0 || len(c.queue) == 0 && c.trips < c.allowed(); free && !detach {
		t := trip{items: 1, left: 1}
		c.depart(&t)
		c.mu.Unlock()
		defer c.arrive(&t)
		return c.Alone(ctx, item)
	} else if m := c.member(ctx, item); free {
		m.trip = &trip{items: 1, left: 1}
		c.depart(m.trip)
		c.mu.Unlock()
		go c.alone(m.trip, m)
		return c.wait(m)
	} else {
		c.queue = append(c.queue, m)
		c.mu.Unlock()
		return c.wait(m)
	}
}

func (c *Coalescer[T]) member(ctx context.Context, item T) *member[T] {
	m, _ := c.members.Get().(*member[T])
	if m == nil {
		m = &member[T]{done: make(chan struct{}, 1)}
	}
	m.ctx, m.item = ctx, item
	return m
}

func (c *Coalescer[T]) wait(m *member[T]) error {
	select {
	case <-m.done:
		err := m.err
		*m = member[T]{done: m.done}
		c.members.Put(m)
		return err
	case <-m.ctx.Done():
		return c.leave(m)
	}
}

// allowed is how many trips may be under way.
func (c *Coalescer[T]) allowed() int { return c.pace.allowed(max(c.load, c.under+len(c.queue))) }

// depart, end and start are called under the lock.
func (c *Coalescer[T]) depart(t *trip) {
	t.start = time.Now()
	c.trips++
	c.under += t.items
}

func (c *Coalescer[T]) arrive(t *trip) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(t)
}

// loadFades: with each trip that ends, the load that is remembered fades by this part of it.
const loadFades = 8

// end counts a trip off, and sends what has queued.
func (c *Coalescer[T]) end(t *trip) {
	if t.over {
		return
	}
	t.over = true
	c.pace.note(time.Since(t.start))
	// The callers of a trip that has ended are about to come back, so the load is what was at hand before it ended. It
	// rises at once and fades slowly.
	c.load = max(c.load-(c.load+loadFades-1)/loadFades, c.under+len(c.queue))
	c.trips--
	c.under -= t.items
	for len(c.queue) > 0 {
		free := c.allowed() - c.trips
		if free <= 0 {
			return
		}
		c.start((len(c.queue) + free - 1) / free)
	}
}

// start sends off the first n of the queue, or fewer where they are too many or too large for one trip.
func (c *Coalescer[T]) start(n int) {
	n = min(n, c.Items)
	if c.Bytes > 0 {
		size := 0
		for i, m := range c.queue[:n] {
			if size += c.Size(m.item); size > c.Bytes && i > 0 {
				n = i
				break
			}
		}
	}
	t := &trip{items: n, left: n}
	members := slices.Clone(c.queue[:n])
	for _, m := range members {
		m.trip = t
	}
	c.queue = slices.Delete(c.queue, 0, n)
	c.depart(t)
	if n == 1 {
		go c.alone(t, members[0])
		return
	}
	ctx, cancel := shared(members)
	t.cancel = cancel
	go c.together(ctx, t, members)
}

func (c *Coalescer[T]) alone(t *trip, m *member[T]) {
	defer c.arrive(t)
	m.err = c.Alone(m.ctx, m.item)
	m.done <- struct{}{}
}

func (c *Coalescer[T]) together(ctx context.Context, t *trip, members []*member[T]) {
	defer c.arrive(t)
	defer t.cancel()
	items := make([]T, len(members))
	for i, m := range members {
		items[i] = m.item
	}
	errs := c.Together(ctx, items)
	for i, m := range members {
		m.err = errs[i]
		m.done <- struct{}{}
	}
	// Those of them that have more to do come back at once: let them, so that the next trip is not of the first few.
	runtime.Gosched()
}

// shared is the context of a trip: it has the last of its members' deadlines, if they all have one.
func shared[T any](members []*member[T]) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, m := range members {
		deadline, ok := m.ctx.Deadline()
		if !ok {
			return context.WithCancel(context.Background())
		}
		if deadline.After(last) {
			last = deadline
		}
	}
	return context.WithDeadline(context.Background(), last)
}

// leave lets go of a member whose context has ended.
func (c *Coalescer[T]) leave(m *member[T]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.trip == nil {
		i := slices.Index(c.queue, m)
		c.queue = slices.Delete(c.queue, i, i+1)
		return CheckContext(m.ctx) // it was never sent
	}
	if m.trip.left--; m.trip.left == 0 {
		if m.trip.cancel != nil {
			m.trip.cancel()
		}
		c.end(m.trip)
	}
	return m.ctx.Err()
}

// Queued is the number of items that wait for a trip.
func (c *Coalescer[T]) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// UnderWay is the number of items that have been sent and not answered.
func (c *Coalescer[T]) UnderWay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.under
}
