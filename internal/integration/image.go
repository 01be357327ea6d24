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

// choose returns the image to run: that of the environment, or one built from the binaries of this machine, where it has
// them, or the official one.
func (i *image) choose() (name string, options []testcontainers.ContainerCustomizer, err error) {
	if name = os.Getenv(i.variable); name != "" {
		return name, nil, nil
	}
	files, repo, tag, err := i.local()
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("an image of this machine's binaries: %w", err)
	case files == nil:
		return i.official, nil, nil
	}
	return "", []testcontainers.ContainerCustomizer{testcontainers.WithDockerfile(testcontainers.FromDockerfile{
		ContextArchive: bytes.NewReader(files), Repo: repo, Tag: tag, KeepImage: true,
	})}, nil
}

// postgresFiles has the server's programs and data files.
func postgresFiles() (files []byte, repo, tag string, err error) {
	bin, err := postgresBinaries()
	if err != nil || !strings.HasPrefix(bin, "/usr/lib/postgresql/") {
		return nil, "", "", nil
	}
	version := path.Base(path.Dir(bin))
	files, err = imageOf("postgres", bin, []string{filepath.Join(bin, "initdb"), filepath.Join(bin, "postgres")},
		[]string{filepath.Join(path.Dir(bin), "lib"), "/usr/share/postgresql/" + version, "/usr/share/zoneinfo"})
	return files, "idempotency-postgres", version, err
}

func redisFiles() (files []byte, repo, tag string, err error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, "", "", nil
	}
	files, err = imageOf("redis", filepath.Dir(server), []string{server}, nil)
	return files, "idempotency-redis", "local", err
}

const dockerfile = `FROM scratch
ADD files.tar /
ENV PATH=%s:/bin
`

// imageOf returns a build context of programs with their libraries, directories of data, a user to run them, and a shell.
func imageOf(user, bin string, programs, data []string) ([]byte, error) {
	var tree archive
	tree.init()
	for _, dir := range []string{"tmp/", "bin/"} {
		tree.add(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	}
	tree.text("etc/passwd", "root:x:0:0::/:/bin/sh\n"+user+":x:70:70::/tmp:/bin/sh\n")
	tree.text("etc/group", "root:x:0:\n"+user+":x:70:\n")
	for _, program := range append([]string{"/bin/sh"}, programs...) {
		tree.libraries(program)
		tree.file(program, program)
	}
	for _, dir := range data {
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
