package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/belfry-io/belfry/test/kit"
)

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	kit.OK(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

// dial returns the first line that the server at url says to a client.
func dial(t *testing.T, url string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		return "", err
	}
	defer func() { kit.OK(t, c.Close()) }()
	kit.OK(t, c.SetDeadline(time.Now().Add(time.Minute)))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

func TestZeroConfig(t *testing.T) {
	s := start(t, Config{})
	info, err := dial(t, s.URL())
	kit.OK(t, err)
	for _, want := range []string{"INFO ", `"max_payload":1048576`, `"host":"127.0.0.1"`} {
		if !strings.Contains(info, want) {
			t.Errorf("the server says %s, want %s in it", info, want)
		}
	}
	if strings.Contains(info, `"jetstream":true`) {
		t.Errorf("the server offers JetStream: %s", info)
	}
	kit.Equal(t, s.ClusterURL(), "", "cluster URL of a server alone")
	s.Shutdown()
	if _, err := dial(t, s.URL()); err == nil {
		t.Error("the server still answers after Shutdown")
	}
	kit.OK(t, s.Close(), "Close after Shutdown")
}

func TestSettings(t *testing.T) {
	o, err := Config{}.options()
	kit.OK(t, err)
	if o.WriteDeadline != 2*time.Second || o.PingInterval != 10*time.Second || o.MaxControlLine != 4096 || !o.NoSigs || o.JetStream {
		t.Errorf("write deadline %v, ping interval %v, control line %d, no signals %v, JetStream %v, want 2s, 10s, 4096, true, false",
			o.WriteDeadline, o.PingInterval, o.MaxControlLine, o.NoSigs, o.JetStream)
	}
	o, err = Config{ClusterName: "c", MaxPayload: 5, Options: &server.Options{MaxPayload: 6, MaxSubs: 7, WriteDeadline: time.Minute}}.options()
	kit.OK(t, err)
	if o.Cluster.PingInterval != 2*time.Second || o.MaxPayload != 5 || o.MaxSubs != 7 || o.WriteDeadline != time.Minute {
		t.Errorf("route ping interval %v, payload %d, subscriptions %d, write deadline %v, want 2s, 5, 7, 1m",
			o.Cluster.PingInterval, o.MaxPayload, o.MaxSubs, o.WriteDeadline)
	}
}

// TestClusterFields sets each field on the cluster alone: any of them makes one.
func TestClusterFields(t *testing.T) {
	for name, cfg := range map[string]Config{
		"ClusterName":     {ClusterName: "belfry"},
		"ClusterPort":     {ClusterPort: 1234},
		"Routes":          {Routes: []string{"nats://127.0.0.1:1234"}},
		"ClusterUsername": {ClusterUsername: "u"},
		"ClusterPassword": {ClusterPassword: "p"},
	} {
		o, err := cfg.options()
		if err != nil || o.Cluster.Name != "belfry" || o.Cluster.Port == 0 || o.Cluster.Password != cfg.ClusterPassword {
			t.Errorf("%s: %v, and the cluster is %+v", name, err, o.Cluster)
		}
	}
	if o, err := (Config{Username: "u", Password: "p"}).options(); err != nil || o.Cluster.Port != 0 {
		t.Errorf("none: %v, and the cluster is %+v", err, o.Cluster)
	}
}

// TestDeadline: that of the caller counts, be it early or late.
func TestDeadline(t *testing.T) {
	for _, far := range []time.Duration{time.Minute, time.Hour, 0} {
		ctx, cancel := context.WithCancel(t.Context())
		want := startTimeout
		if far > 0 {
			ctx, cancel = context.WithTimeout(t.Context(), far)
			want = far
		}
		bound, end := bounded(ctx)
		if deadline, _ := bound.Deadline(); time.Until(deadline) > want || time.Until(deadline) < want-startTimeout/2 {
			t.Errorf("a ctx of %v ends in %v, want %v", far, time.Until(deadline), want)
		}
		end()
		cancel()
	}
}

func TestRefusals(t *testing.T) {
	taken := start(t, Config{})
	var port int
	if _, err := fmt.Sscanf(taken.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	user := []*server.User{{Username: "u", Password: "p"}}
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"OpenHost", Config{Host: "0.0.0.0"}, "set Username and Password"},
		{"OpenHostInOptions", Config{Options: &server.Options{Host: "0.0.0.0"}}, "set Username and Password"},
		{"OpenHostName", Config{Host: "example.invalid"}, "set Username and Password"},
		{"OpenCluster", Config{Host: "0.0.0.0", Username: "u", Password: "p", ClusterName: "c"}, "set ClusterUsername and ClusterPassword"},
		{"NoAuthUser", Config{Host: "0.0.0.0", Options: &server.Options{Users: user, NoAuthUser: "u"}}, "NoAuthUser"},
		{"JetStream", Config{Options: &server.Options{JetStream: true}}, "JetStream"},
		{"Monitoring", Config{Options: &server.Options{HTTPPort: -1}}, "monitoring"},
		{"WebSocket", Config{Options: &server.Options{Websocket: server.WebsocketOpts{Port: -1}}}, "WebSocket"},
		{"MQTT", Config{Options: &server.Options{MQTT: server.MQTTOpts{Port: -1}}}, "MQTT"},
		{"Leaf", Config{Options: &server.Options{LeafNode: server.LeafNodeOpts{Port: -1}}}, "leaf"},
		{"Gateway", Config{Options: &server.Options{Gateway: server.GatewayOpts{Name: "g"}}}, "gateways"},
		{"MaxPayload", Config{MaxPayload: 9 << 20}, "MaxPayload"},
		{"Route", Config{Routes: []string{"http://u:secret@h:1"}}, "want nats://host:port"},
		{"PortInUse", Config{Port: port}, "address already in use"},
		{"BadHost", Config{Host: "127.0.0.256", Username: "u", Password: "p"}, "start"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "PortInUse" && runtime.GOOS == "windows" {
				tc.want = "" // in other words there
			}
			s, err := Start(t.Context(), tc.cfg)
			if err == nil {
				s.Shutdown()
				t.Fatalf("no error, want one with %q", tc.want)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %q and no password in it", err, tc.want)
			}
		})
	}
}

