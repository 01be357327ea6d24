package postgres

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func init() {
	backend.Register("postgres", openURL)
	backend.Register("postgresql", openURL)
}

// defaultPoolSize is the number of connections of a store that was opened by URL, unless the URL says pool_max_conns.
const defaultPoolSize = 16

// openURL opens postgres://user:password@host:port/database?…, with the parameters of pgx and pgxpool. Of its own it has
// schema and table (WithSchema, WithTable) and migrate=true, which calls Migrate. The pool belongs to the store.
func openURL(ctx context.Context, u *url.URL) (idempotency.Store, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, fail(ctx, "Open", err)
	}
	own := *u
	query := own.Query()
	take := func(name string) string {
		value := query.Get(name)
		query.Del(name)
		return value
	}
	opts := []Option{WithSchema(take("schema"))}
	if table := take("table"); table != "" {
		opts = append(opts, WithTable(table))
	}
	migrate := false
	if text := take("migrate"); text != "" {
		var err error
		if migrate, err = strconv.ParseBool(text); err != nil {
			return nil, invalid("migrate is neither true nor false")
		}
	}
	sized := query.Has("pool_max_conns")
	own.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // pgx takes a plus for what it is
	config, err := pgxpool.ParseConfig(own.String())
	if err != nil {
		return nil, invalid("the URL or one of its parameters") // pgx's error quotes it
	}
	if !sized {
		config.MaxConns = defaultPoolSize
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fail(ctx, "Open", err)
	}
	s, err := New(pool, opts...)
	if err == nil {
		s.after = pool.Close
		if migrate {
			err = s.Migrate(ctx)
		} else {
			_, err = s.Now(ctx) // the server is there
		}
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}
