package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/metrics"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestPrometheus has a real Prometheus scrape two servers, and answer every question of the dashboard. With METRICS_SCREENSHOT, the path of
// a picture, it lets them run for a while and takes a picture of Prometheus' own page.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	program := need.Prometheus(t)
	picture := os.Getenv("METRICS_SCREENSHOT")
	cluster := new(adapter.Memory)
	var servers []*wsserver.Server
	for i := range 2 {
		srv := wsserver.New(wsserver.Config{
			Adapter: cluster, TimeHandlers: true, Logger: kit.Silent, Cluster: wsserver.ClusterConfig{NodeName: fmt.Sprint("web-", i+1)},
		})
		defer kit.Close(t, srv)
		srv.Of("/").On("say", func(ctx context.Context, e *wsserver.Event) error { return srv.To("lobby").Emit(ctx, "said") })
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Join(ctx, "lobby") })
		servers = append(servers, srv)
	}
	web := httptest.NewServer(metrics.Handler(servers...))
	defer web.Close()
	base := startPrometheus(t, program, web.Listener.Addr().String())

	clients := []*wstest.Client{wstest.Dial(t, servers[0], wstest.Config{})}
	for begun := time.Now(); picture != "" && time.Since(begun) < 40*time.Second; time.Sleep(50 * time.Millisecond) {
		if len(clients) < 60 && int(time.Since(begun)/(500*time.Millisecond)) > len(clients) {
			clients = append(clients, wstest.Dial(t, servers[len(clients)%2], wstest.Config{}))
		}
		for _, c := range clients {
			c.Emit("say")
			c.Pending()
		}
	}
	kit.Until(t, func() error {
		return asked(base, `sum(belfry_sockets{socket_namespace="/",transport="websocket"})`, fmt.Sprint(len(clients)))
	})
	kit.Until(t, func() error {
		clients[0].Emit("say")
		return asked(base, `sum(rate(belfry_events_total[1m])) > bool 0`, "1")
	})
	for _, expr := range dashboardExprs(t) {
		if err := asked(base, expr, ""); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
	if picture != "" {
		photograph(t, base, picture)
	}
}

// startPrometheus runs Prometheus, which scrapes target twice a second, until the test ends. It returns its address.
func startPrometheus(t *testing.T, program, target string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 500ms}\n" +
		"scrape_configs: [{job_name: belfry, static_configs: [{targets: [\"" + target + "\"]}]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // Prometheus tells its port only in its log
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	log := new(kit.Log)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		killed := time.AfterFunc(15*time.Second, func() { cmd.Process.Kill() })
		defer killed.Stop()
		cmd.Wait()
	})
	base := "http://" + addr
	kit.Until(t, func() error {
		if err := asked(base, "count(belfry_build_info)", "2"); err != nil {
			return fmt.Errorf("%w\n%s", err, log)
		}
		return nil
	})
	return base
}

// asked asks Prometheus, and says how the answer is not the one value that is wanted; any will do for "".
func asked(base, expr, want string) error {
	answer, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var a struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&a); err != nil {
		return err
	}
	switch {
	case a.Status != "success":
		return fmt.Errorf("%s: %s", a.Status, a.Error)
	case want != "" && (len(a.Data.Result) != 1 || fmt.Sprint(a.Data.Result[0].Value[1]) != want):
		return fmt.Errorf("%s is %v, want %s", expr, a.Data.Result, want)
	}
	return nil
}

// dashboardExprs are what the dashboard asks for, with its variables set.
func dashboardExprs(t *testing.T) (exprs []string) {
	t.Helper()
	data, err := os.ReadFile("../wsserver/metrics/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, strings.NewReplacer("$node", ".*", "$__rate_interval", "5s").Replace(target.Expr))
		}
	}
	if len(exprs) < 20 {
		t.Fatalf("the dashboard asks for %d things only", len(exprs))
	}
	return exprs
}

// photograph takes a picture of Prometheus' page with graphs of the last minute.
func photograph(t *testing.T, base, path string) {
	t.Helper()
	chromium := need.Chromium(t)
	query, until := make(url.Values), time.Now().UTC().Format(time.DateTime) // the browser needs a while to begin
	for i, expr := range []string{
		"belfry_connections", "rate(belfry_events_total[5s])", "sum by (node_name) (rate(belfry_frames_sent_total[5s]))",
	} {
		query.Set(fmt.Sprintf("g%d.expr", i), expr)
		query.Set(fmt.Sprintf("g%d.tab", i), "0")
		query.Set(fmt.Sprintf("g%d.range_input", i), "45s")
		query.Set(fmt.Sprintf("g%d.step_input", i), "1")
		query.Set(fmt.Sprintf("g%d.end_input", i), until)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+t.TempDir(),
		"--window-size=1100,2250", "--virtual-time-budget=20000", "--screenshot="+path, base+"/classic/graph?"+query.Encode())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
}
