package natsadapter

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// FromURL returns the Adapter for a text from a flag or an environment variable:
//
//	nats://host:4222?cluster=chat
//	tls://user:password@host1:4222,host2:4222?cluster=chat&prefix=staging&name=api-7
//
// The text before the question mark is [Config.URL]. The parameters cluster, prefix and name set
// the fields of these names, each at most once. Anything else is an error. No error repeats a
// password. Package config reads all other settings as text, too.
func FromURL(text string) (*Adapter, error) {
	servers, query, _ := strings.Cut(text, "?")
	cfg := Config{URL: servers}
	if servers == "" {
		return nil, errors.New("natsadapter: empty URL: want nats://host:port or tls://host:port")
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("natsadapter: parameters of the URL: %w", err)
	}
	for key, values := range params {
		if len(values) > 1 {
			return nil, fmt.Errorf("natsadapter: parameter %.64q stands %d times in the URL: give it once", key, len(values))
		}
		switch key {
		case "cluster":
			cfg.Cluster = values[0]
		case "prefix":
			cfg.Prefix = values[0]
		case "name":
			cfg.Name = values[0]
		default:
			return nil, fmt.Errorf("natsadapter: unknown parameter %.64q in the URL: want cluster, prefix or name", key)
		}
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return New(cfg), nil
}

// Check returns what [Adapter.Open] would find wrong with c before it connects: the form of URL and
// Prefix, and files that Options name. No error repeats a password.
func (c Config) Check() error {
	if _, err := New(c).resolve(); err != nil {
		return fmt.Errorf("natsadapter: %w", err)
	}
	return nil
}

// parseServers takes a list of servers apart. Its errors do not repeat the text, for there may be a
// password in it.
func parseServers(list string) ([]*url.URL, error) {
	var servers []*url.URL
	scheme := "nats"
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = scheme + "://" + text
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "["): // user:password without @
			return nil, fmt.Errorf("server %d of the URL: want nats://host:port or tls://host:port, special characters of a password as %%XX", i+1)
		case u.Scheme != "nats" && u.Scheme != "tls":
			return nil, fmt.Errorf("server %d of the URL: scheme %.16q: want nats or tls", i+1, u.Scheme)
		case u.Hostname() == "":
			return nil, fmt.Errorf("server %d of the URL: no host: want %s://host:port", i+1, u.Scheme)
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			return nil, fmt.Errorf("server %d of the URL: unexpected text after the port: want %s://host:port, and parameters after the last server", i+1, u.Scheme)
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return nil, fmt.Errorf("server %d of the URL: port %.16q: want 1 to 65535", i+1, port)
			}
		}
		scheme = u.Scheme
		u.Path = ""
		servers = append(servers, u)
	}
	return servers, nil
}
