package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// A Hazard is a property of a server by which it loses or delays what the store promises. New refuses such a server, unless the
// hazard is accepted (WithAccepted, WithoutCheck).
type Hazard string

// The hazards that New looks for, by INFO, which servers allow that deny CONFIG.
const (
	// Evicts: maxmemory-policy is not noeviction, so a full server drops live claims and results, and their keys run again.
	Evicts Hazard = "maxmemory-policy is not noeviction: a full server forgets live entries"
	// Volatile: there is no append-only file, so a restart forgets all, or all since the last snapshot.
	Volatile Hazard = "there is no append-only file: a restart forgets entries"
	// Old: the server is older than 6.2, or older than 7.0 in a cluster, where push needs sharded channels.
	Old Hazard = "the server is older than 6.2 (7.0 in a cluster)"
	// Unknown: the server denies INFO.
	Unknown Hazard = "the server denies INFO, so its settings are not known"
)

var hazards = []Hazard{Evicts, Volatile, Old, Unknown}

// ErrHazard is the error of New about a server with a hazard that was not accepted.
var ErrHazard = errors.New("the server is not fit to keep claims (see redis.Hazard)")

// inspect looks for hazards on every master.
func (s *Store) inspect(ctx context.Context) error {
	if s.cluster != nil {
		var mu sync.Mutex // the client calls for several masters at once
		return s.cluster.ForEachMaster(ctx, func(ctx context.Context, master *goredis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return s.inspectOne(ctx, master)
		})
	}
	return s.inspectOne(ctx, s.client)
}

func (s *Store) inspectOne(ctx context.Context, server goredis.Cmdable) error {
	text, err := server.Info(ctx).Result()
	var refusal goredis.Error
	switch {
	case err == nil:
	case errors.As(err, &refusal):
		if !s.cfg.accepted[Unknown] {
			return fmt.Errorf("%w: %s: %w", ErrHazard, Unknown, err)
		}
		return nil
	default:
		return err
	}
	facts := parseInfo(text)
	if s.cluster == nil && facts["redis_mode"] == "cluster" {
		return invalid("the client is one server's, and the server is one of a cluster: use a ClusterClient")
	}
	for _, h := range found(facts, s.cluster != nil) {
		if !s.cfg.accepted[h] {
			return fmt.Errorf("%w: %s", ErrHazard, h)
		}
	}
	return nil
}

// found returns the hazards of a server that says this of itself. What it does not say is not held against it.
func found(facts map[string]string, cluster bool) (all []Hazard) {
	if policy, ok := facts["maxmemory_policy"]; ok && policy != "noeviction" {
		all = append(all, Evicts)
	}
	if facts["aof_enabled"] == "0" {
		all = append(all, Volatile)
	}
	if version, ok := facts["redis_version"]; ok {
		part := strings.SplitN(version+".0", ".", 3)
		major, err1 := strconv.Atoi(part[0])
		minor, err2 := strconv.Atoi(part[1])
		if err1 == nil && err2 == nil && (major < 6 || major == 6 && minor < 2 || cluster && major < 7) {
			all = append(all, Old)
		}
	}
	return all
}

func parseInfo(text string) map[string]string {
	facts := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			facts[name] = value
		}
	}
	return facts
}
