package bolt_test

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

// An order is booked in the program's own database: the booking and the record that it was made are one commit.
func ExampleDoTx() {
	dir, err := os.MkdirTemp("", "orders")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := bbolt.Open(filepath.Join(dir, "orders.db"), 0o600, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := bolt.New(db)
	if err != nil {
		log.Fatal(err)
	}
	m := idempotency.New(store)
	defer m.Close(context.Background())

	book := func(_ context.Context, tx *bbolt.Tx) (uint64, error) {
		orders, err := tx.CreateBucketIfNotExists([]byte("orders"))
		if err != nil {
			return 0, err
		}
		number, err := orders.NextSequence()
		if err != nil {
			return 0, err
		}
		return number, orders.Put([]byte(fmt.Sprint(number)), []byte("two boxes"))
	}
	for range 2 {
		res, err := bolt.DoTx(context.Background(), m, "request-7", book)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("order", res.Value, "replayed:", res.Replayed)
	}
	// Output:
	// order 1 replayed: false
	// order 1 replayed: true
}
