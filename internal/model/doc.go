// Package model holds the stores against a reference model that is written down independently of their code: random
// operations one after the other (a state machine of rapid), the same list of operations on every backend, and
// concurrent histories, which have to be linearizable key by key (checked by porcupine) with unknown outcomes left open.
//
// Longer runs:
//
//	go test ./internal/model -rapid.checks=10000
//	go test ./internal/model -run Linearizable -model.rounds=10000
package model
