package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// endWord is the line that tells a child to end.
const endWord = "end"

// What a child says, a line each.
const (
	addrWord  = "listens " // and on which address; then it waits for a line about the cluster
	readyWord = "ready"
	killWord  = "kill " // and the name of the child that a user wants killed
)

// A process is a child of this one that runs the same program. It is started again when it ends.
type process struct {
	role     string
	args     []string          // beside those that every role has
	addr     string            // to listen on; the first start may find another
	spare    bool              // it may
	known    chan struct{}     // closed when addr is where it listens, for good
	told     chan struct{}     // closed when about is there
	about    string            // the line that it waits for
	ready    chan struct{}     // closed when it was ready for the first time
	asks     func(name string) // is called when it wants a process killed
	pause    time.Duration     // before it is started again
	patience time.Duration     // for its end
	stderr   io.Writer

	mu  sync.Mutex // guards cmd
	cmd *exec.Cmd  // nil while it does not run
}

// run keeps the process running until ctx ends. An error is why it was never ready.
func (p *process) run(ctx context.Context) error {
	for {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !isClosed(p.ready) {
			return fmt.Errorf("%s at %s does not start: %w", p.role, p.addr, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(p.pause):
		}
	}
}

// once runs the process until it ends. When ctx ends it is told so, and has p.patience to end. It ends
// at once when its input does, as it does when this process is killed meanwhile.
func (p *process) once(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{childFlag, p.role, p.addr, strconv.FormatBool(p.spare)}
	cmd := exec.CommandContext(ctx, self, append(args, p.args...)...)
	cmd.Stderr = p.stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = func() error {
		fmt.Fprintln(input, endWord) // it may have died
		return nil
	}
	cmd.WaitDelay = p.patience
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.set(cmd)
	defer p.set(nil)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		p.heard(ctx, lines.Text(), input)
	}
	return cmd.Wait()
}

// heard takes a line that the process has said.
func (p *process) heard(ctx context.Context, line string, input io.Writer) {
	if addr, ok := strings.CutPrefix(line, addrWord); ok {
		if !isClosed(p.known) {
			p.addr, p.spare = addr, false
			close(p.known)
		}
		select {
		case <-p.told:
			fmt.Fprintln(input, p.about) // it may have died since: then its output ends, too
		case <-ctx.Done():
		}
	} else if name, ok := strings.CutPrefix(line, killWord); ok {
		p.asks(name)
	} else if line == readyWord && !isClosed(p.ready) {
		close(p.ready)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *process) set(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = cmd
}

// kill kills the process as kill -9 does, and reports whether there was one.
func (p *process) kill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.cmd.Process.Kill() == nil
}
