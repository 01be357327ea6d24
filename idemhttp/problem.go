package idemhttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.aimon.at/idempotency"
)

// DefaultProblemBase is the page to whose anchors the type of a problem links, unless [WithProblemBase] names another.
const DefaultProblemBase = "https://go.aimon.at/idempotency/docs/problems.md"

// Problem is an answer that the middleware gives itself: a problem document of RFC 9457. It is an error, so that a function
// given to [Principal] or [WithFingerprint] can answer one of its own.
type Problem struct {
	// Type is a URI: the base and the kind as its fragment. Empty, it is made of Kind.
	Type string `json:"type"`
	// Title is the same for every problem of a kind.
	Title string `json:"title"`
	// Status is that of the answer.
	Status int `json:"status"`
	// Detail says more, to a person.
	Detail string `json:"detail,omitempty"`
	// OriginalStatus is, for [ResponseUnavailable], the status of the response that was not stored, if it is known.
	OriginalStatus int `json:"originalStatus,omitempty"`

	// Kind is one of the constants, or one's own.
	Kind string `json:"-"`
	// RetryAfter becomes the Retry-After field, in whole seconds, if it is not 0.
	RetryAfter time.Duration `json:"-"`
	// Err is the cause, if there is one. It is not for the client.
	Err error `json:"-"`
}

// The kinds of problems, which are the anchors of docs/problems.md.
const (
	MissingKey          = "missing-key"
	MalformedKey        = "malformed-key"
	ExpiredKey          = "expired-key"
	NoPrincipal         = "no-principal"
	BodyTooLarge        = "body-too-large"
	BodyTimeout         = "body-timeout"
	BodyUnreadable      = "body-unreadable"
	NoFingerprint       = "no-fingerprint"
	InFlight            = "in-flight"
	KeyReused           = "key-reused"
	OutcomeUnknown      = "outcome-unknown"
	ResponseUnavailable = "response-unavailable"
	ResponseUnreadable  = "response-unreadable"
	Interrupted         = "interrupted"
	StoreUnavailable    = "store-unavailable"
)

// problems has what is always the same of each kind.
var problems = map[string]Problem{
	MissingKey: {
		Status: http.StatusBadRequest, Title: "Idempotency key is missing",
		Detail: "This operation needs an idempotency key, so that it can be repeated safely.",
	},
	MalformedKey: {Status: http.StatusBadRequest, Title: "Idempotency key is malformed"},
	ExpiredKey:   {Status: http.StatusBadRequest, Title: "Idempotency key is out of its time"},
	NoPrincipal: {
		Status: http.StatusForbidden, Title: "Sender is unknown",
		Detail: "Nothing was done: an idempotency key belongs to its sender, and it is not known who that is.",
	},
	BodyTooLarge: {
		Status: http.StatusRequestEntityTooLarge, Title: "Request body is too large",
		Detail: "Nothing was done: the body is larger than this operation takes.",
	},
	BodyTimeout: {
		Status: http.StatusRequestTimeout, Title: "Request body did not arrive in time",
		Detail: "Nothing was done. Send the request again, under the same key.",
	},
	BodyUnreadable: {
		Status: http.StatusBadRequest, Title: "Request body did not arrive whole",
		Detail: "Nothing was done. Send the request again, under the same key.",
	},
	NoFingerprint: {
		Status: http.StatusBadRequest, Title: "Request could not be read",
		Detail: "Nothing was done: the parts of the request that tell it from another could not be found.",
	},
	InFlight: {
		Status: http.StatusConflict, Title: "Request is being processed",
		Detail: "An earlier request under this idempotency key has not ended yet. Send this one again, under the same key, for its result.",
	},
	KeyReused: {
		Status: http.StatusUnprocessableEntity, Title: "Idempotency key is used for another request",
		Detail: "This idempotency key belongs to a request that was different. Nothing was done; a new request needs a new key.",
	},
	OutcomeUnknown: {
		Status: http.StatusConflict, Title: "Outcome of an earlier attempt is unknown", RetryAfter: 30 * time.Second,
		Detail: "An earlier attempt under this idempotency key may or may not have had its effect. Do not take another key: send this request again later.",
	},
	ResponseUnavailable: {
		Status: http.StatusGone, Title: "Request was processed, its response was not kept",
		Detail: "The request was processed once and will not be processed again, but its response could not be stored.",
	},
	ResponseUnreadable: {
		Status: http.StatusInternalServerError, Title: "Request was processed, its response cannot be read",
		Detail: "The request was processed once and will not be processed again, but this server cannot read the stored response.",
	},
	Interrupted: {
		Status: http.StatusServiceUnavailable, Title: "Request was interrupted", RetryAfter: time.Second,
		Detail: "Send the request again, under the same key, to learn what became of it.",
	},
	StoreUnavailable: {
		Status: http.StatusServiceUnavailable, Title: "Idempotency keys cannot be checked", RetryAfter: time.Second,
		Detail: "Nothing was done. Send the request again, under the same key.",
	},
}

func newProblem(kind string, cause error) *Problem {
	p := problems[kind]
	p.Kind, p.Err = kind, cause
	return &p
}

// problemOr is the problem that err is, or else one of the kind.
func problemOr(err error, kind string) *Problem {
	if own := (*Problem)(nil); errors.As(err, &own) && own != nil {
		p := *own
		return &p
	}
	return newProblem(kind, err)
}

// problemOf is what the manager's refusal means to a client.
func problemOf(err error) *Problem {
	inFlight := (*idempotency.InFlightError)(nil)
	switch {
	case errors.As(err, &inFlight):
		p := newProblem(InFlight, err)
		p.RetryAfter = inFlight.RetryAfter
		return p
	case errors.Is(err, idempotency.ErrFingerprintMismatch):
		return newProblem(KeyReused, err)
	case errors.Is(err, idempotency.ErrLeaseLost), errors.Is(err, idempotency.ErrNotRecorded):
		return newProblem(Interrupted, err)
	case errors.Is(err, idempotency.ErrOutcomeUnknown):
		return newProblem(OutcomeUnknown, err)
	default:
		return newProblem(StoreUnavailable, err)
	}
}

func (p *Problem) Error() string { return "idemhttp: " + p.Title }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// ServeHTTP answers with the problem. It is what the middleware does, for a function given to [WithProblemWriter] that changes
// something first.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Language", "en")
	w.WriteHeader(p.Status)
	doc, err := json.Marshal(p)
	if err != nil { // strings and numbers
		panic("idemhttp: " + err.Error())
	}
	_, _ = w.Write(doc) // a client that is gone asks again
}
