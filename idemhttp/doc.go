// Package idemhttp makes HTTP operations safe to repeat: a client that sends the same request again, under the same
// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07), gets the response of the first one.
//
//	guard := idemhttp.Middleware(manager, idemhttp.Principal(accountOf))
//	mux.Handle("POST /charges", guard(http.HandlerFunc(charge)))
//
// # The way of a request
//
//  1. A method that is not guarded (POST and PATCH are) passes through, and so does a request without a key where none is required.
//  2. Key, principal, body and fingerprint are read. What is wrong with them is answered with a problem document, and nothing is
//     claimed: a client that sends its body slowly holds no key.
//  3. The key is claimed in the store, bound to principal, method and path. A duplicate gets the recorded response, with
//     "Idempotency-Replayed: true"; while the first still runs it is refused (409) or, [WithWait], waits; with another
//     fingerprint it is refused (422).
//  4. The handler runs, under a context that does not end when the client hangs up, and writes to a buffer.
//  5. The response is recorded, and then sent.
//
// # What is guaranteed, and what is not
//
//   - A client that has seen the end of a response will see it again until the retention is over, or be told that it was
//     not kept: the end is sent when the record is in the store. The exceptions say so: a response with
//     "Idempotency-Recorded: false", and statuses that are not recorded ([DefaultOutcome]: 5xx and what depends on time and
//     credentials), after which a repeat runs again.
//   - A response that is too large, or that the handler streams (Flush, Hijack, trailers, server-sent events, 1xx), reaches its
//     first client as without the middleware. A repeat is told so ([ResponseUnavailable]); the handler does not run again. But
//     a client may have read a streamed response up to a Content-Length of the handler's own before it is recorded.
//   - A process that dies after its handler's effect and before the record leaves the key to the manager's policy: the
//     default, idempotency.Rerun, runs the handler again a lease later. [WithRecover] asks first.
//   - The body is buffered, the handler's and the client's; both are bounded.
//
// What a handler must know: a 5xx says that nothing was done. http.TimeoutHandler belongs outside the middleware; inside it
// would answer 503, and so release the key, while its handler still runs.
//
// The longer page is docs/http.md in the repository, with a table of what was decided where the draft is silent;
// docs/problems.md explains every problem to clients.
package idemhttp
