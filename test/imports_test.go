package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/belfry-io/belfry"

// tops are the folders at the top of the module.
var tops = []string{"adapter", "natsadapter", "wsserver", "examples", "bench", "test"}

// mayImport says which packages of this module each package imports directly, at the most; a name that ends in /... stands for all
// below it, and "std" for no package of another module. What is not listed may import nothing of the module's.
var mayImport = map[string][]string{
	"adapter":                   {"adapter/shrink", "std"},
	"adapter/cluster":           {"adapter", "adapter/internal/...", "adapter/shrink", "std"},
	"adapter/sockets":           {"adapter/cluster", "adapter/packet", "adapter/sockets/payload", "std"},
	"adapter/internal/ask":      {"adapter", "adapter/internal/envelope", "std"},
	"adapter/internal/envelope": {"adapter/internal/mesh", "std"},
	"adapter/internal/history":  {"adapter/shrink", "std"},
	"adapter/internal/mesh":     {"adapter/shrink", "std"},
	"adapter/internal/rooms":    {"adapter/shrink", "std"},
	"adapter/packet":            {"std"},
	"adapter/sockets/payload":   {"adapter/packet", "std"},
	"adapter/adaptertest":       {"adapter", "std"},
	"adapter/emitter":           {"adapter", "adapter/cluster", "adapter/packet", "adapter/sockets", "std"},
	"adapter/shrink":            {"std"},
	"natsadapter":               {"adapter", "adapter/shrink", "github.com/nats-io/nats.go"},
	// The one place that knows both, since it is where a program's text becomes its server.
	"natsadapter/config":           {"adapter", "natsadapter", "wsserver", "github.com/nats-io/nats.go", "go.yaml.in/yaml/v3"},
	"natsadapter/service":          {"adapter", "adapter/cluster", "adapter/emitter", "adapter/sockets", "natsadapter", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/micro"},
	"natsadapter/embedded":         {"github.com/nats-io/nats-server/v2/..."},
	"natsadapter/natstest":         {"natsadapter/embedded", "std"},
	"wsserver":                     {"adapter", "adapter/cluster", "adapter/packet", "adapter/sockets", "adapter/shrink", "adapter/sockets/payload", "wsserver/internal/budget", "wsserver/internal/engine", "wsserver/internal/engineio", "github.com/rs/cors", "golang.org/x/time/rate"},
	"wsserver/metrics":             {"adapter", "wsserver", "github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/..."},
	"wsserver/tracing":             {"adapter/cluster", "adapter/sockets", "wsserver", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/..."},
	"wsserver/wstest":              {"adapter/packet", "wsserver/internal/wsrig", "std"},
	"wsserver/internal/wsrig":      {"wsserver/internal/transport", "std"},
	"wsserver/internal/engine":     {"adapter/shrink", "wsserver/internal/budget", "wsserver/internal/engineio", "wsserver/internal/outbox", "wsserver/internal/transport", "github.com/rs/cors", "golang.org/x/time/rate", "std"},
	"wsserver/internal/echoserver": {"std"},
	"wsserver/internal/engineecho": {"wsserver/internal/echoserver", "wsserver/internal/engine", "github.com/rs/cors"},
	"wsserver/internal/wsecho":     {"wsserver/internal/echoserver", "wsserver/internal/transport", "std"},
	"wsserver/internal/engineio":   {"std"},
	"wsserver/internal/netpoll":    {"std"},
	"wsserver/internal/budget":     {"std"},
	"wsserver/internal/outbox":     {"wsserver/internal/budget", "std"},
	"wsserver/internal/transport":  {"wsserver/internal/budget", "wsserver/internal/engineio", "wsserver/internal/netpoll", "wsserver/internal/outbox", "github.com/gobwas/ws"},
	"examples/chat":                {"adapter", "adapter/cluster", "natsadapter", "natsadapter/config", "natsadapter/embedded", "natsadapter/service", "wsserver", "wsserver/metrics", "std"},
	"examples/notify":              {"adapter/cluster", "natsadapter/config", "natsadapter/embedded", "natsadapter/service", "wsserver", "wsserver/metrics", "github.com/MicahParks/keyfunc/v3", "github.com/golang-jwt/jwt/v5", "golang.org/x/time/rate", "std"},
	"examples/notify/small":        {"natsadapter/config", "wsserver", "github.com/golang-jwt/jwt/v5", "std"},
	"examples/guides/chat":         {"natsadapter/config", "wsserver", "std"},
	"bench":                        {"adapter", "adapter/cluster", "adapter/packet", "bench/internal/...", "natsadapter", "natsadapter/embedded", "wsserver", "wsserver/msgpack", "github.com/nats-io/nats.go", "std"},
	"bench/internal/crowd":         {"std"},
	"bench/internal/page":          {"bench/internal/result", "std"},
	"bench/internal/result":        {"std"},
	"test":                         {"std"},
	"test/figures":                 {"std"},
	"test/protocolapp":             {"wsserver", "std"},
	"test/need":                    {"std"},
	"test/child":                   {"std"},
	"test/kit":                     {"std"},
	"test/dealer":                  {"std"},
	"test/servers":                 {"adapter", "adapter/packet", "test/kit", "wsserver", "wsserver/wstest", "std"},
	"test/chaos":                   {"std"},
	"test/soak":                    {"adapter", "adapter/cluster", "adapter/emitter", "natsadapter", "natsadapter/embedded", "wsserver", "github.com/gobwas/ws", "github.com/gobwas/ws/wsutil"},
	"test/returns":                 {"adapter/cluster", "adapter/sockets", "natsadapter", "natsadapter/embedded", "test/dealer", "test/child", "wsserver", "github.com/gobwas/ws", "github.com/gobwas/ws/wsutil"},
	"test/leak":                    {"std"},
	"test/slowlink":                {"test/need", "std"},
	"test/protocol":                {"std"},
	"wsserver/msgpack":             {"adapter/packet", "github.com/tinylib/msgp/msgp"},
}

// TestImports holds the house to its plan: imports run one way, and each dependency has its one place.
func TestImports(t *testing.T) {
	notRaced(t)
	t.Parallel()
	for _, goos := range []string{"linux", "darwin"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
		cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages := json.NewDecoder(strings.NewReader(string(out)))
		n := 0
		for {
			var p struct {
				ImportPath string
				Imports    []string
			}
			if err := packages.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			n++
			name := strings.TrimPrefix(p.ImportPath, module+"/")
			if top, _, _ := strings.Cut(name, "/"); !slices.Contains(tops, top) {
				t.Errorf("package %s is at the top of the module, where only %s are", name, strings.Join(tops, ", "))
			}
			allowed, ok := mayImport[name]
			if !ok {
				t.Errorf("package %s is not in the plan of the house: add it to mayImport, and to ARCHITECTURE.md", name)
			}
			for _, imported := range p.Imports {
				// What is below test is for tests, whose imports go list does not count here.
				if strings.HasPrefix(imported, module+"/test/") && !strings.HasPrefix(name, "test/") {
					t.Errorf("%s: %s imports %s, which is for tests only", goos, name, imported)
				}
				if !standard(imported) && !matches(strings.TrimPrefix(imported, module+"/"), allowed) {
					t.Errorf("%s: %s imports %s; it may import %s", goos, name, imported, strings.Join(allowed, ", "))
				}
			}
		}
		if n < len(mayImport)/2 {
			t.Errorf("%s: go list found %d packages only", goos, n)
		}
	}
}

// linkedBy says for modules that are heavy which packages alone may link them, besides programs.
var linkedBy = map[string][]string{
	"github.com/prometheus/": {"wsserver/metrics"},
	"go.opentelemetry.io/":   {"wsserver/tracing"},
}

// TestLinked: a program that does not import what needs a heavy module does not link it.
func TestLinked(t *testing.T) {
	notRaced(t)
	t.Parallel()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Deps", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := json.NewDecoder(strings.NewReader(string(out)))
	found := make(map[string]bool)
	for {
		var p struct {
			ImportPath, Name string
			Deps             []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		for heavy, by := range linkedBy {
			if !slices.ContainsFunc(p.Deps, func(dep string) bool { return strings.HasPrefix(dep, heavy) }) {
				continue
			}
			found[heavy] = true
			if p.Name != "main" && !slices.Contains(by, name) {
				t.Errorf("%s links %s, which is for %s", name, heavy, strings.Join(by, ", "))
			}
		}
	}
	for heavy := range linkedBy {
		if !found[heavy] {
			t.Errorf("nothing links %s", heavy)
		}
	}
}

// standard reports whether a package is of the standard library: the first element of all other paths has a dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func matches(path string, allowed []string) bool {
	for _, a := range allowed {
		if base, below := strings.CutSuffix(a, "/..."); path == a || below && strings.HasPrefix(path, base+"/") {
			return true
		}
	}
	return false
}
