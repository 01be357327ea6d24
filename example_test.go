package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// A request that comes twice has its effect once.
func ExampleDo() {
	ctx := context.Background()
	m := idempotency.New(memory.New())
	defer m.Close(ctx)

	charge := func(context.Context) (string, error) {
		fmt.Println("charging the card")
		return "receipt 17", nil
	}
	for range 2 {
		res, err := idempotency.Do(ctx, m, "order-42", charge)
		fmt.Println(res.Value, res.Replayed, err)
	}
	// Output:
	// charging the card
	// receipt 17 false <nil>
	// receipt 17 true <nil>
}

// The same key with another request is a mistake of the caller's, and is noticed.
func ExampleWithFingerprint() {
	ctx := context.Background()
	m := idempotency.New(memory.New())
	defer m.Close(ctx)

	for _, body := range []string{"amount=10", "amount=99"} {
		_, err := idempotency.Do(ctx, m, "order-42", func(context.Context) (string, error) { return body, nil },
			idempotency.WithFingerprint(idempotency.Fingerprint([]byte("POST /charges"), []byte(body))))
		fmt.Println(errors.Is(err, idempotency.ErrFingerprintMismatch))
	}
	// Output:
	// false
	// true
}

// Begin is for work that is no function: a claim is held until it is ended.
func ExampleManager_Begin() {
	ctx := context.Background()
	m := idempotency.New(memory.New())
	defer m.Close(ctx)

	for range 2 {
		claim, recorded, err := m.Begin(ctx, "import-7")
		switch {
		case err != nil:
			fmt.Println("not served:", err)
		case claim == nil:
			res, err := idempotency.Replay[int](m, recorded)
			fmt.Println("imported before:", res.Value, err)
		default:
			fmt.Println("importing, attempt", claim.Entry().Attempt)
			if err := claim.Complete(1200); err != nil {
				fmt.Println("not recorded:", err)
			}
		}
	}
	// Output:
	// importing, attempt 1
	// imported before: 1200 <nil>
}

// A process died between the charge and its record. The next caller asks the payment provider before it charges again.
func ExampleRecover() {
	ctx := context.Background()
	provider := map[string]string{} // charges by order
	ask := idempotency.Recover(func(_ context.Context, old idempotency.Entry) (string, bool, error) {
		receipt, charged := provider[old.SessionID]
		fmt.Println("attempt", old.Attempt, "had charged:", charged)
		return receipt, charged, nil
	})
	m := idempotency.New(memory.New(), idempotency.WithPolicy(ask), idempotency.WithLease(50*time.Millisecond))
	defer m.Close(ctx)

	claim, _, err := m.Begin(ctx, "charge-42", idempotency.WithSession("order-42"))
	if err != nil {
		fmt.Println(err)
		return
	}
	provider["order-42"] = "receipt 17"
	claim.Abandon() // as if the process had been killed here

	res, err := idempotency.Do(ctx, m, "charge-42", func(context.Context) (string, error) {
		return "charged twice", nil
	})
	fmt.Println(res.Value, res.Replayed, err)
	// Output:
	// attempt 1 had charged: true
	// receipt 17 true <nil>
}

// An error releases the key, so that a retry runs; a final one is an outcome like any other.
func ExampleFinal() {
	ctx := context.Background()
	m := idempotency.New(memory.New())
	defer m.Close(ctx)

	attempts := 0
	charge := func(context.Context) (string, error) {
		attempts++
		if attempts == 1 {
			return "", errors.New("provider not reachable")
		}
		return "", idempotency.Final(errors.New("card declined"))
	}
	for range 3 {
		_, err := idempotency.Do(ctx, m, "order-42", charge)
		final := errors.As(err, new(*idempotency.FinalError))
		fmt.Println(err, final)
	}
	fmt.Println("attempts:", attempts)
	// Output:
	// provider not reachable false
	// card declined true
	// card declined true
	// attempts: 2
}

// A guarded write uses the fence: the resource refuses what an older holder sends late.
func ExampleFromContext() {
	ctx := context.Background()
	m := idempotency.New(memory.New())
	defer m.Close(ctx)

	var highest int64
	write := func(fence int64) bool {
		if fence < highest {
			return false
		}
		highest = fence
		return true
	}
	_, err := idempotency.Do(ctx, m, "report", func(ctx context.Context) (bool, error) {
		entry, _ := idempotency.FromContext(ctx)
		fmt.Println("attempt", entry.Attempt, "written:", write(entry.Fence()))
		fmt.Println("an older holder's written:", write(entry.Fence()-1))
		return true, nil
	})
	fmt.Println(err)
	// Output:
	// attempt 1 written: true
	// an older holder's written: false
	// <nil>
}
