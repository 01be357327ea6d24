// Package backend holds what the stores share, for those who write one: the validation of input, the rules of the
// contract as pure functions for a store that keeps its entries in its own process, a clock, a hub for watchers, and
// Open, which finds a registered store by URL.
//
// A store that follows the order check context, validate, apply a rule in one atomic step, is most of the way
// through the conformance suite; examples/filestore is such a store in two short files.
package backend
