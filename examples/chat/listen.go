package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// listen listens on addr, or on a free port if that is taken and spare is true.
func listen(addr string, spare bool) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if err == nil {
		return listener, nil
	}
	if spare {
		host, _, _ := net.SplitHostPort(addr)
		if free, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			return free, nil
		}
	}
	return nil, fmt.Errorf("cannot listen on %s: choose another -addr, or port 0 for a free one: %w",
		addr, err)
}

// above is the address whose port is n above that of addr; port 0 stays, which means a free one.
func above(addr string, n int) string {
	host, text, _ := net.SplitHostPort(addr)
	if port, _ := strconv.Atoi(text); port > 0 {
		text = strconv.Itoa(port + n)
	}
	return net.JoinHostPort(host, text)
}

// reachable is the address that others may reach a listener at: on all addresses of this host, it
// is the host's name.
func reachable(listener net.Listener) string {
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "localhost"
		}
	}
	return net.JoinHostPort(host, port)
}

// moved says so if a listener has not got the port that was wanted.
func moved(wanted, got string) string {
	_, port, _ := net.SplitHostPort(wanted)
	if _, other, _ := net.SplitHostPort(got); port == "0" || other == port {
		return ""
	}
	return fmt.Sprintf(" (port %s is taken)", port)
}
