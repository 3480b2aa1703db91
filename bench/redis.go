package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A redisServer is a redis-server of our own, which keeps nothing.
type redisServer struct {
	URL string
	PID int

	dir    string
	cancel context.CancelFunc // ends it
	ended  chan struct{}      // closed when it has
	err    error              // why it ended, after ended
}

// redisStart is how long a redis-server may take until it is ready.
const redisStart = 20 * time.Second

// startRedis starts a redis-server on a free port of this machine. It ends with ctx, with stop, and on Linux
// also with this process, however that ends. stop must be called. The error is a *missingPart if there is none.
func startRedis(ctx context.Context) (*redisServer, error) {
	path, err := find("redis-server", "on Debian: apt-get install redis-server")
	if err != nil {
		return nil, err
	}
	for range 3 { // another process may take the port that was free
		var r *redisServer
		if r, err = tryRedis(ctx, path, "127.0.0.1:0"); err == nil || ctx.Err() != nil {
			return r, err
		}
	}
	return nil, fmt.Errorf("start redis-server: %w", err)
}

// again starts one that has ended at the same address.
func (r *redisServer) again(ctx context.Context) (*redisServer, error) {
	if err := r.stop(); err != nil {
		return r, err
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return r, err
	}
	next, err := tryRedis(ctx, path, strings.TrimPrefix(r.URL, "redis://"))
	if err != nil {
		return r, fmt.Errorf("start redis-server again: %w", err)
	}
	return next, nil
}

func tryRedis(ctx context.Context, path, at string) (*redisServer, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	address := l.Addr().(*net.TCPAddr)
	l.Close()
	dir, err := os.MkdirTemp("", "belfry-bench-redis-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, path, "--bind", address.IP.String(), "--port", strconv.Itoa(address.Port),
		"--save", "", "--appendonly", "no", "--dir", dir)
	said := &redisLog{ready: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = said, said
	endWithParent(cmd)
	r := &redisServer{URL: "redis://" + address.String(), dir: dir, cancel: cancel, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(r.ended)
		runtime.LockOSThread() // the kernel takes the thread that starts a process for its parent
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			r.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, r.stop())
	}
	r.PID = cmd.Process.Pid
	late := time.NewTimer(redisStart)
	defer late.Stop()
	select {
	case <-said.ready:
		return r, nil
	case <-r.ended:
		err = fmt.Errorf("it has ended: %v: %s", r.err, said)
	case <-late.C:
		err = fmt.Errorf("it is not ready after %v: %s", redisStart, said)
	}
	return nil, errors.Join(err, r.stop())
}

// stop ends the server.
func (r *redisServer) stop() error {
	r.cancel()
	<-r.ended
	return os.RemoveAll(r.dir)
}

// A redisLog reads what a redis-server says until it is ready, and forgets what comes then.
type redisLog struct {
	mu    sync.Mutex
	text  []byte
	ready chan struct{} // closed when the server is
	done  bool
}

func (l *redisLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return len(p), nil
	}
	l.text = append(l.text, p...)
	if bytes.Contains(l.text, []byte("Ready to accept connections")) {
		l.done = true
		l.text = nil
		close(l.ready)
	}
	return len(p), nil
}

func (l *redisLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.text))
}
