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

// PostgresImage is the variable of the environment that names the image to run.
const PostgresImage = "IDEMPOTENCY_POSTGRES_IMAGE"

const officialPostgres = "postgres:17-alpine"

// postgresInBox runs in any image that has PostgreSQL in its path and a shell. It starts the server again when it was
// killed, and ends when its standard input does: that is held by the test process, which may be killed too.
const postgresInBox = `
initdb -D /tmp/data "$@" || exit 1
echo 'host all all all trust' >>/tmp/data/pg_hba.conf
set -f; IFS='
'
while :; do postgres -D /tmp/data -c listen_addresses='*' $POSTGRES_FLAGS; done &
while read -r line; do :; done
kill -9 -1`

// box is a server in a container.
type box struct {
	*testcontainers.DockerContainer
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

func containerPostgres(settings []string) (instance, error) {
	cli, err := engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // a pull may be among it
	defer cancel()
	image, options, err := postgresImage()
	if err != nil {
		return nil, err
	}
	addr, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	inside := network.MustParsePort("5432/tcp")
	options = append(options,
		testcontainers.WithLogger(quiet{}),
		testcontainers.WithEntrypoint("/bin/sh", "-c", postgresInBox, "sh"),
		testcontainers.WithCmd(initdbFlags...),
		testcontainers.WithEnv(map[string]string{"POSTGRES_FLAGS": strings.Join(postgresFlags(settings), "\n")}),
		testcontainers.WithExposedPorts(inside.String()), // without it the binding below is dropped
		testcontainers.WithConfigModifier(func(c *containertypes.Config) {
			c.User, c.OpenStdin, c.StdinOnce = "postgres", true, true
		}),
		testcontainers.WithHostConfigModifier(func(c *containertypes.HostConfig) {
			c.AutoRemove = true
			c.ShmSize = 1 << 30
			c.PortBindings = network.PortMap{inside: {{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(port)}}}
		}))
	b := &box{addr: addr, ping: pingPostgres(addr)}
	if b.DockerContainer, err = testcontainers.Run(ctx, image, options...); err == nil {
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

// postmaster is the process ID of the server, inside.
const postmaster = `read -r pid </tmp/data/postmaster.pid && `

func (b *box) signal(sig syscall.Signal) error {
	return b.shell(postmaster + fmt.Sprintf("kill -%d $pid", int(sig)))
}

func (b *box) crash() error {
	if err := b.shell(postmaster + "kill -QUIT $pid && while kill -0 $pid 2>/dev/null; do :; done"); err != nil {
		return err
	}
	return untilServing(b.ping, func() error { return nil })
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
		_ = b.stdin.Close()
	}
	if b.DockerContainer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = b.Terminate(ctx) // it may have removed itself
	}
}
