package idemhttp

import (
	"net/http"
	"slices"
)

// Outcome is what becomes of a key when its handler has returned.
type Outcome uint8

const (
	// Record: the response is the result of the key and is replayed from now on.
	Record Outcome = iota + 1
	// Release: nothing was done, and the next request under the key runs. The response is sent and forgotten. Under the
	// manager's policies Hold and Recover it is Abandon when the work's context had ended.
	Release
	// Abandon: nobody can tell what was done. The key is left as by a process that died: a lease later the next request
	// acts by the manager's policy.
	Abandon
)

// DefaultOutcome records 2xx, 3xx and those 4xx that a repeat of the same request would get again. It releases the
// key for 401, 403, 408, 425 and 429, which depend on credentials and time, and for 5xx: a handler that failed is
// taken to have done nothing. Where that is not so, [WithOutcome] can say Abandon.
func DefaultOutcome(status int) Outcome {
	switch {
	case status >= 500, slices.Contains(transient, status):
		return Release
	default:
		return Record
	}
}

var transient = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
}
