package redis

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func init() {
	backend.Register("redis", open)
	backend.Register("rediss", open)
}

// open opens the store at a URL as go-redis knows it, redis://user:password@host:6379/0 or rediss:// for TLS, with the
// parameters prefix and shards of its own. A further parameter addr, once for each of the others, names servers of a cluster.
func open(_ context.Context, u *url.URL) (idempotency.Store, error) {
	own := *u
	query := own.Query()
	var opts []Option
	if query.Has("prefix") {
		opts = append(opts, WithPrefix(query.Get("prefix")))
	}
	if query.Has("shards") {
		n, err := strconv.Atoi(query.Get("shards"))
		if err != nil {
			return nil, invalid("the URL's number of shards is none")
		}
		opts = append(opts, WithShards(n))
	}
	cluster := query.Has("addr")
	query.Del("prefix")
	query.Del("shards")
	own.RawQuery = query.Encode()
	client, err := dial(&own, cluster)
	if err != nil {
		return nil, err
	}
	s, err := New(client, opts...)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	s.after = client.Close
	return s, nil
}

func dial(u *url.URL, cluster bool) (goredis.UniversalClient, error) {
	if cluster {
		o, err := goredis.ParseClusterURL(u.String())
		if err != nil {
			return nil, badURL(err)
		}
		o.ContextTimeoutEnabled = true
		return goredis.NewClusterClient(o), nil
	}
	o, err := goredis.ParseURL(u.String())
	if err != nil {
		return nil, badURL(err)
	}
	o.ContextTimeoutEnabled = true
	return goredis.NewClient(o), nil
}

// badURL leaves out the URL, which may hold a password.
func badURL(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		err = whole.Err
	}
	return fmt.Errorf("redis: open: %w: %w", idempotency.ErrInvalidOption, err)
}
