package integration

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/testcontainers/testcontainers-go"
)

// postgresImage returns the image to run: that of the environment, or one built from the binaries of this machine, where it has
// them, or the official one.
func postgresImage() (name string, options []testcontainers.ContainerCustomizer, err error) {
	if name = os.Getenv(PostgresImage); name != "" {
		return name, nil, nil
	}
	bin, err := postgresBinaries()
	if err != nil || !strings.HasPrefix(bin, "/usr/lib/postgresql/") {
		return officialPostgres, nil, nil
	}
	files, err := imageOf(bin)
	if err != nil {
		return "", nil, fmt.Errorf("an image of this machine's binaries: %w", err)
	}
	version := path.Base(path.Dir(bin))
	return "", []testcontainers.ContainerCustomizer{testcontainers.WithDockerfile(testcontainers.FromDockerfile{
		ContextArchive: bytes.NewReader(files), Repo: "idempotency-postgres", Tag: version, KeepImage: true,
	})}, nil
}

const dockerfile = `FROM scratch
ADD files.tar /
ENV PATH=%s:/bin
`

// imageOf returns a build context of what PostgreSQL needs to run: its programs with their libraries, its data files, a shell.
func imageOf(bin string) ([]byte, error) {
	version := path.Base(path.Dir(bin))
	var tree archive
	tree.init()
	for _, dir := range []string{"tmp/", "bin/"} {
		tree.add(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	}
	tree.text("etc/passwd", "root:x:0:0::/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n")
	tree.text("etc/group", "root:x:0:\npostgres:x:70:\n")
	tree.file("/bin/sh", "/bin/sh")
	for _, program := range []string{filepath.Join(bin, "initdb"), filepath.Join(bin, "postgres"), "/bin/sh"} {
		tree.libraries(program)
		tree.file(program, program)
	}
	for _, dir := range []string{filepath.Join(path.Dir(bin), "lib"), "/usr/share/postgresql/" + version, "/usr/share/zoneinfo"} {
		tree.dir(dir)
	}
	files := tree.close()

	var context archive
	context.init()
	context.err = tree.err
	context.text("Dockerfile", fmt.Sprintf(dockerfile, bin))
	context.text("files.tar", string(files))
	return context.close(), context.err
}

// archive is a tar file that remembers its first error.
type archive struct {
	buf   bytes.Buffer
	tar   *tar.Writer
	names []string
	err   error
}

func (a *archive) init() { a.tar = tar.NewWriter(&a.buf) }

func (a *archive) close() []byte {
	if err := a.tar.Close(); a.err == nil {
		a.err = err
	}
	return a.buf.Bytes()
}

func (a *archive) add(h *tar.Header, content []byte) {
	if a.err != nil || slices.Contains(a.names, h.Name) {
		return
	}
	a.names = append(a.names, h.Name)
	h.Size = int64(len(content))
	if a.err = a.tar.WriteHeader(h); a.err == nil {
		_, a.err = a.tar.Write(content)
	}
}

func (a *archive) text(name, content string) {
	a.add(&tar.Header{Name: name, Mode: 0o644}, []byte(content))
}

// file adds the file at from, symbolic links followed.
func (a *archive) file(name, from string) {
	content, err := os.ReadFile(from)
	if err != nil {
		if a.err == nil {
			a.err = err
		}
		return
	}
	a.add(&tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: 0o755}, content)
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// libraries adds what the dynamic linker says that a program loads.
func (a *archive) libraries(program string) {
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		if a.err == nil {
			a.err = fmt.Errorf("ldd: %w", err)
		}
		return
	}
	for _, match := range library.FindAllStringSubmatch(string(out), -1) {
		a.file(match[1], match[1])
	}
}

func (a *archive) dir(root string) {
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return nil // a link that leads nowhere, or to a directory
		}
		a.file(name, name)
		return a.err
	})
	if a.err == nil {
		a.err = err
	}
}
