package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"
)

// roleArg is the first argument of a child process; the second one is its role.
const roleArg = "bench-role"

// A request is what the benchmark asks of a child, one line of JSON on its standard input; a response is the child's answer, one line on
// its standard output.
type request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
}

type response struct {
	Error string          `json:"error,omitempty"`
	Reply json.RawMessage `json:"reply,omitempty"`
}

// A handler answers the requests of one name.
type handler func(args json.RawMessage) (any, error)

// handle makes a handler of a function.
func handle[A, R any](f func(A) (R, error)) handler {
	return func(raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, fmt.Errorf("arguments %s: %w", raw, err)
		}
		return f(args)
	}
}

// none is no arguments, or no reply.
type none struct{}

// roles are what a child process can be.
var roles = map[string]func() map[string]handler{
	"server":  newServerRole,
	"broker":  newBrokerRole,
	"bare":    newBareRole,
	"load":    newLoadRole,
	"crowd":   newCrowdRole,
	"bouncer": newBouncerRole,
	"node":    newNodeRole,
	"client":  newClientRole,
}

// child runs a role if args, the arguments of the process, name one; it does not return then. The process ends when its standard input
// does, however its parent has ended.
func child(args []string) {
	if len(args) != 2 || args[0] != roleArg {
		return
	}
	begin, ok := roles[args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "bench: no role %q\n", args[1])
		os.Exit(2)
	}
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the parent too, which ends its children
	handlers := begin()
	handlers["cpu"] = handle(func(none) (cpu, error) { return usedCPU() })

	requests := make(chan request)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for {
			var r request
			if err := in.Decode(&r); err != nil {
				os.Exit(0)
			}
			requests <- r
		}
	}()
	out := json.NewEncoder(os.Stdout)
	for r := range requests {
		var answer response
		reply, err := answerTo(handlers, r)
		if err == nil {
			answer.Reply, err = json.Marshal(reply)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		if err := out.Encode(answer); err != nil {
			os.Exit(1)
		}
	}
}

func answerTo(handlers map[string]handler, r request) (any, error) {
	h, ok := handlers[r.Op]
	if !ok {
		return nil, fmt.Errorf("no operation %q", r.Op)
	}
	return h(r.Args)
}

const (
	callTimeout = 90 * time.Second // for an answer, beside the time that the question itself asks for
	stopTimeout = 5 * time.Second  // for a child to end before it is killed
)

// A process is a child. Its methods are called from one goroutine.
type process struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	cancel context.CancelFunc // ends the child
	killed bool
}

// startProcess starts a child, which ends with ctx at the latest. cancel and wait must be called.
func startProcess(ctx context.Context, role string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &process{role: role, cmd: exec.CommandContext(ctx, path, roleArg, role), cancel: cancel}
	p.cmd.Stderr = os.Stderr
	p.cmd.WaitDelay = stopTimeout
	p.cmd.Cancel = func() error { return p.in.Close() }
	out, err1 := p.cmd.StdoutPipe()
	p.in, err = p.cmd.StdinPipe()
	if err = errors.Join(err1, err); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	p.out = json.NewDecoder(out)
	return p, nil
}

// call asks the child for something and waits for its answer, which may take longer than callTimeout by extra. A child that does not
// answer is ended.
func (p *process) call(op string, args, reply any, extra time.Duration) error {
	failed := func(err error) error { return fmt.Errorf("%s: %s: %w", p.role, op, err) }
	raw, err := json.Marshal(args)
	if err != nil {
		return failed(err)
	}
	late := time.AfterFunc(callTimeout+extra, p.cancel)
	defer late.Stop()
	if err := json.NewEncoder(p.in).Encode(request{op, raw}); err != nil {
		return failed(err)
	}
	var answer response
	if err := p.out.Decode(&answer); err != nil {
		if !late.Stop() {
			err = fmt.Errorf("no answer in %v", callTimeout+extra)
		}
		return failed(fmt.Errorf("the process has ended: %w", err))
	}
	if answer.Error != "" {
		return failed(errors.New(answer.Error))
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Reply, reply); err != nil {
		return failed(err)
	}
	return nil
}

// kill ends the child with SIGKILL, as a crash would. It does not wait for the end.
func (p *process) kill() error {
	p.killed = true
	return p.cmd.Process.Kill()
}

// wait waits for the child to end, after cancel, which tells it to. An error says that it failed, or had to be killed.
func (p *process) wait() error {
	p.cmd.Wait() // that it was told to end is its error
	if !p.killed && !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %v", p.role, p.cmd.ProcessState)
	}
	return nil
}

// cpu is what the child says that it has used, and what the kernel says.
func (p *process) cpu() (own, kernel cpu, err error) {
	if err := p.call("cpu", none{}, &own, 0); err != nil {
		return own, kernel, err
	}
	kernel, err = processCPU(p.cmd.Process.Pid)
	return own, kernel, err
}
