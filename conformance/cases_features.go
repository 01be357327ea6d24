package conformance

import (
	"io"

	"go.aimon.at/idempotency"
)

// What is declared is there, and what is there is declared.
var featureCases = []Case{
	{
		Name:    "features/watcher",
		Clauses: []string{"0.1"},
		Rule:    "A store is an idempotency.Watcher exactly when its backend declares Features.Watch.",
		run: func(e *env) {
			_, has := e.s.(idempotency.Watcher)
			e.declared("Watch", e.b.Features.Watch, has)
		},
	},
	{
		Name:    "features/lister",
		Clauses: []string{"0.1"},
		Rule:    "A store is an idempotency.Lister exactly when its backend declares Features.List.",
		run: func(e *env) {
			_, has := e.s.(idempotency.Lister)
			e.declared("List", e.b.Features.List, has)
		},
	},
	{
		Name:    "features/batcher",
		Clauses: []string{"0.1"},
		Rule:    "A store is an idempotency.Batcher exactly when its backend declares Features.Batch.",
		run: func(e *env) {
			_, has := e.s.(idempotency.Batcher)
			e.declared("Batch", e.b.Features.Batch, has)
		},
	},
	{
		Name:    "features/closer",
		Clauses: []string{"0.1"},
		Rule:    "A store is an io.Closer exactly when its backend declares Features.Close.",
		run: func(e *env) {
			_, has := e.s.(io.Closer)
			e.declared("Close", e.b.Features.Close, has)
		},
	},
	{
		Name:    "features/namespace",
		Clauses: []string{"0.1"},
		Rule: "A namespace has Restart, Skewed, Sever and Advance exactly when its backend declares Durable, Skew, Sever and the " +
			"Manual time mode; StepBack needs Manual.",
		run: func(e *env) {
			e.declared("Durable", e.b.Features.Durable, e.ns.Restart != nil)
			e.declared("Skew", e.b.Features.Skew, e.ns.Skewed != nil)
			e.declared("Sever", e.b.Features.Sever, e.ns.Sever != nil)
			e.declared("Time: Manual", e.b.Time == Manual, e.ns.Advance != nil)
			e.want(!e.b.Features.StepBack || e.b.Time == Manual, "StepBack is declared, but the time mode is %v", e.b.Time)
		},
	},
}

func (e *env) declared(feature string, declared, has bool) {
	e.want(declared == has, "feature %s: declared %v, implemented %v", feature, declared, has)
}
