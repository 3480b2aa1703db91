package test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestReadmeProgram does what the README says: its program is pasted into a new module and run. It answers on "/", and a client joins and talks.
func TestReadmeProgram(t *testing.T) {
	notRaced(t)
	t.Parallel()
	var program block
	for _, b := range blocks(t, "go") {
		if strings.HasSuffix(b.document, "README.md") && whole.MatchString(b.text) {
			program = b
		}
	}
	dir := newModule(t)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program.text), 0o600); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "hello.exe") // which only Windows asks for
	build := exec.Command("go", "build", "-o", exe, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", program, err, out)
	}
	cmd := exec.Command(exe, "-addr", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	lines := bufio.NewScanner(stderr)
	address := ""
	for address == "" && lines.Scan() {
		_, address, _ = strings.Cut(lines.Text(), "address=")
	}
	answer, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(page), "new WebSocket(") {
		t.Fatalf("GET /: %s, %v: %s", answer.Status, err, page)
	}
	dial := func() *wstest.Client {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return wstest.New(t, nc, wstest.Config{})
	}
	ann, bob := dial(), dial()
	if got := string(ann.EmitWithAck("join", "lobby").JSON()); got != "[true]" {
		t.Errorf("join: got %s", got)
	}
	bob.Emit("say", map[string]string{"room": "lobby", "text": "hello"})
	var who, text string
	if err := ann.Next("said").Decode(&who, &text); err != nil || who != bob.ID() || text != "hello" {
		t.Errorf("said: got %q, %q, %v", who, text, err)
	}
}

// TestGuidePermissions: a NATS server with the guide's accounts lets a node, the service and a backend do what they do, and no more.
func TestGuidePermissions(t *testing.T) {
	t.Parallel()
	conf := regexp.MustCompile(`\$([A-Z]+)_PASSWORD`).ReplaceAllString(blocks(t, "nats")[0].text, "secret")
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := natsserver.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	options.Port = 0 // a free one
	broker := natstest.Start(t, embedded.Config{Options: options})
	as := func(user string) natsadapter.Config {
		return natsadapter.Config{URL: broker.URL(), Cluster: "chat", Options: []nats.Option{nats.UserInfo(user, "secret")}}
	}
	ctx := kit.Within(t, kit.Patience)
	var servers []*wsserver.Server
	for range 2 {
		srv := newServer(t, wsserver.Config{Adapter: natsadapter.New(as("node"))})
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Join(ctx, "lobby") })
		if err := srv.Ready(ctx); err != nil {
			t.Fatalf("a node: %v", err)
		}
		servers = append(servers, srv)
	}
	c := wstest.Dial(t, servers[0], wstest.Config{})
	kit.Eventually(t, "the socket's room", func() bool { return len(servers[0].Of("/").SocketsIn("lobby")) == 1 })
	if n, err := servers[1].To("lobby").EmitCounted(ctx, "news"); n != 1 || err != nil {
		t.Errorf("from the other node: %d, %v", n, err)
	}
	c.Next("news")

	outside := wsserver.New(wsserver.Config{Adapter: natsadapter.New(as("backend")), Logger: kit.Silent})
	defer kit.Close(t, outside)
	if err := outside.Ready(ctx); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("a node as the backend: %v, want %v", err, adapter.ErrRefused)
	}
	s, err := service.Start(ctx, service.Config{Adapter: natsadapter.New(as("service"))})
	if err != nil {
		t.Fatalf("the service: %v", err)
	}
	defer kit.Close(t, s)
	backend, err := nats.Connect(broker.URL(), nats.UserInfo("backend", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	reply, err := backend.RequestWithContext(ctx, s.Subject()+".emit", []byte(`{"rooms":["lobby"],"event":"news"}`))
	if err != nil || string(reply.Data) != `{"ok":true,"count":1}` {
		t.Errorf("the backend's request: %v, %v", reply, err)
	}
}

// TestGuideCommands: what the guides run is there, and knows the flags that they give.
func TestGuideCommands(t *testing.T) {
	flag := regexp.MustCompile(`^--?([a-z][a-z.-]*)(=.*)?$`)
	found := 0
	for _, b := range blocks(t, "sh") {
		for _, line := range strings.Split(b.text, "\n") {
			words := strings.Fields(line)
			i := slices.Index(words, "run")
			if i != 1 || words[0] != "go" || !strings.HasPrefix(words[2], "./") {
				continue
			}
			found++
			known := commandFlags(t, filepath.Join("..", words[2]))
			for _, word := range words[3:] {
				if m := flag.FindStringSubmatch(word); m != nil && !slices.Contains(known, m[1]) {
					t.Errorf("%v: %s has no flag -%s; it has %q", b, words[2], m[1], known)
				}
			}
		}
	}
	if found < 3 {
		t.Errorf("%d commands were found, which is not all of them", found)
	}
}

// commandFlags are the flags that a command's source declares: in a call such as flags.BoolVar(&all, "all", ...), as a key of a struct for
// natsadapter/config, or as a constant such as "-peers". To link each command and ask for its -h takes longer than all else here.
func commandFlags(t *testing.T, dir string) (names []string) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("%s: got %q, %v, want a command", dir, sources, err)
	}
	declared := regexp.MustCompile(`(?:\bflags?\.[A-Z]\w*\((?:&?[\w.]+, )?"|= "-|key:")([a-z][a-z.-]*)"`)
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// TestGuideFigures: each command of the guide for production is one of bench/RESULTS.md, and each figure beside it stands there.
func TestGuideFigures(t *testing.T) {
	text, err := os.ReadFile("../examples/guides/production.md")
	if err != nil {
		t.Fatal(err)
	}
	results, err := os.ReadFile("../bench/RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\|[^|]+\\| ([0-9.]+)[^|]*\\| `(go run [^`]+)` \\|$").FindAllStringSubmatch(string(text), -1)
	if len(rows) < 5 {
		t.Errorf("%d figures were found, which is not all of them", len(rows))
	}
	for _, row := range rows {
		if !regexp.MustCompile(`\b`+regexp.QuoteMeta(row[1])+`\b`).Match(results) || !strings.Contains(string(results), row[2]) {
			t.Errorf("bench/RESULTS.md has no %s of %s", row[1], row[2])
		}
	}
}
