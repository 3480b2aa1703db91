package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// clusterUser is the user's name of servers that share a secret.
const clusterUser = "belfry"

// FromURL starts a server for a text of this form, each part of which may be missing:
//
//	embedded://user:password@127.0.0.1:4222?listen=0.0.0.0:6222&routes=nats://a:6222,nats://b:6222&secret=s
//
// The host is where clients connect, by default a free port of the loopback interface, and the user
// is what they need. The parameter listen is where the cluster's other servers connect, routes are
// the addresses of some of them, and secret is what all of them share. A port that is missing is
// 6222 for servers. No error repeats a password.
//
// FromURL returns the address for clients, with the user, and a function that stops the server. It is
// what package config takes for the adapter "embedded:". log may be nil; see [Start] for ctx.
func FromURL(ctx context.Context, text *url.URL, log *slog.Logger) (clients *url.URL, stop func(), err error) {
	cfg, err := parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	cfg.Logger = log
	s, err := Start(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	clients, err = url.Parse(s.URL())
	if err != nil {
		s.Shutdown()
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	clients.User = text.User
	return clients, s.Shutdown, nil
}

func parse(text *url.URL) (cfg Config, err error) {
	if cfg.Host, cfg.Port, err = address(text.Host, 0); err != nil {
		return cfg, fmt.Errorf("the address for clients: %w", err)
	}
	cfg.Username = text.User.Username()
	cfg.Password, _ = text.User.Password()
	params, err := url.ParseQuery(text.RawQuery)
	if err != nil {
		return cfg, errors.New("the parameters are not of the form name=value&name=value")
	}
	for name, values := range params {
		value := values[0]
		if len(values) > 1 {
			return cfg, fmt.Errorf("parameter %.64q stands %d times: give it once", name, len(values))
		}
		switch name {
		case "listen":
			if cfg.ClusterHost, cfg.ClusterPort, err = address(value, routePort); err != nil {
				return cfg, fmt.Errorf("parameter listen: %w", err)
			}
			if cfg.ClusterHost == "" {
				cfg.ClusterHost = "0.0.0.0"
			}
		case "routes":
			for i, route := range strings.Split(value, ",") {
				_, at, ok := strings.Cut(route, "://")
				if !ok {
					at = route
				}
				host, port, err := address(at, routePort)
				if err != nil || host == "" || port == 0 {
					return cfg, fmt.Errorf("route %d: want nats://host:port", i+1)
				}
				cfg.Routes = append(cfg.Routes, "nats://"+net.JoinHostPort(host, strconv.Itoa(port)))
			}
		case "secret":
			cfg.ClusterUsername, cfg.ClusterPassword = clusterUser, value
		default:
			return cfg, fmt.Errorf("unknown parameter %.64q: want listen, routes or secret", name)
		}
	}
	return cfg, nil
}

// routePort is where servers listen for others, as NATS has it.
const routePort = 6222

// address takes host:port apart. A port that is missing is the given one.
func address(text string, missing int) (host string, port int, err error) {
	if text == "" {
		return "", missing, nil
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		if host, digits, err = net.SplitHostPort(net.JoinHostPort(strings.Trim(text, "[]"), strconv.Itoa(missing))); err != nil {
			return "", 0, errors.New("want host:port")
		}
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || strings.ContainsAny(host, "@/?#") {
		return "", 0, errors.New("want host:port, the port from 0 to 65535")
	}
	return host, int(n), nil
}