func TestGuardLetsIn(t *testing.T) {
	for name, cfg := range map[string]Config{
		"Loopback":  {Host: "127.0.0.2", ClusterName: "c"},
		"Loopback6": {Host: "::1"},
		"Localhost": {Host: "localhost"},
		"User":      {Host: "0.0.0.0", Username: "u", Password: "p"},
		"Cluster":   {Host: "0.0.0.0", Username: "u", Password: "p", ClusterUsername: "c", ClusterPassword: "q"},
		"Users":     {Host: "0.0.0.0", Options: &server.Options{Users: []*server.User{{Username: "u", Password: "p"}}}},
	} {
		if _, err := cfg.options(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCluster(t *testing.T) {
	servers, err := StartCluster(t.Context(), 3, Config{ClusterUsername: "c", ClusterPassword: "q"})
	kit.OK(t, err)
	t.Cleanup(func() { ShutdownAll(servers) })
	for _, s := range servers {
		if got := s.nats.NumRoutes(); got != 8 {
			t.Errorf("%s has %d routes, want 8: 3 of the pool and one of the system account to 2 servers", s.URL(), got)
		}
	}
	// A server without the password does not get in.
	stranger := start(t, Config{ClusterName: "belfry", Routes: []string{servers[0].ClusterURL()}})
	ctx := kit.Within(t, 300*time.Millisecond)
	kit.ErrorIs(t, WaitForRoutes(ctx, []*Server{stranger, servers[0]}), context.DeadlineExceeded,
		"a server without the cluster's password has no routes")
}

func TestClusterErrors(t *testing.T) {
	for name, try := range map[string]func() ([]*Server, error){
		"NoServer": func() ([]*Server, error) { return StartCluster(t.Context(), 0, Config{}) },
		"Port":     func() ([]*Server, error) { return StartCluster(t.Context(), 2, Config{Port: 1}) },
		"Open":     func() ([]*Server, error) { return StartCluster(t.Context(), 2, Config{Host: "0.0.0.0"}) },
	} {
		if servers, err := try(); err == nil {
			ShutdownAll(servers)
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLogger(t *testing.T) {
	var text kit.Log
	s := start(t, Config{Logger: slog.New(slog.NewTextHandler(&text, nil))})
	s.Shutdown()
	if got := text.String(); !strings.Contains(got, "Server is ready") {
		t.Errorf("the log is %q, want that the server is ready", got)
	}
}
