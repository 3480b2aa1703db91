package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestLint: names, types and help texts keep to the conventions of Prometheus.
func TestLint(t *testing.T) {
	t.Parallel()
	problems, err := testutil.CollectAndLint(New(newServer(t, wsserver.Config{TimeHandlers: true})))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func newServer(t testing.TB, cfg wsserver.Config) *wsserver.Server {
	cfg.Logger = kit.Silent
	srv := wsserver.New(cfg)
	t.Cleanup(func() { kit.Close(t, srv) })
	return srv
}

// page is what a handler answers.
func page(t testing.TB, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// notShown are the fields of Stats that no metric shows, and why.
var notShown = map[string]string{
	"Connections":      "Polling and WebSocket",
	"Refused":          "the sum of Refusals",
	"TooSlow":          "two fields of Ended",
	"HandlerTime":      "a histogram: TestMoved",
	"Adapter.JoinTime": "a summary: TestMoved",
	"Adapter.Joins":    "a summary: TestMoved",
}

// TestAllShown: every figure of Stats is the value of one metric. It gives each a value of its own.
func TestAllShown(t *testing.T) {
	t.Parallel()
	var s wsserver.Stats
	s.Namespaces = make([]wsserver.NamespaceStats, 1)
	fill := filler{want: make(map[float64]string)}
	fill.fill(reflect.ValueOf(&s).Elem(), "")
	if len(fill.want) < 50 {
		t.Fatalf("only %d figures were found", len(fill.want))
	}
	got := make(map[float64][]string)
	for _, f := range families {
		f.read(&s, func(v float64, labels ...string) {
			got[v] = append(got[v], fmt.Sprint(f.desc, labels))
		})
	}
	for v, field := range fill.want {
		if len(got[v]) != 1 {
			t.Errorf("Stats.%s is shown %d times, want once: %q", field, len(got[v]), got[v])
		}
	}
}

// A filler gives the numbers in a struct values of their own.
type filler struct {
	next int
	want map[float64]string
}

func (f *filler) fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := strings.TrimPrefix(name+"."+v.Type().Field(i).Name, ".")
			if notShown[field] == "" {
				f.fill(v.Field(i), field)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.fill(v.Index(i), name)
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.number(v, name)))
	case reflect.Uint64:
		v.SetUint(uint64(f.number(v, name)))
	}
}

// number is the next value; a duration is shown in seconds.
func (f *filler) number(v reflect.Value, name string) int {
	f.next++
	n := 1000 + f.next
	if v.Type().String() == "time.Duration" {
		f.want[float64(n)] = name
		return n * 1e9
	}
	f.want[float64(n)] = name
	return n
}

// TestNames: servers of one name, and namespaces whose names are no text, are told apart.
func TestNames(t *testing.T) {
	t.Parallel()
	a, b := newServer(t, wsserver.Config{}), newServer(t, wsserver.Config{})
	c := newServer(t, wsserver.Config{Cluster: wsserver.ClusterConfig{NodeName: "web-1"}})
	a.Of("/\xff")
	a.Of("/\xfe")
	a.Of("/dynamic")
	a.OfFunc(func(string) bool { return false })
	text := page(t, Handler(a, b, c))
	var names []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "belfry_sockets{"); ok {
			name, _, _ := strings.Cut(rest, "}")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) != len(slices.Compact(slices.Clone(names))) || len(names) != 2*(5+1+1) {
		t.Errorf("got %q", names)
	}
	for _, want := range []string{
		a.NodeName() + " (" + a.Node() + `)"`, `node_name="web-1"`, `socket_namespace="dynamic"`, `socket_namespace="/dynamic"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}
