package natsadapter

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/test/kit"
)

func TestFromURL(t *testing.T) {
	for _, tc := range []struct {
		text    string
		cluster string
		prefix  string
		name    string
		servers []string
	}{
		{"nats://localhost:4222", "belfry", "belfry", "", []string{"nats://localhost:4222"}},
		{"nats://h", "belfry", "belfry", "", []string{"nats://h"}},
		{"nats://h:1/?cluster=chat", "chat", "belfry", "", []string{"nats://h:1"}},
		{"nats://h:1,nats://h2:2?cluster=chat&prefix=a.b&name=x", "chat", "a.b", "x", []string{"nats://h:1", "nats://h2:2"}},
		{"tls://u:p%2Cw@h:1, h2:2?cluster=a%20b%3F", "a b?", "belfry", "", []string{"tls://u:p,w@h:1", "tls://h2:2"}},
		{"nats://[::1]:4222?cluster=", "belfry", "belfry", "", []string{"nats://[::1]:4222"}},
	} {
		a, err := FromURL(tc.text)
		if err != nil {
			t.Errorf("FromURL(%q): %v", tc.text, err)
			continue
		}
		if a.cfg.Cluster != tc.cluster || a.cfg.Prefix != tc.prefix || a.cfg.Name != tc.name {
			t.Errorf("FromURL(%q): cluster %q, prefix %q, name %q, want %q, %q, %q", tc.text,
				a.cfg.Cluster, a.cfg.Prefix, a.cfg.Name, tc.cluster, tc.prefix, tc.name)
		}
		set, err := a.resolve()
		kit.OK(t, err)
		var got []string
		for _, u := range set.servers {
			got = append(got, u.String())
		}
		kit.EqualSlices(t, got, tc.servers, "FromURL", tc.text, "servers")
	}
}

func TestFromURLErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "want nats://host:port"},
		{"?cluster=a", "want nats://host:port"},
		{"redis://h:1", "want nats or tls"},
		{"http://h:1", "want nats or tls"},
		{"ws://h:1", "want nats or tls"},
		{"nats://h:1,redis://h:1", "server 2"},
		{"nats://", "no host"},
		{"nats://h:1,", "server 2 of the URL: no host"},
		{"nats://:4222", "no host"},
		{"nats://h:0", "want 1 to 65535"},
		{"nats://h:70000", "want 1 to 65535"},
		{"nats://h:port", "want nats://host:port"},
		{"nats://h:1/path", "unexpected text after the port"},
		{"nats://h:1#f", "unexpected text after the port"},
		{"nats://h:1?cluster=a,nats://h:2?cluster=b", ""}, // the parameter holds the rest
		{"nats://h:1?clutser=a", `unknown parameter "clutser"`},
		{"nats://h:1?cluster=a&cluster=b", "2 times"},
		{"nats://h:1?cluster=%zz", "parameters of the URL"},
		{"nats://h:1?prefix=a..b", `prefix "a..b"`},
		{"nats://u:secret:1", "want nats://host:port"},
		{"nats://u:secret%zz@h:1", "want nats://host:port"},
		{"redis://u:secret@h:1", "want nats or tls"},
		{"nats://u:secret@h:1/x", "unexpected text after"},
	} {
		_, err := FromURL(tc.text)
		switch {
		case tc.want == "":
			kit.OK(t, err, "FromURL", tc.text)
		case err == nil:
			t.Errorf("FromURL(%q): no error, want one with %q", tc.text, tc.want)
		case !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "natsadapter: "):
			t.Errorf("FromURL(%q): %v, want %q in it", tc.text, err, tc.want)
		case strings.Contains(err.Error(), "secret"):
			t.Errorf("FromURL(%q): the error tells the password: %v", tc.text, err)
		}
	}
}

func TestZeroConfig(t *testing.T) {
	a := New(Config{})
	set, err := a.resolve()
	kit.OK(t, err)
	kit.Equal(t, set.servers[0].String(), nats.DefaultURL)
	kit.Equal(t, set.naming.root, "belfry.v1.rbelfry.", "subjects begin with")
}
