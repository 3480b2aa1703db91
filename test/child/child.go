// Package child lets a test run parts of itself in processes of their own, which can be killed and stopped: its own program, which the
// environment tells to be something else.
package child

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// variable is the environment variable that makes a test's program a child: the name of its role, and arguments, with spaces between them.
const variable = "BELFRY_TEST_CHILD"

// A Role is what a child does with its arguments. It prints a line when it is ready, and returns when its input ends.
type Role func(args []string) error

// Main is for the beginning of a TestMain: in a child it plays the role and ends the process, otherwise it returns.
func Main(roles map[string]Role) {
	args := strings.Fields(os.Getenv(variable))
	if len(args) == 0 {
		return
	}
	if err := roles[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, strings.Join(args, " "), err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A Child is this program in a process of its own. Its methods are for one goroutine at a time.
type Child struct {
	Role string // with its arguments

	via   []string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// Start starts a child, which the end of the test kills.
func Start(t *testing.T, role string, args ...string) *Child {
	t.Helper()
	c, err := Run(nil, role, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

// Run starts a child by way of another command, such as nsenter, which executes what its further arguments say; nil is none. Its caller is to
// kill it.
func Run(via []string, role string, args ...string) (*Child, error) {
	c := &Child{Role: strings.Join(append([]string{role}, args...), " "), via: via}
	return c, c.Restart()
}

// Restart starts the child again after its end.
func (c *Child) Restart() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	command := append(append([]string{}, c.via...), exe)
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = append(os.Environ(), variable+"="+c.Role)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	c.out = bufio.NewReader(stdout)
	return err
}

// PID is the number of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Signal sends the process a signal.
func (c *Child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// Kill ends the child as kill -9 does, also if it is stopped, and waits for it. It may be called again.
func (c *Child) Kill() {
	if c.cmd.Process == nil {
		return
	}
	c.stdin.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// Quit ends the child's input, and waits until it has ended by itself.
func (c *Child) Quit() error {
	c.stdin.Close()
	return c.cmd.Wait()
}

// Line is the next line that the child prints.
func (c *Child) Line() (string, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s prints %q: %w", c.Role, line, err)
	}
	return strings.TrimSpace(line), nil
}

// Ask writes a line to the child, and returns the line that it prints then.
func (c *Child) Ask(line string) (string, error) {
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		return "", fmt.Errorf("%s reads nothing: %w", c.Role, err)
	}
	return c.Line()
}
