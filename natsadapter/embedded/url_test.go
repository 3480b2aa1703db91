package embedded_test

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// TestFromURL joins three servers by their texts, one route each, and has a message cross.
func TestFromURL(t *testing.T) {
	first, err := embedded.Start(t.Context(), embedded.Config{Username: "u", Password: "p",
		ClusterUsername: "belfry", ClusterPassword: "shared"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Shutdown)
	var conns []*nats.Conn
	for range 2 {
		clients, stop, err := embedded.FromURL(t.Context(), &url.URL{Scheme: "embedded", User: url.UserPassword("u", "p"),
			RawQuery: url.Values{"listen": {"127.0.0.1:0"}, "routes": {first.ClusterURL()}, "secret": {"shared"}}.Encode()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		nc, err := nats.Connect(clients.String(), nats.MaxReconnects(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		conns = append(conns, nc)
	}
	at, err := url.Parse(conns[0].ConnectedUrl())
	if err != nil {
		t.Fatal(err)
	}
	at.User = nil
	if nc, err := nats.Connect(at.String()); err == nil {
		nc.Close()
		t.Errorf("a client without the user may connect to %s", at)
	}
	got := make(chan string, 1)
	if _, err := conns[1].Subscribe("x", func(m *nats.Msg) {
		select {
		case got <- string(m.Data):
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	for { // until the route is there
		if err := conns[0].Publish("x", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := conns[0].Flush(); err != nil {
			t.Fatal(err)
		}
		if err := conns[1].Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case text := <-got:
			if text != "hello" {
				t.Errorf("got %q", text)
			}
			return
		case <-t.Context().Done():
			t.Fatal("no message came")
		default:
		}
	}
}

func TestFromURLErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"embedded:?lisen=:1", `unknown parameter "lisen": want listen, routes or secret`},
		{"embedded:?listen=127.0.0.1:0&listen=127.0.0.1:0", "2 times"},
		{"embedded:?listen=127.0.0.1:70000", "from 0 to 65535"},
		{"embedded:?listen=127.0.0.1:0&routes=nats://a:1,nats://u:hidden@b:1", "route 2: want nats://host:port"},
		{"embedded:?listen=:0", "set ClusterUsername and ClusterPassword"},
		{"embedded://0.0.0.0:0", "set Username and Password"},
		{"embedded:?secret=hid;den", "the parameters"},
	} {
		at, err := url.Parse(test.text)
		if err != nil {
			t.Fatal(err)
		}
		_, stop, err := embedded.FromURL(t.Context(), at, slog.New(slog.DiscardHandler))
		if err == nil {
			stop()
			t.Errorf("%s: no error, want one with %q", test.text, test.want)
		} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hid") {
			t.Errorf("%s: %v, want %q", test.text, err, test.want)
		}
	}
}
