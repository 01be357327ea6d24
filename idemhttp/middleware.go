package idemhttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.aimon.at/idempotency"
)

// Middleware guards handlers by idempotency keys: of all requests with the same principal, method, path and key one reaches
// the handler, and the others get its response.
//
// It panics if the configuration makes no sense (no manager or one whose Err is set, a zero Scope, an option out of range), as
// net/http does for a pattern: a service whose requests are not guarded as its authors meant should not start. So does the
// middleware for a nil handler.
func Middleware(m *idempotency.Manager, scope Scope, opts ...Option) func(http.Handler) http.Handler {
	g, err := newGuard(m, scope, opts)
	if err != nil {
		panic("idemhttp: " + err.Error())
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("idemhttp: nil handler")
		}
		guarded := *g
		guarded.next = next
		return &guarded
	}
}

type guard struct {
	config
	m         *idempotency.Manager
	scope     Scope
	digest    *digest
	retention time.Duration
	seconds   string // the retention
	next      http.Handler
}

func newGuard(m *idempotency.Manager, scope Scope, opts []Option) (*guard, error) {
	g := &guard{config: defaultConfig(), m: m, scope: scope}
	for _, o := range opts {
		if err := o(&g.config); err != nil {
			return nil, err
		}
	}
	if m == nil {
		return nil, errors.New("no manager")
	}
	if scope.principal == nil && !scope.unscoped {
		return nil, errors.New("no scope: give Principal or Unscoped")
	}
	if g.recover != nil {
		g.call = append(g.call, idempotency.WithPolicy(idempotency.Recover(g.askOldAttempt)))
	}
	if !g.withClient {
		g.call = append(g.call, idempotency.WithDetachedWork())
	}
	var err error
	if g.retention, err = m.Retention(g.call...); err != nil {
		return nil, err
	}
	if g.uuidv7 && g.retention <= g.skew {
		return nil, errors.New("WithUUIDv7Keys: the skew is not shorter than the retention")
	}
	g.seconds = strconv.FormatInt(int64(g.retention/time.Second), 10)
	g.digest = newDigest(g.secret)
	return g, nil
}

// ServeHTTP is the way of a request: read it, claim its key, and then run it, replay what an earlier one came to, or refuse.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(g.methods, r.Method) {
		g.next.ServeHTTP(w, r)
		return
	}
	req, problem := g.read(w, r)
	switch {
	case problem != nil:
		g.refuse(w, r, problem)
		return
	case req.key == "": // and none is required
		g.next.ServeHTTP(w, r)
		return
	}
	var room [8]idempotency.CallOption
	opts := append(append(room[:0], g.call...), idempotency.WithFingerprint(req.fingerprint))
	claim, recorded, err := g.m.Begin(r.Context(), req.key, opts...)
	switch {
	case err != nil:
		g.notClaimed(w, r, req, err)
	case claim == nil:
		g.replay(w, r, recorded)
	default:
		g.run(w, r, req, claim)
	}
}

// request is what counts of an HTTP request.
type request struct {
	key         string // to store; "": the client gave none
	fingerprint string
	body        []byte
}

// read looks at a request from the cheap to the dear: its key, who sends it, its body, its fingerprint.
func (g *guard) read(w http.ResponseWriter, r *http.Request) (req request, problem *Problem) {
	key, given, err := keyOf(r.Header, g.header)
	switch {
	case err != nil:
		return req, malformed(err)
	case !given && (g.required == nil || g.required(r)):
		return req, newProblem(MissingKey, nil)
	case !given:
		return req, nil
	}
	if problem = g.check(key); problem != nil {
		return req, problem
	}
	who, problem := g.scope.of(r)
	if problem != nil {
		return req, problem
	}
	path, query := target(r)
	route := path
	if g.route != nil {
		route = g.route(r)
	}
	if req.body, problem = readBody(w, r, g.maxBody, g.bodyWait); problem != nil {
		return req, problem
	}
	var selected [][]byte
	if g.fingerprint != nil {
		if selected, err = g.fingerprint(r, req.body); err != nil {
			return req, problemOr(err, NoFingerprint)
		}
		selected = append([][]byte{}, selected...) // not nil, which would be all
	}
	req.key = storageKey(g.digest, g.hashKeys, who, r.Method, route, key)
	req.fingerprint = g.digest.ofRequest(r, path, query, req.body, selected)
	return req, nil
}

