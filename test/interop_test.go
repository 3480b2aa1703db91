package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
)

var withReference = flag.Bool("reference", false, "has the clients make their checks with the reference server, too: none of them is wrong")

var everyMode = flag.Bool("modes", false, "has the clients make their checks in every mode, and not only in those that differ the most")

// sides are the servers with which the clients make their checks.
func sides() []string {
	if *withReference {
		return []string{"belfry", "reference"}
	}
	return []string{"belfry"}
}

// clientModes are the choices of transports that a client is told. The last has both, and an upgrade.
func clientModes() []string {
	if *everyMode {
		return []string{"websocket", "polling", "default"}
	}
	return []string{"default"}
}

// interopModes are what node/interop.mjs can be told: a choice of transports, and a parser.
func interopModes() []string {
	if *everyMode {
		return []string{"websocket", "polling", "default", "websocket-msgpack", "polling-msgpack", "default-msgpack"}
	}
	return []string{"default", "websocket-msgpack"} // the first begins with polling
}

// besideOthers has many modes run beside each other. The few of a plain run follow each other: a part of a test that is
// parallel itself would begin behind all other tests, and be what everything waits for in the end.
func besideOthers(t *testing.T) {
	t.Helper()
	if *everyMode || *withReference {
		t.Parallel()
	}
}

// interopDiffers are the checks of node/checks.mjs whose detail differs from the reference's on purpose: what belfry's must be, and why.
var interopDiffers = map[string]struct{ detail, reason string }{
	"undefined and dates":                {"as JSON has them", "in MessagePack npm's parser has extensions of its own for them; belfry's codec turns them into JSON's"},
	"the client emits, then disconnects": {"50 of 50", "the reference forgets events that come in one segment with the DISCONNECT packet; belfry handles what came before it"},
}

// A checkResult is a line of node/interop.mjs.
type checkResult struct {
	Name   string
	OK     bool
	Detail string
	Ms     int
}

// TestInterop has the official client make every check of node/checks.mjs, in every mode with -modes, and else in two. With -reference, it does so
// with the reference server, too: what that does not pass is a wrong check.
func TestInterop(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	urls := map[string]map[string]string{"belfry": {}} // by side and parser
	for _, parser := range []string{"json", "msgpack"} {
		srv := newServer(t, interopConfig(parser))
		serveInteropApp(t, srv)
		urls["belfry"][parser] = serve(t, srv)
	}
	if *withReference {
		urls["reference"] = startReference(t, node)
	}
	var mu sync.Mutex // guards made
	made := map[string]map[string][]string{"reference": {}, "belfry": {}}
	t.Run("modes", func(t *testing.T) {
		for _, mode := range interopModes() {
			parser := "json"
			if strings.HasSuffix(mode, "msgpack") {
				parser = "msgpack"
			}
			for _, side := range sides() {
				t.Run(side+"/"+mode, func(t *testing.T) {
					besideOthers(t)
					results := runChecks(t, node, "interop.mjs", urls[side][parser], mode)
					var names []string
					for _, r := range results {
						names = append(names, r.Name)
						if differs, ok := interopDiffers[r.Name]; ok && side == "belfry" && r.OK && r.Detail != differs.detail {
							t.Errorf("%s: %s, want %s: %s", r.Name, r.Detail, differs.detail, differs.reason)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					made[side][mode] = slices.Sorted(slices.Values(names))
				})
			}
		}
	})
	for _, mode := range interopModes() {
		r, b := made["reference"][mode], made["belfry"][mode]
		if b != nil && len(b) < 40 {
			t.Errorf("%s: %d checks, want at least 40", mode, len(b))
		}
		if r != nil && b != nil && !slices.Equal(r, b) {
			t.Errorf("%s: %d checks with the reference, %d with belfry, want the same", mode, len(r), len(b))
		}
	}
}

// interopConfig is the configuration that node/checks.mjs expects: frequent pings, no pong that comes too late, and no client that counts
// as too slow on a busy machine.
func interopConfig(parser string) wsserver.Config {
	cfg := wsserver.Config{
		PingInterval: 300 * time.Millisecond, PingTimeout: 2 * time.Minute, UpgradeTimeout: 2 * time.Minute, Limits: wsserver.Limits{QueueBytes: 8 << 20},
	}
	if parser == "msgpack" {
		cfg.Codec = msgpack.Codec{}
	}
	return cfg
}

// runChecks runs a script in the folder node that prints a checkResult on each line, and reports each that failed as an error of the test.
func runChecks(t *testing.T, runner, program string, args ...string) []checkResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, runner, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	err = errors.Join(err, ctx.Err())
	var results []checkResult
	failed := 0
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var r checkResult
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: what it printed: %v\n%s", program, err, out)
		}
		results = append(results, r)
		if !r.OK {
			failed++
			t.Errorf("%s: %s", r.Name, r.Detail)
		} else {
			t.Logf("%s: ok, %d ms %s", r.Name, r.Ms, r.Detail)
		}
	}
	if (err != nil) != (failed > 0) || len(results) == 0 {
		t.Errorf("%s %s: %v, with %d checks, of which %d failed\n%s", program, strings.Join(args, " "), err, len(results), failed, stderr.Bytes())
	}
	return results
}

// startReference starts the application on the reference server, and returns its addresses by parser.
func startReference(t *testing.T, node string) map[string]string {
	t.Helper()
	var urls map[string]string
	if line := startProgram(t, "node", node, "reference.mjs"); json.Unmarshal([]byte(line), &urls) != nil {
		t.Fatalf("reference.mjs printed %q", line)
	}
	return urls
}

// startProgram starts a server in a folder, and returns the first line that it prints. At the end of the test it is interrupted, and has to
// end cleanly. Programs that end with their standard input do so also if the test is killed.
func startProgram(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		defer stdin.Close()
		killed := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer killed.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
		}
	})
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("%s printed nothing: %v", strings.Join(args, " "), lines.Err())
	}
	return lines.Text()
}
