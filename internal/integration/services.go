package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// Variables of the environment.
const (
	// Services, when it is "containers", has servers started in containers even where the machine has their binaries.
	Services = "IDEMPOTENCY_SERVICES"
	// RequireServices turns the skip of a test without its server into a failure.
	RequireServices = "IDEMPOTENCY_REQUIRE_SERVICES"
)

// service is a kind of server, with the ways to have one: a further kind is a further value of it.
type service struct {
	name      string                   // in words
	url       string                   // the variable of the environment that names a running one; "": none
	debian    string                   // the package that has the binaries
	at        func(addr string) string // the URL of one that was started
	settings  []string                 // of the one that tests share
	local     func(settings []string) (instance, error)
	container func(settings []string) (instance, error) // nil: there is no image of it

	once   sync.Once
	common server
	failed error
}

// server is a running one of any kind.
type server struct {
	// URL of it.
	URL string
	run instance // nil: not ours
}

// shared returns the server that the tests of this process share: the environment's, or one that is started for the first.
func (s *service) shared(tb testing.TB) server {
	tb.Helper()
	s.once.Do(func() {
		if s.common.URL = os.Getenv(s.url); s.common.URL != "" {
			return
		}
		if s.common, s.failed = s.started(s.settings...); s.failed == nil {
			atExit(s.common.run.stop)
		}
	})
	if s.failed != nil {
		s.unavailable(tb, s.failed)
	}
	return s.common
}

// own returns a server that is started for one test alone, never the environment's.
func (s *service) own(tb testing.TB, settings ...string) server {
	tb.Helper()
	own, err := s.started(settings...)
	if err != nil {
		s.unavailable(tb, err)
	}
	tb.Cleanup(own.run.stop)
	return own
}

func (s *service) started(settings ...string) (server, error) {
	run, err := s.start(settings...)
	if err != nil {
		return server{}, err
	}
	return server{URL: s.at(run.address()), run: run}, nil
}

// Crash kills the server as a power cut would, and starts it again at the same address, on what it has on disk.
func (s *server) Crash(tb testing.TB) {
	tb.Helper()
	if err := s.run.crash(); err != nil {
		tb.Fatal(err)
	}
}

// Kill ends the server as a power cut would, for good.
func (s *server) Kill(tb testing.TB) {
	tb.Helper()
	if err := s.run.kill(); err != nil {
		tb.Fatal(err)
	}
}

// instance is a server that this process started.
type instance interface {
	// address is host:port, the same for as long as the instance lives.
	address() string
	// signal reaches the server itself, wherever it runs.
	signal(syscall.Signal) error
	// crash ends the server as a power cut would, and returns when it serves again.
	crash() error
	// kill does so for good.
	kill() error
	stop()
}

// errMissing: there is no such server on this machine. It is the only error for which a test is skipped.
var errMissing = errors.New("not to be had on this machine")

// start starts a server in the first of the ways that this machine has.
func (s *service) start(settings ...string) (instance, error) {
	ways := []func([]string) (instance, error){s.local}
	if s.container != nil {
		ways = append(ways, s.container)
	}
	if os.Getenv(Services) == "containers" {
		slices.Reverse(ways)
	}
	missing := make([]error, 0, len(ways))
	for _, way := range ways {
		started, err := way(settings)
		if err == nil {
			return started, nil
		}
		if !errors.Is(err, errMissing) {
			return nil, err
		}
		missing = append(missing, err)
	}
	advice := "apt-get install " + s.debian
	if s.url != "" {
		advice = "set " + s.url + ", or " + advice
	}
	return nil, fmt.Errorf("%w\n%s", errors.Join(missing...), advice)
}

// unavailable ends a test that has no server: by a skip where there is none to be had and none is demanded.
func (s *service) unavailable(tb testing.TB, err error) {
	tb.Helper()
	if skippable(err) {
		tb.Skipf("%s: %v", s.name, err)
	}
	tb.Fatalf("%s: %v", s.name, err)
}

func skippable(err error) bool {
	return errors.Is(err, errMissing) && os.Getenv(RequireServices) != "1"
}

var (
	stopMu sync.Mutex
	stops  []func()
)

func atExit(stop func()) {
	stopMu.Lock()
	defer stopMu.Unlock()
	stops = append(stops, stop)
}

// Main runs the tests of a package and then stops the servers that were started for them.
func Main(m *testing.M) {
	removeOrphans()
	code := m.Run()
	stopMu.Lock()
	defer stopMu.Unlock()
	for _, stop := range slices.Backward(stops) {
		stop()
	}
	os.Exit(code)
}
