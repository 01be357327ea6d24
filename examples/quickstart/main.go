// Command quickstart shows the whole idea on a store in memory: of two calls under one key the first one runs, and the
// second, its duplicate, gets what the first one recorded.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"fmt"
	"log"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func main() {
	ctx := context.Background()
	manager := idempotency.New(memory.New())
	defer func() { _ = manager.Close(ctx) }()

	sendMail := func(context.Context) (string, error) {
		fmt.Println("sending the mail")
		return "message 1", nil
	}
	for range 2 {
		result, err := idempotency.Do(ctx, manager, "order-42/confirmation", sendMail)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s, replayed: %v\n", result.Value, result.Replayed)
	}
}
