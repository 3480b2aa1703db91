package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/belfry-io/belfry/natsadapter/config"
)

// listen listens where cfg says. If its port is taken and spare is true, a free one will do.
func listen(cfg *config.Config, spare bool) ([]net.Listener, error) {
	listeners, err := cfg.Listen()
	if err == nil || !spare {
		return listeners, err
	}
	asked := cfg.Addrs
	cfg.Addrs = nil
	for _, addr := range asked {
		host, _, _ := net.SplitHostPort(addr)
		cfg.Addrs = append(cfg.Addrs, net.JoinHostPort(host, "0"))
	}
	listeners, again := cfg.Listen()
	if again != nil {
		return nil, errors.Join(err, again)
	}
	return listeners, nil
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
	if err != nil {
		return "" // a Unix socket's has none: the node has the host's name
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
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
