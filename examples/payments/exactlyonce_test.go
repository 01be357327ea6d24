package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

// The other recipe for exactly once: where the ledger can be in the database of the keys, the charge and the record of
// its key are one commit. There is no moment between the two at which a kill could hit, so there is no policy to choose
// and nobody to ask.
func Example_oneCommit() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "payments")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := bbolt.Open(filepath.Join(dir, "payments.db"), 0o600, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := bolt.New(db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	manager := idempotency.New(store)
	defer manager.Close(ctx)

	for range 2 {
		result, err := bolt.DoTx(ctx, manager, "order-1", func(_ context.Context, tx *bbolt.Tx) (string, error) {
			ledger, err := tx.CreateBucketIfNotExists([]byte("ledger"))
			if err != nil {
				return "", err
			}
			line, err := ledger.NextSequence()
			if err != nil {
				return "", err
			}
			return fmt.Sprint("line ", line), ledger.Put([]byte(fmt.Sprintf("%020d", line)), []byte("12.50 EUR"))
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s, replayed: %v\n", result.Value, result.Replayed)
	}
	_ = db.View(func(tx *bbolt.Tx) error {
		fmt.Println("charges:", tx.Bucket([]byte("ledger")).Stats().KeyN)
		return nil
	})
	// Output:
	// line 1, replayed: false
	// line 1, replayed: true
	// charges: 1
}
