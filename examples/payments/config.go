package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.aimon.at/idempotency"
)

type config struct {
	addr, store, ledger, policy string
	lease, wait, latency        time.Duration
}

func parseFlags(args []string) (cfg config, err error) {
	dir := defaultDir()
	flags := flag.NewFlagSet("payments", flag.ExitOnError)
	flags.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flags.StringVar(&cfg.store, "store", (&url.URL{Scheme: "bolt", Path: filepath.Join(dir, "keys.db")}).String(),
		"where the keys are kept: bolt:///path, bolt:path or memory:")
	flags.StringVar(&cfg.ledger, "ledger", filepath.Join(dir, "ledger.jsonl"), "file that the charges are appended to")
	flags.StringVar(&cfg.policy, "policy", "recover", "what to do when an attempt died: rerun, hold or recover")
	flags.DurationVar(&cfg.lease, "lease", 10*time.Second, "silence after which an attempt counts as dead")
	flags.DurationVar(&cfg.wait, "wait", 5*time.Second, "how long a duplicate waits for a running charge; 0 refuses it at once")
	flags.DurationVar(&cfg.latency, "latency", 0, "how long the card network takes")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		return cfg, fmt.Errorf("%d arguments beside the flags", flags.NArg())
	}
	return cfg, os.MkdirAll(dir, 0o700)
}

// defaultDir holds the keys and the ledger together: one without the other breaks the promise. Not a temporary
// directory, where there is another: what was charged has to outlive a reboot.
func defaultDir() string {
	dir, err := os.UserConfigDir()
	if err != nil { // no home directory
		dir = os.TempDir()
	}
	return filepath.Join(dir, "idempotency-payments")
}

func policyNamed(name string, book *ledger) (idempotency.Policy, error) {
	switch name {
	case "rerun":
		return idempotency.Rerun, nil
	case "hold":
		return idempotency.Hold, nil
	case "recover":
		return askLedger(book), nil
	default:
		return idempotency.Policy{}, fmt.Errorf("policy %q, want rerun, hold or recover", name)
	}
}
