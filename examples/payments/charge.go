package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"go.aimon.at/idempotency"
)

// chargeRequest is the body of POST /charges.
type chargeRequest struct {
	Amount   int64  `json:"amount"` // in the smallest unit of the currency
	Currency string `json:"currency"`
	Card     string `json:"card"` // a token, never a card number
}

// charge is a line of the ledger, the recorded result of its key, and the answer to the client.
type charge struct {
	ID       string    `json:"id"`
	Key      string    `json:"key"`
	Amount   int64     `json:"amount"`
	Currency string    `json:"currency"`
	At       time.Time `json:"at"`
	Attempt  int       `json:"attempt"`
	Fence    int64     `json:"fence"`
}

// declinedCard is the token of a card that has no money on it.
const declinedCard = "tok_declined"

var errDeclined = errors.New("the card was declined")

func readRequest(w http.ResponseWriter, r *http.Request) (req chargeRequest, err error) {
	// A member that nobody reads would not be in the fingerprint either, so it is refused.
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&req); err != nil {
		return req, errors.New("the body is not {amount, currency, card}")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return req, errors.New("the body goes on after its JSON value")
	}
	switch {
	case req.Amount <= 0:
		return req, errors.New("amount must be more than 0, in the smallest unit of the currency")
	case len(req.Currency) != 3:
		return req, errors.New("currency must be a code of 3 letters")
	case req.Card == "":
		return req, errors.New("card must be a card's token")
	}
	return req, nil
}

// fingerprint is of what was understood, not of the bytes that came: a retry may order its members in another way.
func (r chargeRequest) fingerprint() string {
	body, _ := json.Marshal(r) // two strings and a number: cannot fail
	return idempotency.Fingerprint([]byte("POST /charges"), body)
}

// charge is the effect, run by at most one holder of the key at a time. An error says that nothing was charged, unless it
// is ErrOutcomeUnknown, as the ledger says when it failed half-way.
func (s *service) charge(ctx context.Context, key string, req chargeRequest) (charge, error) {
	select {
	case <-time.After(s.latency):
	case <-ctx.Done(): // out of time, or the lease was lost: another may have the key, and nothing is charged yet
		return charge{}, context.Cause(ctx)
	}
	if req.Card == declinedCard {
		return charge{}, idempotency.Final(errDeclined) // recorded: a retry is declined as well, without being tried
	}
	claim, _ := idempotency.FromContext(ctx)
	c := charge{
		ID: rand.Text(), Key: key, Amount: req.Amount, Currency: req.Currency,
		At: time.Now().UTC(), Attempt: claim.Attempt, Fence: claim.Fence(),
	}
	s.stops.reach(ctx, beforeEffect)
	if err := s.ledger.append(ctx, c); err != nil {
		return charge{}, err
	}
	s.stops.reach(ctx, afterEffect)
	return c, nil
}

// askLedger takes over from a dead attempt by asking the ledger whether it charged. The new claim's fence goes with the
// question, so that an attempt which was not dead but asleep is refused when it wakes up.
func askLedger(book *ledger) idempotency.Policy {
	return idempotency.Recover(func(ctx context.Context, old idempotency.Entry) (charge, bool, error) {
		claim, _ := idempotency.FromContext(ctx)
		return book.find(old.Key, claim.Fence())
	})
}
