package wsserver

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A Config says how a Server works. The zero value works: one node, with Socket.IO's defaults.
// A value that makes no sense, such as a negative size, is an error: see [Server.Ready].
type Config struct {
	// Adapter joins the server to others, so that rooms and broadcasts span them. nil means one node.
	// The server opens the adapter once and closes what it opened. Several servers may share a value.
	Adapter adapter.Adapter

	// Cluster says how the server works with other nodes. It matters only with an Adapter.
	Cluster ClusterConfig

	// Path is where clients find the server; it is their option "path". Empty means "/socket.io/";
	// "/" means all paths.
	Path string

	// HTTP says which requests may connect, and what is kept of them.
	HTTP HTTPConfig

	// Transports lists what clients may use: "polling" and "websocket". nil means both.
	Transports []string

	// DisableUpgrades keeps clients that began to poll from changing to a WebSocket.
	DisableUpgrades bool

	// Compression says what is compressed. The zero value compresses nothing.
	Compression Compression

	// Codec writes packets as messages and reads them. All clients and all nodes of the cluster must
	// use the same. nil means packet.JSON, Socket.IO's default.
	Codec packet.Codec

	// PingInterval is the time between a client's last sign of life and the next ping. Zero means 25 s.
	PingInterval time.Duration

	// PingTimeout is how long a client may take to answer a ping before its connection is closed. Zero
	// means 20 s.
	PingTimeout time.Duration

	// ConnectTimeout is how long a new connection may take to connect to its first namespace; so it
	// bounds the time of clients that no middleware has admitted ([Namespace.Use]). A namespace
	// without a middleware admits all: a program that checks its clients later, by an event, ends
	// those that do not send it ([Socket.Close]). Zero means 45 s.
	ConnectTimeout time.Duration

	// UpgradeTimeout is how long the change from polling to a WebSocket may take. Zero means 10 s.
	UpgradeTimeout time.Duration

	// AckTimeout is how long EmitWithAck and Ask wait for clients' answers if their ctx has no
	// deadline. Zero means 30 s.
	AckTimeout time.Duration

	// Recovery has clients that were away go on as if they had not been. nil means that they get a
	// new socket, which costs nothing.
	Recovery *Recovery

	// Limits bound what clients may send, and what may wait for them.
	Limits Limits

	// OnError is called with each error and each panic (a [*PanicError]) of a socket's handlers. event
	// is the event's name, or "connect" (middlewares too), "disconnecting", "disconnect",
	// "create-room" and so on for the handlers of those; it is empty if the socket's data cannot become
	// JSON ([Socket.SetData]). OnError may be called concurrently. For room events and OnAnyOutgoing
	// it must not block. A panic of OnError is recovered and logged. nil means that errors are logged.
	OnError func(s *Socket, event string, err error)

	// TimeHandlers has the server measure how long the handlers of each event take, for
	// Stats.HandlerTime. It costs about a tenth of a microsecond an event.
	TimeHandlers bool

	// Logger receives what an operator should know. nil means slog.Default().
	Logger *slog.Logger

	// Tracer makes traces of handlers, and of what they send, across nodes: package
	// wsserver/tracing has one for OpenTelemetry. nil means none, which costs nothing.
	Tracer Tracer
}

// A ClusterConfig says how a server works with the other nodes of its cluster.
type ClusterConfig struct {
	// NodeName is what operators call this server in logs, in errors, in [Server.Nodes], and in the
	// broker's list of connections, besides its id. It is printable UTF-8 of at most 128 bytes;
	// several servers may have the same. Empty means the name of the host, which is the pod's on
	// Kubernetes.
	NodeName string

	// QueueBytes bounds the broadcasts that wait for the Adapter, in bytes. Beyond it, Emit returns
	// cluster.ErrOverflow, after it has reached the sockets of this node. Zero means
	// cluster.DefaultQueueBytes, 32 MiB.
	QueueBytes int

	// RepairBytes bounds the broadcasts that the server keeps, for at most 30 s, to send them again to
	// nodes that missed them. Zero means 64 MiB.
	RepairBytes int

	// NameSuspects is how long calls that ask all nodes, such as FetchSockets, name a node that does not
	// answer, in a cluster.PartialError. After that they count without it: see [cluster.HubConfig]. It
	// should be longer than a node takes to reconnect to the broker. Zero means 10 s.
	NameSuspects time.Duration

	// OnLoss is called with broadcasts of other nodes that were due here and will not come, because
	// their origin has left or does not have them any more. It is called from one goroutine at a time
	// and must not block. nil means that the first loss is logged; Stats.Adapter counts all.
	OnLoss func(cluster.Loss)
}

