package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/need"
	"github.com/belfry-io/belfry/wsserver"
)

// loadedBelfry serves the application of test/node/loaded.mjs.
func loadedBelfry(t *testing.T) (url string) {
	t.Helper()
	type said struct {
		By   string `json:"by"`
		Text string `json:"text"`
	}
	srv := wsserver.New(wsserver.Config{})
	app := func(_ context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "join", func(ctx context.Context, s *wsserver.Socket, room string) (string, error) {
			return "", s.Join(ctx, room)
		})
		wsserver.On2(s, "publish", func(ctx context.Context, s *wsserver.Socket, room, data string) error {
			return s.Namespace().To(room).Emit(ctx, "message", data)
		})
		wsserver.On2(s, "say", func(ctx context.Context, s *wsserver.Socket, room, data string) error {
			return s.To(room).Emit(ctx, "said", said{s.ID(), data})
		})
		wsserver.OnAck(s, "echo", func(_ context.Context, _ *wsserver.Socket, data string) (string, error) {
			return data, nil
		})
		return nil
	}
	srv.OnConnect(app)
	closed := srv.Of("/closed")
	closed.Use(func(_ context.Context, s *wsserver.Socket) error {
		var auth struct{ Token string }
		if s.DecodeAuth(&auth); auth.Token != "secret" {
			return errors.New("no token")
		}
		return nil
	})
	closed.OnConnect(app)
	h := httptest.NewServer(srv)
	t.Cleanup(func() {
		srv.Close(context.Background())
		h.CloseClientConnections()
		h.Close()
	})
	return h.URL
}

// loadedNode starts npm's socket.io.
func loadedNode(t *testing.T) (url string) {
	t.Helper()
	node, _ := need.Node(t, "socket.io")
	program := filepath.Join("..", "test", "node", "loaded.mjs")
	cmd := exec.Command(node, program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var serves struct{ Address string }
	if err != nil || json.Unmarshal(line, &serves) != nil {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return "http://" + serves.Address
}

// writeScenario writes a scenario's file.
func writeScenario(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "scenario.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A load test counts exactly what belfry, and npm's socket.io, deliver.
func TestLoadTest(t *testing.T) {
	rooms := writeScenario(t, `{
		"sockets": 20, "connects_per_second": 400,
		"join": {"rooms": 4},
		"traffic": {"kind": "room", "per_second": 100, "size": 300, "senders": 8},
		"warmup": "50ms", "duration": "300ms"
	}`)
	others := writeScenario(t, `{
		"sockets": 12, "namespace": "closed", "auth": {"token": "secret"},
		"join": {"rooms": 3, "emit": ["join", "{room}"]},
		"traffic": {"kind": "room", "emit": ["say", "{room}", "{payload}"], "per_second": 50, "receivers": 3},
		"duration": "300ms"
	}`)
	unknown := writeScenario(t, `{
		"sockets": 6, "join": {"rooms": 2},
		"traffic": {"kind": "room", "emit": ["publish", "{room}", "{payload}"], "per_second": 50, "receivers": -1},
		"duration": "300ms"
	}`)
	for name, start := range map[string]func(*testing.T) string{"belfry": loadedBelfry, "socket.io": loadedNode} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t)
			for _, transport := range []string{"websocket", "polling"} {
				for _, test := range []struct {
					args                         string
					sockets, sends, each, joined int
				}{
					{"-scenario " + rooms, 20, 30, 5, 20},
					{"-scenario " + others, 12, 15, 3, 12},
					{"-scenario " + unknown, 6, 15, 3, 6},
					{"-echo -rate 40 -sockets 5 -duration 500ms", 5, 20, 1, 0},
					{"-rooms 2 -sockets 6 -rate 40 -duration 500ms", 6, 20, 3, 6},
					{"-sockets 5 -duration 50ms", 5, 0, 0, 0},
				} {
					path := filepath.Join(t.TempDir(), "report.json")
					args := strings.Fields("-url " + url + " -transport " + transport + " " + test.args + " -json " + path)
					var out, progress bytes.Buffer
					if err := run(t.Context(), args, &out, &progress); err != nil {
						t.Fatalf("%s: %v\n%s\n%s", args, err, progress.String(), out.String())
					}
					var r urlReport
					text, err := os.ReadFile(path)
					if err == nil {
						err = json.Unmarshal(text, &r)
					}
					if err != nil || r.Run == nil || r.Connects.Sockets != test.sockets || r.Run.Publishes != test.sends ||
						r.Run.Deliveries != test.sends*test.each || (r.Joins != nil) != (test.joined > 0) {
						t.Errorf("%s: got %+v, %v; want %+v", args, r, err, test)
					}
					if r.Joins != nil && r.Joins.Sockets != test.joined {
						t.Errorf("%s: got %+v; want %d", args, r.Joins, test.joined)
					}
					for _, part := range []string{"# Load on " + url, transport, "| connects | "} {
						if !strings.Contains(out.String(), part) {
							t.Errorf("%s: the report lacks %q:\n%s", args, part, out.String())
						}
					}
					if got := strings.Contains(out.String(), "p99.9"); got != (test.sends > 0) {
						t.Errorf("%s: latency in the report: %t", args, got)
					}
				}
				var out bytes.Buffer
				err := run(t.Context(), []string{"-url", url, "-transport", transport, "-namespace", "/closed"}, &out, io.Discard)
				if err == nil || !strings.Contains(err.Error(), "no token (100)") || !strings.Contains(err.Error(), "-auth") {
					t.Errorf("without a token: got %v; want its error, and what to do", err)
				}
			}
		})
	}
}

