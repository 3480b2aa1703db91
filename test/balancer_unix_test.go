//go:build unix

package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

// A balancer is a program that is run with the files of examples/balancers.
type balancer struct {
	name          string
	find          func(t *testing.T) string
	plain, sticky string // the files
	// The text of a file that says where the balancer listens, and the same for a socket in the file system.
	listen, socket string
	// Whether the balancer hears by the PROXY protocol of that socket what a client's address is.
	addressed bool
	command   func(t *testing.T, program, dir, conf string) *exec.Cmd
}

var balancers = []balancer{
	{
		name: "nginx", find: need.Nginx, plain: "nginx.conf", sticky: "nginx-sticky.conf",
		listen: "listen 80;", socket: "listen unix:%s proxy_protocol;", addressed: true,
		command: func(t *testing.T, program, dir, conf string) *exec.Cmd {
			return nginxCommand(t, program, dir, "set_real_ip_from unix:; real_ip_header proxy_protocol;\n"+conf)
		},
	},
	{
		name: "HAProxy", find: need.HAProxy, plain: "haproxy.cfg", sticky: "haproxy-sticky.cfg",
		listen: "bind :80 ", socket: "bind unix@%s accept-proxy ", addressed: true,
		command: func(t *testing.T, program, dir, conf string) *exec.Cmd {
			return exec.Command(program, "-db", "-f", writeConf(t, dir, "haproxy.cfg", conf))
		},
	},
	{
		name: "Caddy", find: need.Caddy, plain: "Caddyfile", sticky: "Caddyfile-sticky",
		listen: "chat.example {", socket: "http:// {\n\tbind unix/%s",
		command: func(t *testing.T, program, dir, conf string) *exec.Cmd {
			path := writeConf(t, dir, "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n"+conf)
			cmd := exec.Command(program, "run", "--adapter", "caddyfile", "--config", path)
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
			return cmd
		},
	},
}

// A front is a balancer that runs in front of nodes.
type front struct {
	addressed bool
	dial      func() (net.Conn, error)
}

// start runs the balancer with one of its files, in which the addresses of nodes are replaced.
func (b balancer) start(t *testing.T, file string, nodes []string) *front {
	t.Helper()
	program := b.find(t)
	text, err := os.ReadFile("../examples/balancers/" + file)
	kit.OK(t, err)
	conf := string(text)
	replace := func(old, new string) {
		t.Helper()
		if strings.Count(conf, old) != 1 {
			t.Fatalf("%s has %q %d times, want once", file, old, strings.Count(conf, old))
		}
		conf = strings.Replace(conf, old, new, 1)
	}
	for i, node := range nodes {
		replace(fmt.Sprintf("10.0.0.%d:8080", i+1), node)
	}
	dir := frontDir(t)
	path := dir + "/front"
	replace(b.listen, fmt.Sprintf(b.socket, path))
	command := b.command(t, program, dir, conf)
	return &front{b.addressed, runFront(t, path, command)}
}

// connect connects a client of an address to the balancer, as far as that can know it.
func (f *front) connect(client netip.Addr) (net.Conn, error) {
	nc, err := f.dial()
	if err != nil || !f.addressed {
		return nc, err
	}
	_, err = fmt.Fprintf(nc, "PROXY TCP4 %s 192.0.2.1 1024 80\r\n", client) // as HAProxy's proxy-protocol.txt has it
	return nc, err
}

// serve returns the URL of a port for clients that know no sockets of the file system.
func (f *front) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	kit.OK(t, err)
	var running sync.WaitGroup
	var mu sync.Mutex // guards what follows
	open, closed := make(map[net.Conn]bool), false
	// hold notes a connection for the end, and reports whether that has come.
	hold := func(nc net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		open[nc] = true
		return !closed
	}
	relay := func(to, from net.Conn) {
		io.Copy(to, from)
		to.(interface{ CloseWrite() error }).CloseWrite()
	}
	pass := func(client net.Conn) {
		defer client.Close()
		server, err := f.connect(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		if !hold(client) || !hold(server) {
			return
		}
		running.Go(func() { relay(server, client) })
		relay(client, server)
	}
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // the end of the test
			}
			running.Go(func() { pass(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

// balancedHost is the host of the pages behind a balancer, as the browser names it.
const balancedHost = "chat.example:8443"

// A visitor sends requests to a balancer as a browser does, with its cookies.
type visitor struct {
	t    *testing.T
	addr netip.Addr
	http *http.Client
}

func (f *front) visitor(t *testing.T, addr string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	kit.OK(t, err)
	v := &visitor{t: t, addr: netip.MustParseAddr(addr)}
	v.http = &http.Client{Jar: jar, Transport: &http.Transport{
		// A connection for each request, so that none is sticky since its connection is.
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return f.connect(v.addr) },
	}}
	return v
}

// ask sends a request with the Origin of a page, none if that is empty. The answer to a change of protocols
// has no text, and the connection is closed.
func (v *visitor) ask(method, query, body, origin string) (status int, text string) {
	v.t.Helper()
	r, err := http.NewRequest(method, "http://"+balancedHost+"/socket.io/?EIO=4&transport="+query, strings.NewReader(body))
	kit.OK(v.t, err)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	if strings.HasPrefix(query, "websocket") {
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, value)
		}
	}
	answer, err := v.http.Do(r)
	kit.OK(v.t, err)
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return answer.StatusCode, ""
	}
	content, err := io.ReadAll(answer.Body)
	kit.OK(v.t, err)
	return answer.StatusCode, string(content)
}

// open begins a session by polling, and returns its id.
func (v *visitor) open() string {
	v.t.Helper()
	status, text := v.ask("GET", "polling", "", "")
	_, rest, _ := strings.Cut(text, `"sid":"`)
	sid, _, ok := strings.Cut(rest, `"`)
	if status != http.StatusOK || !ok {
		v.t.Fatalf("a client's first GET: %d %s", status, text)
	}
	return sid
}
