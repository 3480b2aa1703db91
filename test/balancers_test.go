package test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/belfry-io/belfry/test/kit"
)

// traefikFile is so much of the form of Traefik's dynamic configuration, version 3, as the files use: its reference
// has these names. Debian has no Traefik that could say so itself.
type traefikFile struct {
	HTTP struct {
		Routers map[string]struct {
			EntryPoints   []string `yaml:"entryPoints"`
			Rule, Service string
		}
		Services map[string]struct {
			LoadBalancer struct {
				Sticky *struct {
					Cookie struct {
						Name     string
						HTTPOnly bool   `yaml:"httpOnly"`
						SameSite string `yaml:"sameSite"`
					}
				}
				PassHostHeader   bool                                     `yaml:"passHostHeader"`
				HealthCheck      struct{ Path, Interval, Timeout string } `yaml:"healthCheck"`
				ServersTransport string                                   `yaml:"serversTransport"`
				Servers          []struct{ URL string }
			} `yaml:"loadBalancer"`
		}
		ServersTransports map[string]struct {
			ForwardingTimeouts struct {
				DialTimeout     string `yaml:"dialTimeout"`
				IdleConnTimeout string `yaml:"idleConnTimeout"`
			} `yaml:"forwardingTimeouts"`
		} `yaml:"serversTransports"`
	}
}

// TestTraefikFiles holds the files for Traefik, which no test runs, to their form, and to what belfry needs.
func TestTraefikFiles(t *testing.T) {
	t.Parallel()
	for name, sticky := range map[string]bool{"traefik.yml": false, "traefik-sticky.yml": true} {
		text, err := os.ReadFile("../examples/balancers/" + name)
		kit.OK(t, err)
		var file traefikFile
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		kit.OK(t, decoder.Decode(&file), name)
		router := file.HTTP.Routers["belfry"]
		kit.Check(t, strings.Contains(router.Rule, "PathPrefix(`/socket.io/`)"), "%s: the rule is %s", name, router.Rule)
		service, ok := file.HTTP.Services[router.Service]
		kit.Check(t, ok, "%s: there is no service %q", name, router.Service)
		balancer := service.LoadBalancer
		_, ok = file.HTTP.ServersTransports[balancer.ServersTransport]
		kit.Check(t, ok, "%s: there is no transport %q", name, balancer.ServersTransport)
		kit.Check(t, balancer.PassHostHeader, "%s: the browser's Host is not passed on", name)
		kit.Equal(t, balancer.HealthCheck.Path, "/readyz", name)
		kit.Len(t, balancer.Servers, 3, name)
		kit.Equal(t, balancer.Sticky != nil, sticky, name, "is sticky")
		kit.Check(t, !sticky || balancer.Sticky.Cookie.Name != "", "%s: the cookie has no name", name)
	}
}

// TestBalancerFiles: the guide names each file of examples/balancers, and a file with stickiness has besides that
// what the file without has.
func TestBalancerFiles(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../examples/guides/balancers.md")
	kit.OK(t, err)
	files, err := filepath.Glob("../examples/balancers/*")
	kit.OK(t, err)
	kit.Len(t, files, 8)
	for _, path := range files {
		name := filepath.Base(path)
		kit.Check(t, strings.Contains(string(guide), "(../balancers/"+name+")"), "the guide has no link to %s", name)
		if strings.Contains(name, "sticky") {
			continue
		}
		extension := filepath.Ext(name)
		plain, sticky := settings(t, path), settings(t, strings.TrimSuffix(path, extension)+"-sticky"+extension)
		for i := 0; len(plain) > 0; i++ {
			if i == len(sticky) {
				t.Errorf("%s has %q, its sticky sister has not", name, plain[0])
				break
			}
			if plain[0] == sticky[i] || strings.HasPrefix(sticky[i], "server ") && strings.HasPrefix(sticky[i], plain[0]) ||
				plain[0] == "lb_policy round_robin" {
				plain = plain[1:]
			}
		}
	}
}

// TestBalancerTimes: no balancer gives a poll or a WebSocket up that is silent, before the node does.
func TestBalancerTimes(t *testing.T) {
	t.Parallel()
	const node = 25 + 20 // seconds: ping-interval, ping-timeout
	times := regexp.MustCompile(`^(proxy_(?:read|send)_timeout|timeout (?:client|server|tunnel)) (\d+)s;?$`)
	for name, want := range map[string]int{"nginx.conf": 2, "nginx-sticky.conf": 2, "haproxy.cfg": 3, "haproxy-sticky.cfg": 3} {
		for _, line := range settings(t, "../examples/balancers/"+name) {
			m := times.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			want--
			seconds, err := strconv.Atoi(m[2])
			kit.OK(t, err)
			kit.Check(t, seconds > node, "%s: %s is %d s, want more than %d", name, m[1], seconds, node)
		}
		kit.Equal(t, want, 0, name, "time-outs that are not set")
	}
}

// settings are the lines of a file without its comments.
func settings(t *testing.T, path string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	kit.OK(t, err)
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