// The scenario that is committed is one.
func TestScenarioFile(t *testing.T) {
	url := loadedBelfry(t)
	args := strings.Fields("-scenario scenarios/chat.json -sockets 100 -senders 10 -duration 200ms -warmup 0s -url " + url)
	if err := run(t.Context(), args, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
}

// Ctrl-C ends a load test with the report until then.
func TestLoadTestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	err := run(ctx, []string{"-url", loadedBelfry(t), "-echo", "-duration", "1h"}, &out, teller(func(line string) {
		if strings.Contains(line, "deliveries/s") {
			cancel()
		}
	}))
	if text := out.String(); err != nil || !strings.Contains(text, "interrupted") || !strings.Contains(text, "p99.9") {
		t.Errorf("got %v and %q; want a report", err, text)
	}
}

// A teller is a writer that tells of what is written.
type teller func(line string)

func (f teller) Write(p []byte) (int, error) { f(string(p)); return len(p), nil }

// What is wrong with flags and files is said, with what to do.
func TestLoadTestUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-url localhost:3000", "http://localhost:3000"},
		{"-url http://x -sockets no", "want a number"},
		{"-url http://x -sockets 0", "0 sockets"},
		{"-url http://x -rate 1 -receivers -1 -inflight 1", "-rate"},
		{"-url http://x -emit say", "JSON"},
		{"-url http://x -transport pigeon", "pigeon"},
		{"-url http://x -duration 3", "30s"},
		{"-url http://x -header x", "Cookie"},
		{"-url http://x unexpected", "unexpected"},
		{"-url http://x -rate 5 -size 3", "-size"},
		{"-url", "-url"},
		{"-url -sockets", "URL"},
		{"-scenario nowhere.json", "nowhere.json"},
		{"-scenario " + writeScenario(t, `{"sockets": 5}`), "-url"},
		{"-scenario " + writeScenario(t, `{"urls": ["http://x"], "socket": 5}`), `"socket"`},
		{"-scenario " + writeScenario(t, `{"urls": ["http://x"]} {}`), "behind its end"},
		{"-scenario " + writeScenario(t, `{"urls": ["http://x"], "traffic": {"kind": "room"}}`), "-rooms"},
		{"-scenario " + writeScenario(t, `{"urls": ["http://x"], "traffic": {"kind": "smoke"}}`), "smoke"},
		{"-scenario " + writeScenario(t, `{"urls": ["http://x"], "duration": "soon"}`), "30s"},
	} {
		err := run(t.Context(), strings.Fields(test.args), io.Discard, io.Discard)
		if exitCode(err) != 2 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v; want an error of usage that has %q", test.args, err, test.want)
		}
	}
	for _, args := range []string{"-url -h", "-url http://x -h", "-scenario x -h"} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(args), &out, io.Discard); err != nil || out.String() != urlHelp {
			t.Errorf("%s: got %v; want the help", args, err)
		}
	}
	// Each flag is in the help.
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	new(urlConfig).changes(flags)
	names := []string{"scenario", "json"}
	flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	for name := range slices.Values(names) {
		if !strings.Contains(urlHelp, "\n  -"+name+" ") {
			t.Errorf("the help lacks -%s", name)
		}
	}
	if err := run(t.Context(), []string{"-url", "http://127.0.0.1:1"}, io.Discard, io.Discard); exitCode(err) != 1 ||
		!strings.Contains(err.Error(), "start the server") {
		t.Errorf("nobody listens: got %v; want what to do", err)
	}
}
