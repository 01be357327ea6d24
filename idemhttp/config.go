package idemhttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.aimon.at/idempotency"
)

// Defaults of the middleware.
const (
	DefaultMaxRequestBody  = 1 << 20
	DefaultMaxResponseBody = 1 << 20
	DefaultMinKeyLength    = 1
	DefaultMaxKeyLength    = 255
	minSecretBytes         = 16
)

// Option configures a [Middleware].
type Option func(*config) error

type config struct {
	methods      []string
	header       string
	required     func(*http.Request) bool // nil: always
	minKey       int
	maxKey       int
	keyFormat    func(key string) error
	uuidv7       bool
	skew         time.Duration
	route        func(*http.Request) string // nil: the path
	hashKeys     bool
	secret       []byte
	fingerprint  func(*http.Request, []byte) ([][]byte, error)
	maxBody      int64
	bodyWait     time.Duration
	maxResponse  int
	allowed      headerFilter
	ring         *keyRing
	outcome      func(status int) Outcome
	recover      func(context.Context, idempotency.Entry) (Response, bool, error)
	call         []idempotency.CallOption
	withClient   bool
	failOpen     bool
	recordedOnly bool
	problemBase  string
	answer       func(http.ResponseWriter, *http.Request, *Problem)
	logger       *slog.Logger
}

func defaultConfig() config {
	return config{
		methods: []string{http.MethodPost, http.MethodPatch},
		header:  http.CanonicalHeaderKey(KeyHeader),
		minKey:  DefaultMinKeyLength, maxKey: DefaultMaxKeyLength,
		maxBody: DefaultMaxRequestBody, maxResponse: DefaultMaxResponseBody,
		allowed: newHeaderFilter(), outcome: DefaultOutcome, problemBase: DefaultProblemBase, logger: slog.Default(),
		answer: func(w http.ResponseWriter, r *http.Request, p *Problem) { p.ServeHTTP(w, r) },
		call:   []idempotency.CallOption{idempotency.WithWait(0)},
	}
}

// given refuses an argument that makes no sense.
func given(option string, ok bool) error {
	if !ok {
		return errors.New(option + ": nil, empty or out of range")
	}
	return nil
}
