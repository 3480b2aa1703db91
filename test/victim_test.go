package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// natsPorts is the environment variable that makes this program a NATS server in a process of its own: its port for clients, that for
// routes, and those of the routes of the cluster, with commas between them.
const natsPorts = "BELFRY_TEST_NATS"

// beNATS is a NATS server until its input ends, or it is killed.
func beNATS(ports string) int {
	list := strings.Split(ports, ",")
	number := func(i int) int {
		n, _ := strconv.Atoi(list[i])
		return n
	}
	cfg := embedded.Config{Port: number(0), ClusterPort: number(1), ClusterName: "chaos"}
	for i := 2; i < len(list); i++ {
		if list[i] != list[1] {
			cfg.Routes = append(cfg.Routes, "nats://127.0.0.1:"+list[i])
		}
	}
	server, err := embedded.Start(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	server.Shutdown()
	return 0
}

// victim is a NATS server in a process of its own.
type victim struct {
	t     *testing.T
	ports string
	cmd   *exec.Cmd
	stdin io.Closer
}

func (v *victim) start() {
	v.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		v.t.Fatal(err)
	}
	v.cmd = exec.Command(exe)
	v.cmd.Env = append(os.Environ(), natsPorts+"="+v.ports)
	v.cmd.Stderr = os.Stderr
	v.stdin, _ = v.cmd.StdinPipe()
	stdout, err := v.cmd.StdoutPipe()
	if err == nil {
		err = v.cmd.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(stdout).ReadString('\n')
	}
	if err != nil {
		v.t.Fatalf("a NATS server: %v", err)
	}
}

func (v *victim) kill() {
	v.cmd.Process.Kill()
	v.cmd.Wait()
}
