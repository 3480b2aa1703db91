package protocol

import (
	"bytes"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	// What belfry's programs are made of, so that go test does not repeat an old result.
	"github.com/belfry-io/belfry/test/need"
	_ "github.com/belfry-io/belfry/wsserver"
)

// The settings of both programs, short enough for a test to wait for.
const (
	pingInterval   = 300 * time.Millisecond
	pingTimeout    = 200 * time.Millisecond
	connectTimeout = time.Second
	upgradeTimeout = 3 * time.Second
	maxPayload     = 1_000_000
	allowedOrigin  = "http://pages.example"
)

// A server is a program that the cases run against.
type server struct {
	reference bool
	address   string
	path      string // with a slash at both ends
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The cases wait far more than they compute.
	flag.Set("test.parallel", "8")
	os.Exit(m.Run())
}

func TestEngineIO(t *testing.T) {
	t.Run("belfry", func(t *testing.T) {
		t.Parallel()
		run(t, startBelfry(t, "wsserver/internal/engineecho", "/engine.io/", "-cors", allowedOrigin, "-upgrade-timeout", upgradeTimeout.String()), engineRules)
	})
	t.Run("reference", func(t *testing.T) {
		t.Parallel()
		run(t, startReference(t, "engine.mjs", "/engine.io/"), engineRules)
	})
}

func TestSocketIO(t *testing.T) {
	t.Run("belfry", func(t *testing.T) {
		t.Parallel()
		run(t, startBelfry(t, "test/protocolapp", "/socket.io/", "-connect-timeout", connectTimeout.String()), socketRules)
	})
	t.Run("reference", func(t *testing.T) {
		t.Parallel()
		run(t, startReference(t, "app.mjs", "/socket.io/"), socketRules)
	})
}

// startBelfry builds and runs one of belfry's own programs.
func startBelfry(t *testing.T, pkg, path string, args ...string) server {
	program := build(t, pkg)
	address := freeAddress(t)
	start(t, address, program, append(args, "-addr", address, "-path", path,
		"-ping-interval", pingInterval.String(), "-ping-timeout", pingTimeout.String(), "-max-payload", "1000000")...)
	return server{address: address, path: path}
}

// build makes the binary of one of belfry's own programs.
func build(t *testing.T, pkg string) (program string) {
	root := filepath.Join("..", "..")
	depends(t, filepath.Join(root, pkg, "main.go"))
	program = filepath.Join(t.TempDir(), filepath.Base(pkg))
	build := exec.Command("go", "build", "-o", program, "-race="+raced(), "./"+pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return program
}

// raced is whether this test looks for races, which are then looked for in the program.
func raced() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" {
				return s.Value
			}
		}
	}
	return "false"
}

// startReference runs a program on the packages from npm.
func startReference(t *testing.T, program, path string) server {
	node, _ := need.Node(t, "engine.io")
	depends(t, filepath.Join("node", program))
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	start(t, address, node, filepath.Join("node", program), port)
	return server{reference: true, address: address, path: path}
}

// depends reads a file that a program is made of: go test notes that, and repeats no result from before a change.
func depends(t *testing.T, file string) {
	if _, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the end of the test and its cases, which it must live to see, and waits until it listens.
func start(t *testing.T, address, program string, args ...string) {
	var log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-exited:
			t.Errorf("the server has ended: %v\n%s", err, log.String())
		default:
			cmd.Process.Kill()
			<-exited
			if s := log.String(); strings.Contains(s, "panic") || strings.Contains(s, "DATA RACE") || t.Failed() {
				t.Errorf("the server's log: %.20000s", s)
			}
		}
	})
	listens(t, address, exited)
}

// listens waits until a program that was started listens.
func listens(t *testing.T, address string, exited chan error) {
	deadline := time.After(patience)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatal("the server did not start")
		case <-deadline:
			t.Fatalf("the server does not listen: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
