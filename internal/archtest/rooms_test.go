package archtest

// Third-party modules, by the path under which they are imported.
const (
	bbolt      = "go.etcd.io/bbolt"
	genproto   = "google.golang.org/genproto/googleapis/rpc" // what gRPC's statuses carry
	golangLRU  = "github.com/hashicorp/golang-lru/v2"
	goredis    = "github.com/redis/go-redis/v9"
	goleak     = "go.uber.org/goleak"
	grpc       = "google.golang.org/grpc"
	otel       = "go.opentelemetry.io/otel"
	pgx        = "github.com/jackc/pgx/v5"
	porcupine  = "github.com/anishathalye/porcupine"
	protobuf   = "google.golang.org/protobuf"
	rapidCheck = "pgregory.net/rapid"

	// testcontainers takes some of its arguments in Docker's own types.
	dockerAPI      = "github.com/moby/moby/api"
	dockerClient   = "github.com/moby/moby/client"
	testcontainers = "github.com/testcontainers/testcontainers-go"
)

// room is a directory of the module, packages below it included (the longest match counts), and all that it may
// import beside the standard library and itself: rooms, where "." is the root package, and third-party modules or parts of
// them, each with all packages below it unless it is only one.
type room struct {
	dir   string
	code  []string // in any file
	tests []string // in test files only
}

// rooms are the arrows of the house, and there are no others: a package that is not here, and an import that is not
// named here, fail the test. What follows from the table:
//
//   - examples → backends → backend → root → standard library; a backend never imports another.
//   - Adapters → root, and the one library that each is for; none for net/http. Of OpenTelemetry that is the API: which SDK
//     and exporters there are is the program's choice.
//   - Only tests import conformance and internal, and nothing imports the examples.
//   - Servers are started by internal/integration alone, where other tests get them.
//   - A driver or a test library stands in the rows that may have it. `go mod tidy` of a consumer looks into the tests
//     of the packages that it imports, so a test import costs a user as much as any other: the tests of the root,
//     backend, memory, conformance and idemhttp bring in no third-party module.
var rooms = []room{
	{dir: ".", tests: []string{"backend", "memory", "conformance"}},
	{dir: "backend", code: []string{"."}, tests: []string{"memory"}},
	{dir: "conformance", code: []string{"."}, tests: []string{"backend", "memory"}},
	{dir: "lru", code: []string{".", golangLRU}, tests: []string{"memory"}},

	{dir: "memory", code: []string{".", "backend"}, tests: []string{"conformance"}},
	{dir: "bolt", code: []string{".", "backend", bbolt}, tests: []string{"conformance"}},
	{dir: "postgres", code: []string{".", "backend", pgx}},
	{dir: "redis", code: []string{".", "backend", goredis}},

	{dir: "idemhttp", code: []string{"."}, tests: []string{"memory"}},
	{dir: "idemgrpc", code: []string{".", grpc, genproto, protobuf}, tests: []string{"memory"}},
	{
		dir:   "idemotel",
		code:  []string{".", only(otel), otel + "/attribute", otel + "/codes", otel + "/metric", otel + "/trace"},
		tests: []string{"memory", otel + "/sdk"},
	},

	{dir: "examples/quickstart", code: []string{".", "memory"}},
	{dir: "examples/filestore", code: []string{".", "backend"}, tests: []string{"conformance"}},
	{dir: "examples/payments", code: []string{".", "backend", "memory", "bolt", bbolt}},
	{dir: "examples/consumer", code: []string{".", "postgres", "redis", pgx, goredis}, tests: []string{"internal/integration"}},
	{dir: "bench", code: []string{".", "backend", "memory", "bolt", "lru", bbolt}, tests: []string{"postgres", "redis", "internal/integration", pgx, goredis}},

	{dir: "internal/archtest"},
	{
		dir:   "internal/integration",
		code:  []string{pgx, goredis, testcontainers, dockerAPI, dockerClient},
		tests: []string{".", "backend", "conformance", "postgres", "redis", goleak},
	},
	{
		dir:   "internal/httpload",
		code:  []string{".", "backend", "memory", "bolt", "postgres", "idemhttp"},
		tests: []string{"internal/integration"},
	},
	{
		dir:   "internal/model",
		tests: []string{".", "memory", "bolt", "postgres", "redis", "internal/integration", rapidCheck, porcupine},
	},
}
