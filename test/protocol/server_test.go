package protocol

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	// What belfry's programs are made of, so that go test does not repeat an old result.
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/need"
	_ "github.com/belfry-io/belfry/wsserver"
)

// The settings of all programs, short enough for a test to wait for, and long enough for a machine with other work.
const (
	pingInterval   = 300 * time.Millisecond
	pingTimeout    = time.Second
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

var withReference = flag.Bool("reference", false, "run the cases against the reference, too: a case that asks for too much is found out")

func TestEngineIO(t *testing.T) {
	hold(t, engineRules, map[string]func(t *testing.T) server{
		"belfry": func(t *testing.T) server {
			return startBelfry(t, "wsserver/internal/engineecho", "/engine.io/", "-cors", allowedOrigin, "-upgrade-timeout", upgradeTimeout.String())
		},
		"reference": func(t *testing.T) server { return startReference(t, "engine.mjs", "/engine.io/") },
	})
}

func TestSocketIO(t *testing.T) {
	hold(t, socketRules, map[string]func(t *testing.T) server{
		"belfry": func(t *testing.T) server {
			return startBelfry(t, "test/protocolapp", "/socket.io/", "-connect-timeout", connectTimeout.String())
		},
		"reference": func(t *testing.T) server { return startReference(t, "app.mjs", "/socket.io/") },
	})
}

// hold holds the servers to rules, the reference only with -reference.
func hold(t *testing.T, rules []rule, servers map[string]func(t *testing.T) server) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			if name == "reference" && !*withReference {
				t.Skip("with -reference")
			}
			t.Parallel()
			run(t, start(t), rules)
		})
	}
}

// startBelfry builds and runs one of belfry's own programs.
func startBelfry(t *testing.T, pkg, path string, args ...string) server {
	program := build(t, pkg)
	address := start(t, program, append(args, "-addr", "127.0.0.1:0", "-path", path,
		"-ping-interval", pingInterval.String(), "-ping-timeout", pingTimeout.String(), "-max-payload", strconv.Itoa(maxPayload))...)
	return server{address: address, path: path}
}

// build makes the binary of one of belfry's own programs.
func build(t *testing.T, pkg string) (program string) {
	depends(t, filepath.Join("..", "..", pkg, "main.go"))
	return child.Program(t, pkg)
}

// startReference runs a program on the packages from npm.
func startReference(t *testing.T, program, path string) server {
	node, _ := need.Node(t, "engine.io")
	depends(t, filepath.Join("node", program))
	settings, err := json.Marshal(map[string]any{"pingInterval": pingInterval.Milliseconds(), "pingTimeout": pingTimeout.Milliseconds(),
		"connectTimeout": connectTimeout.Milliseconds(), "upgradeTimeout": upgradeTimeout.Milliseconds(), "maxHttpBufferSize": maxPayload})
	if err != nil {
		t.Fatal(err)
	}
	address := start(t, node, filepath.Join("node", program), string(settings))
	return server{reference: true, address: address, path: path}
}

// depends reads a file that a program is made of: go test notes that, and repeats no result from before a change.
func depends(t *testing.T, file string) {
	if _, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
}

// start runs a program until the end of the test and its cases, which it must live to see, and returns the address on which it listens.
func start(t *testing.T, program string, args ...string) (address string) {
	p := launch(t, program, args...)
	t.Cleanup(func() {
		select {
		case <-p.exited:
			t.Errorf("the server has ended: %v\n%s", p.err, p.log.String())
		default:
			p.cmd.Process.Kill()
			<-p.exited
			if s := p.log.String(); strings.Contains(s, "panic") || strings.Contains(s, "DATA RACE") || t.Failed() {
				t.Errorf("the server's log: %.20000s", s)
			}
		}
	})
	return p.address
}

// A process is a program that a test has started.
type process struct {
	cmd     *exec.Cmd
	address string        // on which it listens
	exited  chan struct{} // closed when it has
	err     error         // with which status, then
	log     bytes.Buffer  // what it has said, then
}

// startPatience is how long a program may take to listen: another package's tests may be built meanwhile. Nothing waits for it to pass.
const startPatience = 2 * time.Minute

// launch starts a program and waits until it says on which address it listens: that nobody else does, it alone can know.
func launch(t *testing.T, program string, args ...string) *process {
	p := &process{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.cmd.Stderr = &p.log
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() {
		defer close(p.exited)
		out := bufio.NewReader(stdout)
		line, _ := out.ReadString('\n')
		listening <- line
		rest, _ := io.ReadAll(out)
		p.err = p.cmd.Wait() // from here on nobody writes to log
		p.log.Write(rest)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
	})
	select {
	case line := <-listening:
		address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
		if !ok {
			p.cmd.Process.Kill()
			<-p.exited
			t.Fatalf("%s says %q, %v, and does not listen\n%s", program, line, p.err, p.log.String())
		}
		p.address = address
	case <-time.After(startPatience):
		t.Fatalf("%s does not listen", program)
	}
	return p
}
