// Package idempotency makes it safe to send the same request again.
package idempotency
