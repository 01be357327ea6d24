package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
)

// printHelp prints what to try, with the address that was really taken and with a key that no earlier run has used. The
// first line is also how a program that started the service learns the address.
func printHelp(w io.Writer, addr net.Addr, cfg config) {
	base := "http://" + reachable(addr)
	post := fmt.Sprintf("curl -i %s/charges -H '%s: order-%s'", base, keyHeader, rand.Text()[:6])
	const body = `{"amount":1250,"currency":"EUR","card":"tok_visa"}`
	fmt.Fprintf(w, `payments: serving on %[1]s
  keys in %[2]s, charges in %[3]s, policy %[4]s

Charge a card; then repeat the request: the answer is replayed and the card is not charged again.
  %[5]s -d '%[6]s'
  %[5]s -d '%[6]s'

Another payload under the same key is refused with 422.
  %[5]s -d '{"amount":9900,"currency":"EUR","card":"tok_visa"}'

A declined card stays declined (402), and a request without a key is refused (400).
  curl -i %[1]s/charges -H '%[7]s: order-%[8]s' -d '{"amount":1250,"currency":"EUR","card":"%[9]s"}'
  curl -i %[1]s/charges -d '%[6]s'

What was charged.
  curl %[1]s/charges
`, base, cfg.store, cfg.ledger, cfg.policy, post, body, keyHeader, rand.Text()[:6], declinedCard)
}

// reachable is addr as a client on this machine can use it: an address that means all interfaces is none to connect to.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return addr.String()
}
