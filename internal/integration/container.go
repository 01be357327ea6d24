package integration

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// image is a kind of container that a server runs in.
type image struct {
	variable string // of the environment, that names the image to run
	official string
	local    func() (files []byte, repo, tag string, err error) // a build context of this machine's binaries; nil: it has none
	user     string
	run      string // a shell's command that runs the server in the foreground, with its own arguments as "$@"
	before   string // a command to run first
	pid      string // the file in which the server puts its process ID, in the first line
	port     int    // inside; 0: the server is on the host's network
	instant  string // the signal that ends it as a power cut would
	ping     func(addr string) func(context.Context) error
}

// PostgresImage and RedisImage are the variables of the environment that name the images to run.
const (
	PostgresImage = "IDEMPOTENCY_POSTGRES_IMAGE"
	RedisImage    = "IDEMPOTENCY_REDIS_IMAGE"
)

var postgresBox = image{
	variable: PostgresImage, official: "postgres:17-alpine", local: postgresFiles, user: "postgres",
	before: "initdb -D /tmp/data " + strings.Join(initdbFlags, " ") + " && echo 'host all all all trust' >>/tmp/data/pg_hba.conf",
	run:    `postgres -D /tmp/data -c listen_addresses='*' "$@"`,
	pid:    "/tmp/data/postmaster.pid", port: 5432, instant: "QUIT", ping: pingPostgres,
}

// redisBox is on the host's network, since the servers of a cluster reach each other by the addresses at which clients reach
// them. An engine in a virtual machine, such as Docker Desktop's, must be set up to have that.
var redisBox = image{
	variable: RedisImage, official: "redis:7.4-alpine", local: redisFiles, user: "redis",
	before: ":",
	run:    `redis-server --dir /tmp --pidfile /tmp/pid "$@"`,
	pid:    "/tmp/pid", instant: "KILL", ping: pingRedis,
}

func containerPostgres(settings []string) (instance, error) {
	return startBox(&postgresBox, func(int) []string { return postgresFlags(settings) })
}

func containerRedis(settings []string) (instance, error) {
	return startBox(&redisBox, func(port int) []string { return redisFlags(port, settings) })
}

// script starts the server again when it was killed, and ends when its standard input does: that is held by the test
// process, which may be killed too.
func (i *image) script() string {
	return i.before + " || exit 1\nwhile :; do " + i.run + "; done &\nwhile read -r line; do :; done\nkill -9 -1"
}

// box is a server in a container.
type box struct {
	*testcontainers.DockerContainer
	kind  *image
	addr  string
	stdin io.Closer
	ping  func(context.Context) error
}

// engine finds the container engine, once, and says in words that there is none.
var engine = sync.OnceValues(func() (cli client.APIClient, err error) {
	// testcontainers ends the containers of a killed process by a further one, of an image that is to be had at a registry
	// only. Ours end by themselves.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil { // it panics where it finds no engine
			err = fmt.Errorf("%w: no container engine: %v", errMissing, r)
		}
	}()
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(quiet{}))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = provider.Health(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: no container engine: %w", errMissing, err)
	}
	return provider.Client(), nil
})

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func startBox(kind *image, flags func(port int) []string) (instance, error) {
	cli, err := engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // a pull may be among it
	defer cancel()
	name, options, err := kind.choose()
	if err != nil {
		return nil, err
	}
	addr, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	options = append(options,
		testcontainers.WithLogger(quiet{}),
		testcontainers.WithEntrypoint("/bin/sh", "-c", kind.script(), "sh"),
		testcontainers.WithCmd(flags(port)...),
		testcontainers.WithConfigModifier(func(c *containertypes.Config) {
			c.User, c.OpenStdin, c.StdinOnce = kind.user, true, true
		}),
		testcontainers.WithHostConfigModifier(func(c *containertypes.HostConfig) {
			c.AutoRemove = true
			c.ShmSize = 1 << 30
			if kind.port == 0 {
				c.NetworkMode = "host"
			}
		}))
	if kind.port != 0 {
		inside := network.MustParsePort(strconv.Itoa(kind.port) + "/tcp")
		options = append(options,
			testcontainers.WithExposedPorts(inside.String()), // without it the binding below is dropped
			testcontainers.WithHostConfigModifier(func(c *containertypes.HostConfig) {
				c.PortBindings = network.PortMap{inside: {{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(port)}}}
			}))
	}
	b := &box{kind: kind, addr: addr, ping: kind.ping(addr)}
	if b.DockerContainer, err = testcontainers.Run(ctx, name, options...); err == nil {
		var attached client.ContainerAttachResult
		attached, err = cli.ContainerAttach(ctx, b.GetContainerID(), client.ContainerAttachOptions{Stream: true, Stdin: true})
		b.stdin = attached.Conn
	}
	if err == nil {
		err = untilServing(b.ping, func() error { return nil })
	}
	if err != nil {
		b.stop()
		return nil, fmt.Errorf("container: %w", err)
	}
	return b, nil
}

func (b *box) address() string { return b.addr }

func (b *box) signal(sig syscall.Signal) error {
	return b.shell(fmt.Sprintf("read -r pid <%s && kill -%d $pid", b.kind.pid, int(sig)))
}

func (b *box) crash() error {
	err := b.shell(fmt.Sprintf("read -r pid <%s && kill -%s $pid && while kill -0 $pid 2>/dev/null; do :; done", b.kind.pid, b.kind.instant))
	if err != nil {
		return err
	}
	return untilServing(b.ping, func() error { return nil })
}

func (b *box) kill() error {
	b.stop()
	return nil
}

func (b *box) shell(script string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	code, said, err := b.Exec(ctx, []string{"/bin/sh", "-c", script})
	if err != nil {
		return err
	}
	if code != 0 {
		text, _ := io.ReadAll(said)
		return fmt.Errorf("exit status %d: %s", code, text)
	}
	return nil
}

func (b *box) stop() {
	if b.stdin != nil {
		_ = b.stdin.Close() // it ends by itself, all at once
	}
	if b.DockerContainer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = b.Terminate(ctx) // it may have removed itself
	}
}
