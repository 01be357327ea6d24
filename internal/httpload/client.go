package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.aimon.at/idempotency/idemhttp"
)

// client sends the requests of all operations.
type client struct {
	url    string
	http   *http.Client
	seed   uint64
	ledger *ledger
	report *report
}

func newClient(url string, clients int) *client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &client{url: url, http: &http.Client{Transport: &http.Transport{
		MaxIdleConns: 4 * clients, MaxIdleConnsPerHost: 4 * clients,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a hang-up is a reset, and leaves no port behind that waits for a minute
			}
			return conn, err
		},
	}}}
}

// operate sends all requests of an operation, until it is settled.
func (c *client) operate(ctx context.Context, op int) {
	r, p := random(c.seed, op, 1), planOf(c.seed, op)
	a := &c.ledger.accounts[op]
	var wg sync.WaitGroup
	for i := range 1 + r.IntN(3) { // at once
		own := random(c.seed, op, 2+i)
		wg.Go(func() { c.ask(ctx, op, drawHangUp(own), own) })
	}
	if p.steady() && r.IntN(2) == 0 {
		own := random(c.seed, op, 5)
		wg.Go(func() {
			for range 100 {
				if a.runs.Load() > 0 { // it has the key, and keeps it
					c.change(ctx, op, own)
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(time.Minute); a.answer.Load() == 0; {
		if ctx.Err() != nil {
			return
		}
		if time.Now().After(deadline) {
			c.report.deviate("operation %d has no answer within a minute", op)
			return
		}
		if !c.ask(ctx, op, stays, r) {
			time.Sleep(time.Millisecond)
		}
	}
	for range r.IntN(3) {
		c.ask(ctx, op, drawHangUp(r), r)
	}
	if r.IntN(3) == 0 {
		c.change(ctx, op, r)
	}
	a.settled.Store(true)
}

// ask sends the request of an operation and holds the answer against the ledger. It reports whether there was a whole
// answer.
func (c *client) ask(ctx context.Context, op int, h hangUp, r *rand.Rand) bool {
	a, p := &c.ledger.accounts[op], planOf(c.seed, op)
	answered := a.answer.Load() != 0 // before it was sent
	got, err := c.send(ctx, order{op, op}, h, r)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil && h != stays:
		c.report.hangUps.Add(1)
		return false
	case err != nil && !answered && p.panics > 0: // cut off by a panic, though net/http's client has repeated it by itself
		return false
	case err != nil:
		c.report.deviate("operation %d: %v", op, err)
		return false
	case got.status == http.StatusConflict && !answered:
		c.report.inFlight.Add(1)
		return false
	case got.status == http.StatusServiceUnavailable && !answered && p.failures > 0 && got.body == "down\n":
		return false
	case h == cutsBody && got.status == http.StatusBadRequest && got.problem: // it read less than was announced
		c.report.hangUps.Add(1)
		return false
	case got.status != p.status:
		c.report.deviate("operation %d: status %d, want %d; answered before: %v", op, got.status, p.status, answered)
		return false
	}
	if answered && !got.replayed || got.unrecorded {
		c.report.deviate("operation %d: answered before: %v; replayed: %v; not recorded: %v", op, answered, got.replayed, got.unrecorded)
	}
	if want := location(op, a.effect.Load()); got.location != want || a.effects.Load() != 1 {
		c.report.deviate("operation %d: the answer tells of %s, the ledger of %s, the last of %d", op, got.location, want, a.effects.Load())
	}
	digest := got.digest()
	if !a.answer.CompareAndSwap(0, digest) && a.answer.Load() != digest {
		c.report.deviate("operation %d: another answer than before", op)
	}
	if got.replayed {
		c.report.replays.Add(1)
	} else {
		c.report.fresh.Add(1)
	}
	return true
}

// change sends another payload under the key of an operation that is at work or done.
func (c *client) change(ctx context.Context, op int, r *rand.Rand) {
	got, err := c.send(ctx, order{op, -1 - r.IntN(1000)}, stays, r)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.report.deviate("operation %d: another payload: %v", op, err)
	case got.status != http.StatusUnprocessableEntity || !got.problem:
		c.report.deviate("operation %d: another payload: status %d, want 422", op, got.status)
	default:
		c.report.changes.Add(1)
	}
}

// answer is what a client read, to its end.
type answer struct {
	status                        int
	location, kind, body          string
	replayed, problem, unrecorded bool
}

func (a *answer) digest() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %s", a.status, a.location, a.kind, a.body)
	return max(h.Sum64(), 1)
}

var errCut = errors.New("the rest of the body is not sent")

func (c *client) send(ctx context.Context, o order, h hangUp, r *rand.Rand) (got answer, err error) {
	c.report.requests.Add(1)
	body, _ := json.Marshal(o)
	var reader io.Reader = bytes.NewReader(body)
	if h == cutsBody {
		reader = io.MultiReader(bytes.NewReader(body[:r.IntN(len(body))]), failing{})
	}
	if h == losesPatience {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(4000))*time.Microsecond)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, reader)
	if err != nil {
		return got, err
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(accountHeader, strconv.Itoa(o.Op%7))
	req.Header.Set(idemhttp.KeyHeader, fmt.Sprintf(`"order-%d-%d"`, c.seed, o.Op)) // a store may have seen other rounds
	resp, err := c.http.Do(req)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	if h == leavesAnswer {
		return got, errors.New("not read")
	}
	text, err := io.ReadAll(resp.Body)
	return answer{
		status: resp.StatusCode, location: resp.Header.Get("Location"), kind: resp.Header.Get("Content-Type"), body: string(text),
		replayed: resp.Header.Get(idemhttp.ReplayedHeader) == "true", unrecorded: resp.Header.Get(idemhttp.RecordedHeader) != "",
		problem: strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json"),
	}, err
}

// failing is the end of a body that is cut.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }
