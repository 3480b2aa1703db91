package config_test

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

func dial(t *testing.T, srv *wsserver.Server) *wstest.Client {
	return wstest.Dial(t, srv, wstest.Config{})
}

// TestPrecedence: a flag counts before the environment, that before the file, that before the code.
func TestPrecedence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	write(t, path, "{\n\t\"ping-interval\": \"3s\", \"ping-timeout\": \"3s\",\n\t\"connect-timeout\": \"3s\", \"transports\": [\"polling\"]}")
	p := program("-ping-interval", "1s", "--transports=websocket")
	p.Environ = append(p.Environ, "CHAT_PING_INTERVAL=2s", "CHAT_PING_TIMEOUT=2s", "CHAT_CONFIG="+path,
		"CHAT_SERVICE_HOST=10.0.0.1", "CHAT_PORT=tcp://10.0.0.1:80", "CHAT_PORT_80_TCP_ADDR=10.0.0.1", "CHAT_SOCKET=/run/x")
	for _, d := range []*time.Duration{&p.Server.PingInterval, &p.Server.PingTimeout, &p.Server.ConnectTimeout, &p.Server.UpgradeTimeout} {
		*d = 4 * time.Second
	}
	allowed := false
	p.Server.HTTP.AllowRequest = func(*http.Request) error { allowed = true; return nil }
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Server
	got := []time.Duration{s.PingInterval, s.PingTimeout, s.ConnectTimeout, s.UpgradeTimeout}
	if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("flag, environment, file, code: got %v, want %v", got, want)
	}
	if !slices.Equal(s.Transports, []string{"websocket"}) {
		t.Errorf("transports: got %v", s.Transports)
	}
	if s.HTTP.AllowRequest(nil); !allowed || s.HTTP.CORS != nil || s.HTTP.Cookie != nil || s.Adapter == nil || s.Logger == nil {
		t.Errorf("what text does not say is not the code's: %+v", s)
	}
}

// TestSecretSources: of a secret and its file that counts which has the higher rank.
func TestSecretSources(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "hidden-file\r\n")
	write(t, filepath.Join(dir, "x.yaml"), "secret-file: "+filepath.ToSlash(dir)+"/secret\n")
	for _, test := range []struct{ env, args, want string }{
		{"", "", "hidden-file"},
		{"CHAT_SECRET=hidden-env", "", "hidden-env"},
		{"CHAT_SECRET=hidden-env", "-secret-file " + dir + "/secret", "hidden-file"},
	} {
		p := program(append(strings.Fields(test.args), "-config", filepath.Join(dir, "x.yaml"))...)
		p.Environ = []string{test.env}
		own := ownSettings{Color: "green"}
		p.Own = &own
		if _, err := config.Load(p); err != nil {
			t.Fatal(err)
		}
		if own.Secret != test.want || own.Greeting != "hello" || own.Keep != 24*time.Hour || own.Store.Size != 64<<20 || own.Color != "green" {
			t.Errorf("%v: got %+v", test, own)
		}
	}
}

// TestVersion: -version says the program's own version, or belfry's.
func TestVersion(t *testing.T) {
	for _, own := range []string{"", "v1.2.3"} {
		p := program("-version")
		p.Version = own
		_, err := config.Load(p)
		help, ok := errors.AsType[*config.HelpError](err)
		if want := p.Name + " " + cmp.Or(own, wsserver.Version()) + "\n"; !ok || help.Help != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestHelp: -h lists every setting, with the defaults of the code, the common ones first, and no secret.
func TestHelp(t *testing.T) {
	p := program("-limits.max-rooms", "x", "-h")
	p.About = "Chat is a small chat."
	p.NATS.URL = "nats://u:hidden@h"
	p.Server.PingInterval = 90 * time.Second
	p.Own = &ownSettings{Secret: "hidden"}
	_, err := config.Load(p)
	help, ok := errors.AsType[*config.HelpError](err)
	if !ok {
		t.Fatal(err)
	}
	for _, want := range []string{"Chat is a small chat.\n\n", "CHAT_LOG_LEVEL", "\nCommon:\n  -addr list\n", "\nchat:\n  -greeting text\n        what a newcomer is told (default hello)\n",
		"(default 1m30s)", "-nats.password-file text\n", "-store.size size", "(red or green)", "-h\n        this help\n"} {
		if !strings.Contains(help.Help, want) {
			t.Errorf("the help does not have %q", want)
		}
	}
	if strings.Contains(help.Help, "hidden") {
		t.Error("the help has a secret")
	}
	for line := range strings.Lines(help.Help) {
		if len(line) > 101 {
			t.Errorf("a long line: %q", line)
		}
	}
}

// TestOwnMistakes: what is wrong with the program's own struct is an error that names the field.
func TestOwnMistakes(t *testing.T) {
	for want, own := range map[string]any{
		`there is a setting "addr" already`: &struct {
			X string `key:"addr"`
		}{},
		`key "A b"`: &struct {
			X string `key:"A b"`
		}{},
		"cannot be given as text": &struct {
			X chan int `key:"x"`
		}{},
		`its default "y"`: &struct {
			X int `key:"x" default:"y"`
		}{},
		`the bound "y"`: &struct {
			X int `key:"x" min:"y"`
		}{},
		"a secret is a string": &struct {
			X int `key:"x" secret:"true"`
		}{},
		"tag required: want true": &struct {
			X int `key:"x" required:"yes"`
		}{},
		"want a pointer to a struct": struct{}{},
	} {
		p := program()
		p.Own = own
		if _, err := config.Load(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %q", own, err, want)
		}
	}
	var own struct {
		Token string `key:"token" secret:"true" required:"true" help:"signs"`
	}
	p := program()
	p.Own = &own
	if _, err := config.Load(p); err == nil || err.Error() != "token: not set: want -token-file, CHAT_TOKEN_FILE, or token-file in the file" {
		t.Error(err)
	}
}

// A dialer connects to one address, whatever the adapter says.
type dialer string

func (d dialer) InProcessConn() (net.Conn, error) { return net.Dial("tcp", string(d)) }

// TestCodeAndText: options of NATS by code stay beside those by text.
func TestCodeAndText(t *testing.T) {
	s := natstest.NewServer(t)
	p := program("-adapter", "nats://nobody.invalid?cluster=text")
	p.NATS.Cluster, p.NATS.Options = "code", append(p.NATS.Options, nats.InProcessServer(dialer(strings.TrimPrefix(s.URL(), "nats://"))))
	if err := ready(t, p); err != nil {
		t.Error(err)
	}
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.NATS.Cluster(); got != "text" {
		t.Errorf("cluster %q, want that of the text", got)
	}
}
