//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

// errSystem is why nothing here works: CPU and memory of a process are accounted for as Linux does it.
var errSystem = errors.New("the benchmark runs on Linux only: it reads the CPU time and the memory of its processes there")

func supported() error { return errSystem }

const (
	clockTick   = 10 * time.Millisecond
	dialTimeout = 20 * time.Second
)

func endWithParent(*exec.Cmd) {}

func usedCPU() (cpu, error)                { return cpu{}, errSystem }
func processCPU(int) (cpu, error)          { return cpu{}, errSystem }
func residentMemory(int) (resident, error) { return resident{}, errSystem }
func machineCPU() (time.Duration, error)   { return 0, errSystem }
func allowFiles(int) error                 { return errSystem }
func dial(string) (int, error)             { return 0, errSystem }
func listen() (int, string, error)         { return 0, "", errSystem }
func accept(int) (int, error)              { return 0, errSystem }
func read(int, []byte) (int, error)        { return 0, errSystem }
func write(int, []byte) (int, error)       { return 0, errSystem }

func serveEpoll([]string) (string, error) { return "", errSystem }

type poller struct{}

func newPoller() (*poller, error)    { return nil, errSystem }
func (*poller) add(int, int) error   { return errSystem }
func (*poller) remove(int) error     { return errSystem }
func (*poller) wait(func(int)) error { return errSystem }
