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

// RedisServer is a running server.
type RedisServer struct {
	URL string
	// Addr is its host and port. It is empty for a server that the environment names.
	Addr string

	dir   string
	flags []string
	proc  *child
}

var sharedRedis = sync.OnceValues(func() (*RedisServer, error) {
	if u := os.Getenv(RedisURL); u != "" {
		return &RedisServer{URL: u}, nil
	}
	s, err := startRedis()
	if err == nil {
		atExit(s.stop)
	}
	return s, err
})

// Redis returns the server that the tests of this process share. Each uses a prefix of its own (see Prefix).
func Redis(tb testing.TB) *RedisServer {
	tb.Helper()
	s, err := sharedRedis()
	if err != nil {
		unavailable(tb, "Redis", err)
	}
	return s
}

// NewRedis starts a server for one test alone, to be killed, started again or misconfigured, with settings of its own
// ("--name", "value"). A server named by the environment is never used for that.
func NewRedis(tb testing.TB, settings ...string) *RedisServer {
	tb.Helper()
	s, err := startRedis(settings...)
	if err != nil {
		unavailable(tb, "Redis of its own", err)
	}
	tb.Cleanup(s.stop)
	return s
}

func startRedis(settings ...string) (*RedisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("%w: set %s, or install it: apt-get install redis-server", errMissing, RedisURL)
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir("redis", as)
	if err != nil {
		return nil, err
	}
	s := &RedisServer{dir: dir}
	host, port, err := freeAddress()
	if err == nil {
		s.Addr = net.JoinHostPort(host, strconv.Itoa(port))
		s.URL = "redis://" + s.Addr + "/0"
		s.flags = append([]string{
			"--bind", host, "--port", strconv.Itoa(port), "--dir", dir, "--save", "", "--loglevel", "warning",
			"--appendonly", "yes", "--appendfsync", "everysec",
		}, settings...)
		err = s.start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return s, err
}

func (s *RedisServer) start() error {
	as, err := unprivileged()
	if err != nil {
		return err
	}
	cmd := exec.Command("redis-server", s.flags...)
	cmd.Dir = s.dir
	var log strings.Builder
	cmd.Stdout = &log
	if s.proc, err = spawn(cmd, as, syscall.SIGKILL); err != nil {
		return err
	}
	client := goredis.NewClient(&goredis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	err = waitFor(s.proc, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := client.Ping(ctx).Err()
		if err != nil && (goredis.HasErrorPrefix(err, "NOAUTH") || goredis.HasErrorPrefix(err, "NOPERM")) {
			return nil // it is up
		}
		return err
	})
	if err != nil {
		s.proc.stop(syscall.SIGKILL)
		return fmt.Errorf("%w\n%s", err, log.String())
	}
	return nil
}

func (s *RedisServer) stop() {
	if s.proc != nil {
		s.proc.stop(syscall.SIGKILL)
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Crash kills the server by SIGKILL and starts it again on the same port and what it has on disk.
func (s *RedisServer) Crash(tb testing.TB) {
	tb.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Kill kills the server by SIGKILL.
func (s *RedisServer) Kill() { s.proc.stop(syscall.SIGKILL) }

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
		unavailable(tb, "Redis cluster", err)
	}
	return c
}

// NewRedisCluster starts a cluster of three masters for one test alone.
func NewRedisCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	c, err := startRedisCluster()
	if err != nil {
		unavailable(tb, "Redis cluster of its own", err)
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
	for i := range masters {
		_, bus, err := freeAddress()
		if err != nil {
			return c, err
		}
		s, err := startRedis("--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "5000")
		if err != nil {
			return c, err
		}
		c.Masters = append(c.Masters, s)
		client := goredis.NewClient(&goredis.Options{Addr: s.Addr})
		defer client.Close()
		if err = client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return c, err
		}
		host, port, _ := net.SplitHostPort(c.Masters[0].Addr)
		firstBus := c.Masters[0].flag("--cluster-port")
		if i > 0 {
			if err = client.Do(ctx, "cluster", "meet", host, port, firstBus).Err(); err != nil {
				return c, err
			}
		}
	}
	for _, s := range c.Masters {
		client := goredis.NewClient(&goredis.Options{Addr: s.Addr})
		defer client.Close()
		err := waitFor(s.proc, func() error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && !(strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")) {
				err = errors.New("the cluster is not complete")
			}
			return err
		})
		if err != nil {
			return c, err
		}
	}
	c.URL = "redis://" + c.Masters[0].Addr + "?addr=" + c.Masters[1].Addr + "&addr=" + c.Masters[2].Addr
	return c, nil
}

func (s *RedisServer) flag(name string) string {
	for i, f := range s.flags {
		if f == name {
			return s.flags[i+1]
		}
	}
	return ""
}

func (c *RedisCluster) stop() {
	for _, s := range c.Masters {
		s.stop()
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