// An HTTPConfig says which requests may connect, and what is kept of them.
type HTTPConfig struct {
	// CORS lets pages of other origins use the server. nil means that browsers do not let them.
	CORS *CORS

	// AllowOrigin decides by a request's Origin header whether a page may connect, also over a
	// WebSocket, which CORS does not protect. nil allows pages of the server's own origin, origins that
	// CORS lists, and requests without an Origin, which do not come from a browser's page.
	//
	// A page is of the server's own origin if the browser says so (Sec-Fetch-Site), or if its Origin has
	// the host and port of the request's Host, or of a trusted proxy's X-Forwarded-Host. Refusals are
	// logged at Warn, at most once a minute. The change from polling to a WebSocket is not checked: it
	// names a session, whose id the page has from an answer that other origins cannot read.
	AllowOrigin func(r *http.Request) bool

	// TrustedProxies lists the addresses of proxies whose X-Forwarded-Host and X-Forwarded-Proto are
	// believed, such as netip.MustParsePrefix("10.0.0.0/8"). Such a proxy must replace these headers
	// when a client sends them. For Limits.PerAddress their X-Forwarded-For is believed, too, to
	// which a proxy may also add. If the list is not empty, requests over a Unix socket are trusted too.
	// nil means none.
	TrustedProxies []netip.Prefix

	// AllowRequest decides whether a request may begin a connection or change its transport, after
	// AllowOrigin allowed it. The client receives the error's text. nil allows all. To decide by what
	// a client says in its auth, see [Namespace.Use].
	AllowRequest func(r *http.Request) error

	// Key says whose connection a request begins, such as a user's or a customer's, for
	// Limits.PerKey. It is called after AllowRequest, if Limits.PerKey is set, concurrently. Empty
	// means that the connection is not bounded by PerKey. nil means that none is.
	Key func(r *http.Request) string

	// KeepHeaders names the headers of a connection's first request that [Socket.Handshake] returns.
	// They take memory as long as the connection lives, and travel through the cluster when the socket
	// is fetched. nil means Authorization, Cookie, Origin, User-Agent and X-Forwarded-For.
	KeepHeaders []string

	// Cookie is set on a client that begins by polling, with the connection's id as its value, so that
	// a load balancer can send all its requests to one node. Fields that are empty have Socket.IO's
	// defaults: Name "io", Path "/", SameSite=Lax. It is always HttpOnly, since the id is a secret, and
	// Secure if the request came over TLS, here or to a trusted proxy. nil means no cookie.
	Cookie *http.Cookie

	// ClientFiles holds the files of the folder dist of npm's socket.io-client: GET requests for
	// "socket.io.js", "socket.io.min.js", "socket.io.esm.min.js" and the like below Path return them. If
	// it is nil or has no such file, the answer says where to get the client.
	ClientFiles fs.FS
}

// A Compression says what is compressed on its way to clients.
type Compression struct {
	// PerMessageDeflate compresses messages for the WebSockets of clients that offer it, as browsers
	// do. A broadcast is compressed once for all of them. It saves traffic and costs CPU time.
	PerMessageDeflate bool

	// HTTP compresses the answers to clients that poll, with gzip.
	HTTP bool

	// Threshold is the size in bytes from which on something is compressed. Zero means 1,024.
	Threshold int
}

// defaults returns c with all zero values replaced.
func (c Config) defaults() Config {
	switch path := strings.Trim(c.Path, "/"); {
	case c.Path == "":
		c.Path = "/socket.io/"
	case path == "":
		c.Path = "/"
	default:
		c.Path = "/" + path + "/"
	}
	set(&c.PingInterval, 25*time.Second)
	set(&c.PingTimeout, 20*time.Second)
	set(&c.ConnectTimeout, 45*time.Second)
	set(&c.AckTimeout, 30*time.Second)
	if c.Codec == nil {
		c.Codec = packet.JSON{}
	}
	set(&c.UpgradeTimeout, 10*time.Second)
	set(&c.Compression.Threshold, 1024)
	c.Limits = c.Limits.defaults()
	if c.HTTP.KeepHeaders == nil {
		c.HTTP.KeepHeaders = []string{"Authorization", "Cookie", "Origin", "User-Agent", "X-Forwarded-For"}
	}
	if c.HTTP.Cookie != nil {
		c.HTTP.Cookie = c.HTTP.cookie()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.OnError == nil {
		log := c.Logger
		c.OnError = func(s *Socket, event string, err error) {
			log.Warn("belfry: handler failed", "namespace", s.Namespace().Name(), "socket", s.ID(), "event", event, "error", err)
		}
	}
	return c
}

func set[T int | time.Duration](v *T, zero T) {
	if *v <= 0 {
		*v = zero
	}
}

// cookie returns Cookie with its defaults, and without a value.
func (c HTTPConfig) cookie() *http.Cookie {
	cookie := *c.Cookie
	if cookie.Name == "" {
		cookie.Name = "io"
	}
	if cookie.Path == "" {
		cookie.Path = "/"
	}
	if cookie.SameSite == 0 {
		cookie.SameSite = http.SameSiteLaxMode
	}
	cookie.HttpOnly = true
	cookie.Value = ""
	return &cookie
}

// from returns the size from which on something is compressed, for the engine: zero means never.
func (c Compression) from(enabled bool) int {
	if !enabled {
		return 0
	}
	return c.Threshold
}

// transports returns Transports as the engine has them.
func (c Config) transports() engineio.Transport {
	var set engineio.Transport
	for _, name := range c.Transports {
		set |= transportOf(name)
	}
	return set
}
