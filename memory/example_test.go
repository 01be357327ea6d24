package memory_test

import (
	"context"
	"fmt"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func Example() {
	ctx := context.Background()
	store := memory.New(memory.WithMaxEntries(100_000))
	defer store.Close()

	claim := idempotency.Entry{Status: idempotency.InFlight, HolderID: "request-1"}
	first, err := store.PutIfAbsent(ctx, "order-42", claim, time.Minute)
	fmt.Println("first:", first.Inserted, err)

	done, err := store.MarkDone(ctx, "order-42", "request-1", []byte(`{"charge":"ch_1"}`), time.Hour)
	fmt.Println("done:", done, err)

	claim.HolderID = "request-2" // the same request, sent again
	again, err := store.PutIfAbsent(ctx, "order-42", claim, time.Minute)
	fmt.Println("again:", again.Inserted, again.Entry.Status, string(again.Entry.Result), err)
	// Output:
	// first: true <nil>
	// done: true <nil>
	// again: false DONE {"charge":"ch_1"} <nil>
}
