package config

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
)

// schemes are the adapters that text can name.
var schemes = []string{"memory", "nats", "tls", "embedded"}

const wantAdapter = "memory:, nats://host:4222, tls://host:4222 or embedded:"

// adapterParams takes the parameters of the adapter for the settings of their names.
func (l *loaded) adapterParams(g *giving) {
	from, said := l.given["adapter"]
	servers, query, _ := strings.Cut(l.values.Adapter, "?")
	l.values.Adapter = servers
	scheme, rest, _ := strings.Cut(servers, ":")
	prefix := map[string]string{"nats": "nats.", "tls": "nats.", "embedded": "embedded."}[scheme]
	switch {
	case servers == "" && !said: // the program's own adapter
		return
	case scheme == "memory" && (rest != "" || query != ""):
		g.wrong(l.wrong("adapter", "memory: alone", "there is something behind memory:"))
		return
	case scheme == "embedded" && strings.Trim(rest, "/") != "":
		g.wrong(l.wrong("adapter", "embedded: or embedded:?listen=:6222&routes=nats://a:6222", "there is something behind embedded:"))
		return
	case scheme == "memory":
		return
	case prefix == "":
		want := wantAdapter
		if near := nearest(scheme, schemes); near != "" {
			want = near + ":"
		}
		g.wrong(l.wrong("adapter", want, "the scheme before the first colon is unknown")) // the text may be a password
		return
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		g.wrong(l.wrong("adapter", "name=value&name=value, special characters as %XX", "its parameters cannot be read"))
		return
	}
	for name, texts := range params {
		key := prefix + name
		if l.book.byKey[key] == nil {
			key = "nats." + name // those of the cluster are also for embedded:
		}
		source := from.source + ", parameter " + quoteName(name)
		if l.book.byKey[key] == nil || l.book.byKey[key].group == l.book.name {
			want := "one of those that -h lists below " + prefix
			if near := nearest(name, l.below(prefix)); near != "" {
				want = near
			}
			g.wrong(&KeyError{Key: "adapter", Source: source, Problem: "there is no such parameter", Want: want})
			continue
		}
		for _, text := range texts {
			if old, ok := l.given[key]; ok {
				g.wrong(&KeyError{Key: key, Source: source, Problem: "given twice, also by " + old.source, Want: "one of them"})
				continue
			}
			l.given[key] = given{text, source, from.rank}
		}
	}
}

// below returns the names of settings behind a prefix.
func (l *loaded) below(prefix string) (names []string) {
	for _, s := range l.book.settings {
		if name, ok := strings.CutPrefix(s.key, prefix); ok {
			names = append(names, name)
		}
	}
	return names
}

// openAdapter sets Server.Adapter.
func (c *Config) openAdapter() error {
	v := c.loaded.values
	scheme, _, _ := strings.Cut(v.Adapter, ":")
	c.servers = v.Adapter
	switch scheme {
	case "":
		return nil // the program's own
	case "memory":
		c.Server.Adapter = new(adapter.Memory)
		return nil
	case "embedded":
		if err := c.startEmbedded(); err != nil {
			return err
		}
	}
	c.NATS = natsadapter.New(c.natsConfig())
	c.Server.Adapter = c.NATS
	return nil
}

// startEmbedded starts the NATS server that the adapter is then about.
func (c *Config) startEmbedded() error {
	l, e := c.loaded, c.loaded.values.Embedded
	at := &url.URL{Scheme: "embedded", Host: e.Clients}
	if e.User != "" {
		at.User = url.UserPassword(e.User, e.Password)
	}
	params := make(url.Values)
	for name, text := range map[string]string{"listen": e.Listen, "routes": strings.Join(e.Routes, ","), "secret": e.Secret} {
		if text != "" {
			params.Set(name, text)
		}
	}
	at.RawQuery = params.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), c.StartTime)
	defer cancel()
	clients, stop, err := c.program.Embedded(ctx, at, c.Logger)
	if err != nil {
		key := "adapter"
		if strings.Contains(err.Error(), "listen") {
			key = "embedded.listen"
			if e.Listen == "" {
				key = "embedded.clients"
			}
		}
		return keyed(wrong("an address that is free on this host", "the NATS server did not start (%v)", err), key, l.source(key))
	}
	c.stop = stop
	c.servers = clients.String()
	return nil
}

