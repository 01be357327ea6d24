package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// RedisURL is the variable of the environment that names a server to use; RedisClusterURL one of a cluster, as go-redis's
// ParseClusterURL takes it.
const (
	RedisURL        = "IDEMPOTENCY_REDIS_URL"
	RedisClusterURL = "IDEMPOTENCY_REDIS_CLUSTER_URL"
)

var redisService = service{
	name: "Redis", url: RedisURL, debian: "redis-server",
	at:    func(addr string) string { return "redis://" + addr + "/0" },
	local: localRedis, container: containerRedis,
}

// RedisServer is a running server.
type RedisServer struct {
	server
	// Addr is its host and port. It is empty for a server that the environment names.
	Addr string

	bus int // the port on which a cluster's servers talk
}

func redisServer(s server) *RedisServer {
	if s.run == nil {
		return &RedisServer{server: s}
	}
	return &RedisServer{server: s, Addr: s.run.address()}
}

// Redis returns the server that the tests of this process share. Each uses a prefix of its own (see Prefix).
func Redis(tb testing.TB) *RedisServer {
	tb.Helper()
	return redisServer(redisService.shared(tb))
}

// NewRedis starts a server for one test alone, to be killed, started again or misconfigured, with settings of its own
// ("--name", "value"). A server named by the environment is never used for that.
func NewRedis(tb testing.TB, settings ...string) *RedisServer {
	tb.Helper()
	return redisServer(redisService.own(tb, settings...))
}

// redisFlags are those of a server at a port. It has an append-only file; "--appendfsync always" makes that hold every
// acknowledged write, while with the default a write may be put off behind a slow disk, and then a SIGKILL loses it.
func redisFlags(port int, settings []string) []string {
	return append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--loglevel", "warning",
		"--appendonly", "yes", "--appendfsync", "everysec",
	}, settings...)
}

func pingRedis(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		client := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
		defer client.Close()
		err := client.Ping(ctx).Err()
		if err != nil && (goredis.HasErrorPrefix(err, "NOAUTH") || goredis.HasErrorPrefix(err, "NOPERM")) {
			return nil // it is up
		}
		return err
	}
}

func localRedis(settings []string) (instance, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	p, port, err := prepare("redis")
	if err != nil {
		return nil, err
	}
	p.argv = append([]string{path, "--dir", p.dir}, redisFlags(port, settings)...)
	p.ping, p.fast, p.instant = pingRedis(p.addr), syscall.SIGKILL, syscall.SIGKILL // nobody asks for its data again
	if err := p.start(); err != nil {
		_ = os.RemoveAll(p.dir)
		return nil, err
	}
	return p, nil
}

// Client returns a client of the server, closed at the end of the test.
func (s *RedisServer) Client(tb testing.TB, change ...func(*goredis.Options)) *goredis.Client {
	tb.Helper()
	o, err := goredis.ParseURL(s.URL)
	if err != nil {
		tb.Fatal(err)
	}
	o.ContextTimeoutEnabled, o.PoolSize = true, 32
	for _, c := range change {
		c(o)
	}
	client := goredis.NewClient(o)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

var prefixes atomic.Int64

// Prefix returns a prefix that nobody else uses, awkward in a pattern.
func Prefix() string {
	return fmt.Sprintf("test *[%d]? %d", os.Getpid(), prefixes.Add(1))
}

// RedisCluster is a running cluster.
type RedisCluster struct {
	URL string
	// Masters is empty for a cluster that the environment names.
	Masters []*RedisServer
}

var sharedCluster = sync.OnceValues(func() (*RedisCluster, error) {
	if u := os.Getenv(RedisClusterURL); u != "" {
		return &RedisCluster{URL: u}, nil
	}
	c, err := startRedisCluster()
	if err == nil {
		atExit(c.stop)
	}
	return c, err
})

// ClusterOfRedis returns the cluster of three masters that the tests of this process share.
func ClusterOfRedis(tb testing.TB) *RedisCluster {
	tb.Helper()
	c, err := sharedCluster()
	if err != nil {
		redisService.unavailable(tb, err)
	}
	return c
}

// NewRedisCluster starts a cluster of three masters for one test alone.
func NewRedisCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	c, err := startRedisCluster()
	if err != nil {
		redisService.unavailable(tb, err)
	}
	tb.Cleanup(c.stop)
	return c
}

func startRedisCluster() (c *RedisCluster, err error) {
	const masters, slots = 3, 16384
	c = &RedisCluster{}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	clients := make([]*goredis.Client, masters)
	for i := range masters {
		_, bus, err := freeAddress()
		if err != nil {
			return c, err
		}
		started, err := redisService.started("--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "5000")
		if err != nil {
			return c, err
		}
		s := redisServer(started)
		s.bus = bus
		c.Masters = append(c.Masters, s)
		clients[i] = goredis.NewClient(&goredis.Options{Addr: s.Addr})
		defer clients[i].Close()
		if err = clients[i].ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return c, err
		}
		if err = clients[i].Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil { // else they quarrel for a while
			return c, err
		}
		if i > 0 {
			host, port, _ := net.SplitHostPort(c.Masters[0].Addr)
			if err = clients[i].Do(ctx, "cluster", "meet", host, port, c.Masters[0].bus).Err(); err != nil {
				return c, err
			}
		}
	}
	for _, client := range clients {
		complete := func(ctx context.Context) error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && !(strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")) {
				err = errors.New("the cluster is not complete")
			}
			return err
		}
		if err := untilServing(complete, func() error { return nil }); err != nil {
			return c, err
		}
	}
	c.URL = "redis://" + c.Masters[0].Addr + "?addr=" + c.Masters[1].Addr + "&addr=" + c.Masters[2].Addr
	return c, nil
}

func (c *RedisCluster) stop() {
	for _, s := range c.Masters {
		s.run.stop()
	}
}

// Client returns a client of the cluster, closed at the end of the test.
func (c *RedisCluster) Client(tb testing.TB) *goredis.ClusterClient {
	tb.Helper()
	o, err := goredis.ParseClusterURL(c.URL)
	if err != nil {
		tb.Fatal(err)
	}
	o.ContextTimeoutEnabled, o.PoolSize = true, 16
	client := goredis.NewClusterClient(o)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}
