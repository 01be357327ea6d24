package conformance

import (
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// Backend describes a store to the suite.
type Backend struct {
	// New returns a data set of its own, empty and shared with no other case: a database, a schema, a key prefix, a
	// directory. It is called once for each case. What it starts it gives back with tb.Cleanup.
	New func(tb testing.TB) Namespace
	// Time says how the cases make time pass. The zero TimeMode is Virtual.
	Time TimeMode
	// Features declares what the store can do beyond the nine operations. A case that needs more is left out.
	Features Features
	// Known names the cases in which the store is known to deviate from the contract, each with the reason. Run lets
	// those fail, and only those: one that passes is reported, so that the list never outlives its reasons.
	Known map[string]string
}

// Namespace is one data set and what can be done to the world around it. Only Open is required; each of the others
// belongs to a feature and must be set exactly when the feature is declared.
type Namespace struct {
	// Open returns another handle on the same data set, as another process would have one. The stores keep their
	// default time to live of a result (24 hours). A backend whose data lives in one process may return one store for
	// all calls. Open closes what it opened with tb.Cleanup; a store may have been closed by its case by then.
	Open func(tb testing.TB) idempotency.Store
	// Advance moves the injected clock of all handles by d (Manual). With Features.StepBack d may be negative.
	Advance func(d time.Duration)
	// Restart stops the backend and starts it again on what it had made durable (Features.Durable). Handles that were
	// opened before are dead; the case opens new ones.
	Restart func(tb testing.TB)
	// Skewed returns a handle as a process would have it whose wall clock is off by offset (Features.Skew).
	Skewed func(tb testing.TB, offset time.Duration) idempotency.Store
	// Sever cuts the link to the backend, so that operations fail or hang until their context ends, and returns what
	// mends it (Features.Sever). The case calls restore once.
	Sever func(tb testing.TB) (restore func())
}

// TimeMode is how the cases make time pass. They are written once for all modes.
type TimeMode uint8

const (
	// Virtual: each case runs in a testing/synctest bubble and time passes by time.Sleep, at once. For stores that
	// live in this process and take the time from package time. Virtual time stands still while a goroutine waits for a
	// mutex or for the network, so a store that talks to a server does not go into a bubble.
	Virtual TimeMode = iota
	// Manual: the store's clock is injected and stands still until Namespace.Advance moves it.
	Manual
	// Wait: real time, for a server with a clock of its own. Nothing is asserted while a short-lived entry lives, so a slow
	// machine makes the suite slower and never red. Cases that need a clock which stands still are left out.
	Wait
)

// String returns the name of the mode.
func (m TimeMode) String() string {
	switch m {
	case Virtual:
		return "Virtual"
	case Manual:
		return "Manual"
	case Wait:
		return "Wait"
	default:
		return "TimeMode(?)"
	}
}

// Features is what a store can do beyond the nine operations. What is declared must be there, and what is there must
// be declared: cases check both.
type Features struct {
	Watch bool // the store is an idempotency.Watcher
	List  bool // the store is an idempotency.Lister
	Batch bool // the store is an idempotency.Batcher
	Close bool // the store is an io.Closer

	Durable bool // Namespace.Restart: everything that was acknowledged survives
	Skew    bool // Namespace.Skewed: the store's clock is not the one of the calling process
	Sever   bool // Namespace.Sever: the link to the backend can be cut

	// Trim: inserts drop dead entries by themselves (clause 3.12). Without it the store's documentation says that
	// it needs a sweeper.
	Trim bool
	// StepBack: Namespace.Advance takes negative durations, as when a clock is set back. Manual only.
	StepBack bool
}

// names lists the features that are set, for messages.
func (f Features) names() []string {
	var names []string
	for _, x := range []struct {
		set  bool
		name string
	}{
		{f.Watch, "Watch"},
		{f.List, "List"},
		{f.Batch, "Batch"},
		{f.Close, "Close"},
		{f.Durable, "Durable"},
		{f.Skew, "Skew"},
		{f.Sever, "Sever"},
		{f.Trim, "Trim"},
		{f.StepBack, "StepBack"},
	} {
		if x.set {
			names = append(names, x.name)
		}
	}
	return names
}

// without returns the features of f that have lacks.
func (f Features) without(have Features) Features {
	return Features{
		Watch:    f.Watch && !have.Watch,
		List:     f.List && !have.List,
		Batch:    f.Batch && !have.Batch,
		Close:    f.Close && !have.Close,
		Durable:  f.Durable && !have.Durable,
		Skew:     f.Skew && !have.Skew,
		Sever:    f.Sever && !have.Sever,
		Trim:     f.Trim && !have.Trim,
		StepBack: f.StepBack && !have.StepBack,
	}
}