// checkEmbedded notes what is wrong with the settings of the embedded server.
func (l *loaded) checkEmbedded(g *giving) {
	v := l.values
	if !strings.HasPrefix(v.Adapter, "embedded:") {
		l.unused(g, "embedded.", "embedded:")
		return
	}
	e := &v.Embedded
	if !l.embeds {
		g.wrong(l.wrong("adapter", "nats://host:4222, or a program that gives config.Load the function embedded.FromURL",
			"this program has no NATS server in it"))
		return
	}
	if (e.User == "") != (e.Password == "") {
		key, other := "embedded.user", "embedded.password"
		if e.User == "" {
			key, other = other, key
		}
		g.wrong(l.wrong(key, other+", too", "it is of no use without %s", other))
	}
	if e.Clients != "" && !local(e.Clients) && e.User == "" {
		g.wrong(l.wrong("embedded.clients", "embedded.user and embedded.password, or an address such as 127.0.0.1:4222",
			"%s is open to others, and any of them could read and write all messages", quote(e.Clients)))
	}
	if len(e.Routes) > 0 && e.Listen == "" {
		g.wrong(l.wrong("embedded.routes", "embedded.listen, too, such as :6222", "the other nodes could not connect to this one"))
	}
	if e.Listen != "" && !local(e.Listen) && e.Secret == "" {
		g.wrong(l.wrong("embedded.listen", "embedded.secret-file, the same on all nodes, or an address such as 127.0.0.1:6222",
			"%s is open to others, and any server could join the cluster", quote(e.Listen)))
	}
}

// unused notes settings below prefix that were given though nobody has said the adapter that they are
// for. With another adapter they are left alone: it may be meant for a moment.
func (l *loaded) unused(g *giving, prefix, want string) {
	if _, said := l.given["adapter"]; said {
		return
	}
	for _, s := range l.book.settings {
		if given, ok := l.given[s.key]; ok && s.twin == nil && strings.HasPrefix(s.key, prefix) && s.group != l.book.name {
			g.wrong(&KeyError{Key: s.key, Source: given.source, Problem: "it is of no use without an adapter", Want: "adapter " + want + ", too"})
		}
	}
}

// local reports whether an address is of the loopback interface.
func local(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func checkAddr(text string) error {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" {
			return wrong("unix:/path/to/socket", "unix: has no path")
		}
		return nil
	}
	return checkHostPort(text)
}

func checkHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		_, digits := strconv.Atoi(text)
		switch {
		case digits == nil:
			return wrong(":"+text, "%s has no colon", quote(text))
		case errors.As(err, new(*net.AddrError)) && strings.Contains(err.Error(), "missing port"):
			return wrong(text+":8080", "%s has no port", quote(text))
		}
		return wrong("host:port, such as 127.0.0.1:8080 or [::1]:8080", "%s is no address", quote(text))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return wrong("a port from 0 to 65535, as in "+cmp.Or(host, "127.0.0.1")+":8080", "%s: the port %s", quote(text), quote(port))
	}
	return nil
}

// checkRoute checks an address of another NATS server. Its errors do not repeat it: there may be a
// password in it.
func checkRoute(text string) error {
	scheme, at, ok := strings.Cut(text, "://")
	if !ok {
		scheme, at = "nats", text
	}
	u, err := url.Parse("nats://" + at)
	if scheme != "nats" || err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return wrong("nats://host:6222", "a route is no address of a server")
	}
	return nil
}