// check holds the key against the form that the service asks for.
func (g *guard) check(key string) *Problem {
	err := checkLength(key, g.minKey, g.maxKey)
	if err == nil && g.keyFormat != nil {
		err = g.keyFormat(key)
	}
	if err == nil && g.uuidv7 {
		if err = checkAge(key, time.Now(), g.retention, g.skew); err == errKeyFuture || err == errKeyExpired {
			p := newProblem(ExpiredKey, nil)
			p.Detail = err.Error()
			return p
		}
	}
	if err != nil {
		return malformed(err)
	}
	return nil
}

func malformed(why error) *Problem {
	p := newProblem(MalformedKey, nil)
	p.Detail = why.Error()
	return p
}

// run has the handler work under the claim, records its response and then sends it, so that a client that has seen the end
// of a response will see it again.
func (g *guard) run(w http.ResponseWriter, r *http.Request, req request, claim *idempotency.Claim) {
	returned := false
	defer func() {
		if !returned { // a panic, which goes on and has the server abort the connection
			claim.Panicked()
		}
	}()
	rec := newRecorder(w, r, claim, g.maxResponse)
	g.tellRetention(w)
	g.next.ServeHTTP(rec, req.restore(r.WithContext(claim.Context())))
	rec.finish()
	outcome, doc := g.outcome(rec.status), g.document(req.key, rec)
	returned = true

	switch err := settle(claim, outcome, doc); {
	case err == nil || rec.streaming():
	case errors.Is(err, idempotency.ErrLeaseLost) || g.recordedOnly:
		// Another request has the key: what that one comes to is what counts.
		rec.discard()
		g.refuse(w, r, newProblem(Interrupted, err))
		return
	default:
		rec.mark(RecordedHeader, "false")
	}
	rec.send()
}

// errReleased is told to nobody: a claim that fails is released.
var errReleased = errors.New("idemhttp: released")

// settle ends the claim; the error is that of recording. What else fails is logged by the manager and ends with the lease.
func settle(claim *idempotency.Claim, outcome Outcome, doc json.RawMessage) error {
	switch outcome {
	case Record:
		return claim.Complete(doc)
	case Abandon:
		claim.Abandon()
	default:
		_ = claim.Fail(errReleased)
	}
	return nil
}

// notClaimed answers, or by choice does not mind, that there is neither a claim nor a result.
func (g *guard) notClaimed(w http.ResponseWriter, r *http.Request, req request, err error) {
	p := problemOf(err)
	switch {
	case errors.Is(err, idempotency.ErrReentrant): // guarded twice, or handled anew by its own handler: it runs under the key already
		g.next.ServeHTTP(w, req.restore(r.WithContext(r.Context())))
		return
	case r.Context().Err() != nil:
		p = newProblem(Interrupted, err)
	case p.Kind != StoreUnavailable:
	case g.failOpen && !errors.Is(err, idempotency.ErrClosed):
		g.logger.WarnContext(r.Context(), "idemhttp: a request runs unguarded: the store took no claim", "error", err)
		g.tellRetention(w)
		w.Header().Set(RecordedHeader, "false")
		g.next.ServeHTTP(w, req.restore(r.WithContext(r.Context())))
		return
	default:
		g.logger.ErrorContext(r.Context(), "idemhttp: a request was refused: the store took no claim", "error", err)
	}
	g.refuse(w, r, p)
}

func (g *guard) refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	if p.Type == "" {
		p.Type = g.problemBase + "#" + p.Kind
	}
	g.tellRetention(w)
	g.answer(w, r, p)
}

func (g *guard) tellRetention(w http.ResponseWriter) {
	w.Header()[RetentionHeader] = []string{g.seconds}
}
