package wsserver

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// Check returns what is wrong with c: errors joined with [errors.Join], each of which begins with the
// field that it is about, such as "wsserver: Config.Limits.MaxPayload: ". A server with such a Config
// serves nothing, and its [Server.Ready] returns the same error.
func (c Config) Check() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("wsserver: Config.%s: %w", field, fmt.Errorf(format, args...)))
	}
	var recovery Recovery
	if c.Recovery != nil {
		recovery = *c.Recovery
	}
	for _, size := range [...]struct {
		field string
		value int
	}{
		{"Cluster.QueueBytes", c.Cluster.QueueBytes}, {"Cluster.RepairBytes", c.Cluster.RepairBytes},
		{"Compression.Threshold", c.Compression.Threshold},
		{"Recovery.LogBytes", recovery.LogBytes}, {"Recovery.MaxSessions", recovery.MaxSessions},
	} {
		if size.value < 0 {
			wrong(size.field, "%d is negative", size.value)
		}
	}
	for _, duration := range [...]struct {
		field string
		value time.Duration
	}{
		{"PingInterval", c.PingInterval}, {"PingTimeout", c.PingTimeout}, {"ConnectTimeout", c.ConnectTimeout},
		{"UpgradeTimeout", c.UpgradeTimeout}, {"AckTimeout", c.AckTimeout}, {"Cluster.NameSuspects", c.Cluster.NameSuspects},
		{"Recovery.MaxAway", recovery.MaxAway},
	} {
		if duration.value < 0 {
			wrong(duration.field, "%v is negative", duration.value)
		}
	}
	c.Limits.check(c.HTTP, wrong)
	c.checkPings(wrong)
	if err := cluster.CheckName(c.Cluster.NodeName); err != nil {
		wrong("Cluster.NodeName", "%w", err)
	}
	c.checkPath(wrong)
	if c.Transports != nil && len(c.Transports) == 0 {
		wrong("Transports", "the list is empty: leave it nil for both")
	}
	for _, name := range c.Transports {
		if transportOf(name) == 0 {
			wrong("Transports", `%q is neither "polling" nor "websocket"`, name)
		}
	}
	for _, name := range c.HTTP.KeepHeaders {
		if !isToken(name) {
			wrong("HTTP.KeepHeaders", "%q is not the name of a header", name)
		}
	}
	if c.HTTP.Cookie != nil {
		if err := c.HTTP.cookie().Valid(); err != nil {
			wrong("HTTP.Cookie", "%w", err)
		}
	}
	for _, prefix := range c.HTTP.TrustedProxies {
		if !prefix.IsValid() {
			wrong("HTTP.TrustedProxies", "a prefix is not valid")
		}
	}
	if c.HTTP.CORS != nil {
		c.HTTP.CORS.check(wrong)
	}
	return errors.Join(errs...)
}

// checkPings checks what clients are told in milliseconds, and what they then wait for: Node.js and
// browsers take a longer time than 31 bits of milliseconds for none.
func (c Config) checkPings(wrong func(field, format string, args ...any)) {
	const longest = math.MaxInt32 * time.Millisecond
	for field, value := range map[string]time.Duration{"PingInterval": c.PingInterval, "PingTimeout": c.PingTimeout} {
		if value > 0 && value < time.Millisecond {
			wrong(field, "%v is less than a millisecond, the unit of clients", value)
		}
	}
	if c = c.defaults(); c.PingInterval > longest || c.PingTimeout > longest-c.PingInterval {
		wrong("PingInterval", "with PingTimeout it is more than %v, the longest time that clients can wait", longest)
	}
}

func (c Config) checkPath(wrong func(field, format string, args ...any)) {
	path := strings.Trim(c.Path, "/")
	if strings.ContainsAny(path, "?#") || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		wrong("Path", "%q has a character that cannot be in the path of a request", c.Path)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if path != "" && (segment == "" || segment == "." || segment == "..") {
			wrong("Path", "%q has the segment %q, which no request has: remove it", c.Path, segment)
		}
	}
}

func (c *CORS) check(wrong func(field, format string, args ...any)) {
	if c.Credentials && slices.Contains(c.Origins, "*") {
		wrong("HTTP.CORS", `Credentials with the origin "*" lets any page act for its user: list the origins`)
	}
	for _, origin := range c.Origins {
		switch u, err := url.Parse(strings.ReplaceAll(origin, "*", "x")); {
		case origin == "*" || origin == "null":
		case strings.Count(origin, "*") > 1:
			wrong("HTTP.CORS", "the origin %q has more than one *", origin)
		case err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
			wrong("HTTP.CORS", "%q is not an origin: want one such as https://app.example, without a path", origin)
		}
	}
	for _, name := range c.Headers {
		if name != "*" && !isToken(name) {
			wrong("HTTP.CORS", "%q in Headers is not the name of a header", name)
		}
	}
	if c.MaxAge < 0 || c.MaxAge > 0 && c.MaxAge < time.Second {
		wrong("HTTP.CORS", "MaxAge is %v: want a second or more", c.MaxAge)
	}
}

// isToken reports whether name may be that of a header (RFC 9110 section 5.6.2).
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// transportOf is the transport of this name; 0 if there is none.
func transportOf(name string) engineio.Transport {
	for _, t := range [...]engineio.Transport{engineio.TransportPolling, engineio.TransportWebSocket} {
		if t.String() == name {
			return t
		}
	}
	return 0
}

// serveUnusable answers every request to a server whose Config is wrong.
func (srv *Server) serveUnusable(w http.ResponseWriter) {
	srv.counts.unusable.Add(1)
	http.Error(w, srv.unusable.Error(), http.StatusInternalServerError)
}
