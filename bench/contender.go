package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"
)

// contenderArg is the first argument of a child process that is a contender of this program's own; the second one is its name.
const contenderArg = "bench-contender"

// ownContenders are the programs that this one can be. Each serves until the process ends, and returns its address.
var ownContenders = map[string]func(args []string) (address string, err error){
	"belfry": serveBelfry,
	"epoll":  serveEpoll,
	"hijack": serveHijack,
	"nats":   serveBounce,
}

// contend is what a child process does that is a contender: it says where it serves, as those of peers do, and ends with its
// standard input. It does not return then.
func contend(args []string) {
	if len(args) < 2 || args[0] != contenderArg {
		return
	}
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the parent too, which ends its children
	address, err := ownContenders[args[1]](args[2:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n", args[1], err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(greeting{address})
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// A greeting is the one line that a contender writes to its standard output.
type greeting struct {
	Address string `json:"address"`
}

// A contender is a process that serves. Its methods are called from one goroutine.
type contender struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	address string
	killed  bool
}

const (
	greetingTimeout = 30 * time.Second // for a contender to serve
	partingTimeout  = 5 * time.Second  // for one to end before it is killed
)

// startContender starts a program and waits until it serves. It ends with its standard input, and stop must be called.
func startContender(cmd *exec.Cmd) (c *contender, err error) {
	c = &contender{cmd: cmd}
	c.cmd.Stderr = os.Stderr
	out, err1 := c.cmd.StdoutPipe()
	in, err2 := c.cmd.StdinPipe()
	c.in = in
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	late := time.AfterFunc(greetingTimeout, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var g greeting
	if err == nil {
		err = json.Unmarshal(line, &g)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%v: it does not say where it serves: %w", cmd, err), c.stop())
	}
	c.address = g.Address
	return c, nil
}

// stop ends the contender.
func (c *contender) stop() error {
	c.in.Close()
	late := time.AfterFunc(partingTimeout, func() {
		c.killed = true
		c.cmd.Process.Kill()
	})
	defer late.Stop()
	err := c.cmd.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); ended && c.killed {
		return nil
	}
	return err
}

// cpu is what the contender has used.
func (c *contender) cpu() (cpu, error) { return processCPU(c.cmd.Process.Pid) }

// memory is what it occupies.
func (c *contender) memory() (resident, error) { return residentMemory(c.cmd.Process.Pid) }

// serveBelfry is the contender that this benchmark is about.
func serveBelfry(args []string) (string, error) {
	var cfg serverConfig
	flags := flag.NewFlagSet("belfry", flag.ContinueOnError)
	flags.StringVar(&cfg.Broker, "broker", "", "")
	flags.BoolVar(&cfg.Deflate, "deflate", false, "")
	flags.BoolVar(&cfg.Packed, "msgpack", false, "")
	flags.StringVar(&cfg.Certificate, "tls", "", "")
	flags.BoolVar(&cfg.Recovery, "recovery", false, "")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	_, address, err := serve(cfg)
	return address, err
}
