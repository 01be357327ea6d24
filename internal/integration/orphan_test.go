//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestServersEndWithTheirProcess kills a process that has started a server: the server goes too, and what it left on the
// disk is removed by the next process.
func TestServersEndWithTheirProcess(t *testing.T) {
	t.Parallel()
	if _, err := postgresBinaries(); err != nil {
		postgresService.unavailable(t, err)
	}
	child := act(t, "owner")
	addr := child.says(t, "serving on ")
	dir := child.says(t, "in ")
	child.end(syscall.SIGKILL)
	eventually(t, "the end of the server", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	eventually(t, "the removal of its directory", func() bool { // it may still write there
		removeOrphans()
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	})
}

func init() { roles["owner"] = ownServer }

// ownServer is the role of a process that starts a server and is killed.
func ownServer([]string) error {
	run, err := localPostgres(nil)
	if err != nil {
		return err
	}
	fmt.Println("serving on", run.address())
	fmt.Println("in", run.(*program).dir)
	select {}
}
