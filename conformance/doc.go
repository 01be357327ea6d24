// Package conformance is the suite that proves a store: whoever writes a backend of package idempotency runs it, and a
// backend that passes may be used under a Manager like the ones of this module.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Backend{
//			New: func(tb testing.TB) conformance.Namespace {
//				s := mystore.New() // an empty data set for each case
//				return conformance.Namespace{Open: func(testing.TB) idempotency.Store { return s }}
//			},
//			Time: conformance.Virtual,
//		})
//	}
//
// Every case holds one rule of docs/contract.md, and a failure prints the clause and the rule in words. The suite is
// itself tested: stores that are broken in one point each must be rejected by exactly the cases that are about
// that point, and stores that are odd but lawful must pass.
//
// # Time
//
// A store that lives in this process and reads package time runs in Virtual mode: each case is a testing/synctest bubble
// and hours pass at once. A store with an injected clock runs in Manual mode. A server runs in Wait mode: short-lived
// entries really expire, after a tenth of a second or so, and the few cases that need a clock which stands still
// are left out.
//
// # Features
//
// Beyond the nine operations a store may push (Watch), list, batch, close, survive a restart, and so on. What a
// Backend declares in Features is tried, and a case fails when the declaration and the store differ in either direction.
//
// # What the suite cannot see
//
// Locks that are taken, plans and indexes, the cost of an operation in a large store, fsync, failover and
// eviction of a server, and races narrower than the ones it provokes. It holds a store to its answers, so a backend
// still needs tests of its own for these.
package conformance
