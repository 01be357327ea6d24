package integration

import (
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// TestPostgresOpen opens a store by URL, which makes its table, and a second one on the table that is there.
func TestPostgresOpen(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("schema", server.Schema(t))
	q.Set("table", "keys")
	q.Set("migrate", "true")
	q.Set("application_name", "two words")
	for _, first := range []bool{true, false} {
		u.RawQuery = q.Encode()
		s, err := backend.Open(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		if res, err := s.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil || !res.Inserted {
			t.Errorf("first %v: %+v, %v", first, res, err)
		}
		var found bool
		err = server.Pool(t, 1).QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'two words')").Scan(&found)
		if err != nil || !found {
			t.Errorf("a parameter with a space did not arrive: %v", err)
		}
		if err := s.(io.Closer).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		q.Del("migrate")
		u.Scheme = "postgresql"
	}
}

// TestPostgresOpenFails: what is wrong is said, and nothing that the URL holds.
func TestPostgresOpenFails(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	at := "postgres://user:" + secret + "@127.0.0.1:1/db?"
	for _, c := range []struct {
		url  string
		want error
	}{
		{at + "migrate=perhaps", idempotency.ErrInvalidOption},
		{at + "sslmode=" + secret, idempotency.ErrInvalidOption},
		{at + "pool_max_conns=" + secret, idempotency.ErrInvalidOption},
		{at + "table=" + strings.Repeat(secret, 20), idempotency.ErrInvalidOption},
		{at + "default_query_exec_mode=describe_exec", idempotency.ErrInvalidOption},
		{at + "connect_timeout=1", idempotency.ErrNotApplied}, // nobody listens
	} {
		s, err := backend.Open(t.Context(), c.url)
		if s != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.url, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error quotes the URL: %v", err)
		}
	}
}
