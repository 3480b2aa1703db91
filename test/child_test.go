package test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childRole is the environment variable that makes this program something else, in a process of its own: the name of one of childRoles,
// and its arguments, with spaces between them.
const childRole = "BELFRY_TEST_CHILD"

// childRoles are what a child can be. It says a line when it is ready, and stays until its input ends, or it is killed.
var childRoles = map[string]func(args []string) error{
	"nats":   beNATS,
	"calm":   beCalm,
	"stuck":  beStuck,
	"singer": beSinger,
}

func beChild(role string) int {
	args := strings.Fields(role)
	if err := childRoles[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// A child is this program in a process of its own.
type child struct {
	t     *testing.T
	role  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// startChild starts a child, which the end of the test kills.
func startChild(t *testing.T, role string, args ...string) *child {
	t.Helper()
	c := &child{t: t, role: strings.Join(append([]string{role}, args...), " ")}
	c.start()
	t.Cleanup(func() {
		c.stdin.Close()
		c.kill()
	})
	return c
}

// start starts the child again after kill.
func (c *child) start() {
	c.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(exe)
	c.cmd.Env = append(os.Environ(), childRole+"="+c.role)
	c.cmd.Stderr = os.Stderr
	c.stdin, err = c.cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.out = bufio.NewReader(stdout)
}

// kill ends the child as kill -9 does, also if it is stopped.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// line is the next line that the child says.
func (c *child) line() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%s says %q, %v", c.role, line, err)
	}
	return strings.TrimSpace(line)
}

// ask says a line to the child, and returns what it says to that.
func (c *child) ask(line string) string {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		c.t.Fatalf("%s hears nothing: %v", c.role, err)
	}
	return c.line()
}
