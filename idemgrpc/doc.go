// Package idemgrpc makes unary gRPC methods safe to call again: the first call under a key runs the handler, and every repeat
// gets its reply.
//
//	interceptor := idemgrpc.UnaryServerInterceptor(m, idemgrpc.Principal(accountOf),
//		idemgrpc.WithDefaults(idemgrpc.Method{Key: idemgrpc.Required, Timeout: time.Minute}))
//	server := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(recoverPanics, authenticate, interceptor),
//		grpc.ChainStreamInterceptor(idemgrpc.StreamServerInterceptor()))
//
// The client sends the key as metadata, "idempotency-key"; [UnaryClientInterceptor] does, and repeats what failed.
//
// # What is guaranteed
//
//   - Of all calls with one principal, method and key at most one handler acts at a time, and once a reply is recorded no
//     handler runs again until it expires: repeats get the same message or final status, and the allowed metadata.
//   - A handler goes on when its client hangs up or its deadline passes (unless [Method.Attached]), and what it returns is
//     recorded: the repeat gets it.
//   - One principal never sees another's replies. Principal, method and key are bound into the storage key injectively: none is
//     cut, and none can be written so that it runs into the next.
//   - Another message under a used key is refused and runs nothing.
//   - A reply that cannot be stored (too large, no protobuf message) is served to the first client. A repeat is told that
//     the call was processed, and the handler does not run again.
//   - When the store cannot be asked, nothing runs (unless [WithFailOpen]).
//
// # What is not
//
//   - What the manager does not promise, package idempotency says: an effect outside the store may repeat when a process dies
//     under the policy Rerun.
//   - A handler that fails with a status that is not final ([DefaultOutcome]) is taken to have had no effect: the key is
//     released and a repeat runs. A handler that cannot tell wraps idempotency.ErrOutcomeUnknown.
//   - Fingerprints are of protobuf's deterministic form. It is deterministic for one schema and one version of one runtime,
//     and canonical in no other sense: the same message may be laid out differently by another language's client, since unknown
//     fields are kept as they came, or by a server of another build. Then a repeat is refused as another message, which runs
//     nothing and replays nothing that is wrong. Where servers are upgraded under running keys and that matters, give the
//     fields that count with [WithFingerprint].
//   - Streams have no replay: see [StreamServerInterceptor].
//   - Metadata that the handler sets is replayed only where [WithHeaders] and [WithTrailers] allow it.
//
// Authentication belongs before the interceptor, so that there is a principal; what recovers from panics too, so that the panic
// has passed the claim and released it. Retries by a service config send the same metadata and therefore the same key.
//
// The table of codes is in docs/grpc.md.
package idemgrpc
