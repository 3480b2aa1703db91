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

// A Config is what a Server is made of. Its zero value works: one node with the defaults of Socket.IO. What cannot be meant, such as a negative
// size, is an error: see [Server.Ready].
type Config struct {
	// Adapter joins the server to others, so that rooms and broadcasts span them. nil is one node. The server opens it once and
	// closes what it opened; several servers may share a value.
	Adapter adapter.Adapter

	// AdapterQueueBytes bounds what is emitted and waits for the Adapter, in bytes. Beyond it, Emit returns cluster.ErrOverflow when it has
	// reached the sockets of this node. Zero means cluster.DefaultQueueBytes, 32 MiB.
	AdapterQueueBytes int

	// RepairBytes bounds the broadcasts that the server remembers, for 30 s at the most, to send them again to nodes which have missed
	// them. Zero means 64 MiB. Without an Adapter none are.
	RepairBytes int

	// NameSuspects is how long calls of all nodes, such as FetchSockets, name one that does not answer any more, in an cluster.PartialError; then
	// they count without it: see [cluster.HubConfig]. Zero means 10 s. It should be longer than a node takes to reconnect to the broker.
	NameSuspects time.Duration

	// OnLoss is told of broadcasts of other nodes that were due here and will not come, although they were asked for again: the node that
	// had sent them does not remember them any more, or has gone. It is called from one goroutine at a time, and must not block. nil means
	// that the first is logged; Stats.Adapter counts them.
	OnLoss func(cluster.Loss)

	// Path is where clients find the server, as their option "path". Empty means "/socket.io/"; "/" is all paths.
	Path string

	// PingInterval is the time between a client's last sign of life and the next ping. Zero means 25 seconds.
	PingInterval time.Duration

	// PingTimeout is how long a client may take to answer a ping before its connection is closed. Zero means 20 seconds.
	PingTimeout time.Duration

	// ConnectTimeout is how long a new connection may take to connect to its first namespace. Zero means 45 seconds.
	ConnectTimeout time.Duration

	// MaxPayload bounds one message of a client, in bytes, its attachments together likewise. Zero means 1,000,000.
	MaxPayload int

	// QueueBytes is from how many bytes on that wait for a client the client is judged. Volatile events then give way to others; SlowAfter,
	// SlowRate and BehindFor say when the client has to go. However much is sent to a client at once, it stays if it reads. Zero means 1 MiB.
	QueueBytes int

	// A client is disconnected with ErrTooSlow if it takes less than SlowRate bytes a second, over the time SlowAfter, while more than
	// QueueBytes wait for it. What it takes is what its TCP has acknowledged; over TLS and Unix sockets what was written; of a client that
	// polls, what its requests carry away. A message or a request of a client that comes more slowly than that, before it is complete,
	// ends its connection as well. Zero means 1,024 bytes a second, over 15 seconds.
	SlowRate  int
	SlowAfter time.Duration

	// BehindFor is how long more than QueueBytes may wait for a client without a break while more keeps coming, before the client is
	// disconnected with ErrTooSlow: one that takes enough but never catches up. Zero means 60 seconds.
	BehindFor time.Duration

	// BudgetBytes bounds the memory of all that waits in the server, in both directions: what is queued for clients, what clients have sent
	// for handlers that are busy, and messages of which a part has come. What many clients wait for counts once. When it is used up, the
	// server reads nothing on, drops volatile events, and then disconnects clients with ErrOverBudget, until an eighth is free: first those
	// that have more than QueueBytes waiting, in either direction, then any, and of them those first for which something has waited
	// longest. Zero means half of the process' memory limit (GOMEMLIMIT), or without one a quarter of the machine's memory, and 64 MiB at
	// the least.
	BudgetBytes int

	// MaxEvents bounds the events of a socket that wait for its handlers; another bound is 1 MiB, and less while BudgetBytes runs short.
	// While one is reached, the server does not read from the socket's connection, but to find out whether the client is still there. Zero
	// means 256.
	MaxEvents int

	// MaxSockets bounds the namespaces that one connection is in at a time; it counts a socket until its handlers have ended. Beyond it, a
	// CONNECT is refused with "too many namespaces on one connection". Zero means 256.
	MaxSockets int

	// Limits bound what a packet may claim, of clients and of this server's own: how many attachments and arguments, and how deep they
	// are nested. A field that is zero means its default; that of AttachmentBytes is MaxPayload. All servers and emitters of a cluster
	// should have the same.
	Limits packet.Limits

	// Transports are those that clients may use, "polling" and "websocket". nil means both.
	Transports []string

	// DisableUpgrades keeps clients that have begun to poll from changing to a WebSocket.
	DisableUpgrades bool

	// UpgradeTimeout is how long the change from polling to a WebSocket may take. Zero means 10 seconds.
	UpgradeTimeout time.Duration

	// PerMessageDeflate compresses messages for the WebSockets of clients that offer it, as browsers do: a broadcast once for all of
	// them. It saves traffic, and costs CPU time with every message either way.
	PerMessageDeflate bool

	// HTTPCompression compresses what clients that poll are sent, with gzip.
	HTTPCompression bool

	// CompressionThreshold is the size in bytes from which on something is compressed. Zero means 1,024.
	CompressionThreshold int

	// CORS lets pages of other origins use the server. nil means that browsers keep them from it.
	CORS *CORS

	// AllowOrigin decides whether a page may connect, by the request's Origin header, for WebSockets too, which CORS does not protect.
	// nil means pages of the server's own host, those that CORS lists, and clients that send no Origin, which no browser leaves out here.
	// A page is one of the server's own if the browser says so (Sec-Fetch-Site), or if its Origin has the host and the port of the request's
	// Host, or of a trusted proxy's X-Forwarded-Host. Others are refused, and logged at Warn, once a minute at the most. The change from
	// polling to a WebSocket is not asked about: it names a session, whose id the page has from an answer that others cannot read.
	AllowOrigin func(r *http.Request) bool

	// TrustedProxies are the addresses of proxies whose X-Forwarded-Host and X-Forwarded-Proto say where the page is, such as
	// netip.MustParsePrefix("10.0.0.0/8"). They must replace what a client sends by these names. What comes over a Unix socket counts as
	// theirs if there are any. nil means none.
	TrustedProxies []netip.Prefix

	// AllowRequest decides on a request that would begin a connection or change its transport, after AllowOrigin has. The text of its
	// error is what the client gets. nil allows all. To decide by what a client says of itself, see [Namespace.Use].
	AllowRequest func(r *http.Request) error

	// KeepHeaders names the headers of a connection's first request that [Socket.Handshake] returns. They take memory as long as the
	// connection lives, and travel through the cluster when the socket is fetched. nil means Authorization, Cookie, Origin, User-Agent
	// and X-Forwarded-For.
	KeepHeaders []string

	// HandshakeBytes bounds what is kept of a connection's first request, its query and the headers of KeepHeaders together, and likewise
	// the auth of its sockets. A request beyond is refused with the status 431, rather than cut: half a cookie or a token would mean
	// something else. An auth beyond it is refused with "auth too large". Zero means 64 KiB.
	HandshakeBytes int

	// Cookie is set on a client that begins by polling, with the connection's id as its value, so that a load balancer can send all its
	// requests to one node. What is left out is as with Socket.IO: the Name "io", the Path "/", SameSite=Lax. It is HttpOnly in any case,
	// since the id is a secret, and Secure if the request came over TLS, here or to a trusted proxy. nil means none.
	Cookie *http.Cookie

	// ClientFiles holds the client's files, by the names that they have in the folder dist of npm's socket.io-client: GET requests for
	// "socket.io.js", "socket.io.min.js", "socket.io.esm.min.js" and the like below Path are answered with them. nil, or one without
	// the file, means that they are told where the client is to be had.
	ClientFiles fs.FS

	// MaxNamespaces bounds the namespaces that clients have made by connecting to a name that a parent matches ([Server.OfFunc]), at one
	// time. Beyond it they are told "too many namespaces". Zero means 1,000.
	MaxNamespaces int

	// AckTimeout is how long EmitWithAck waits for clients' answers if its ctx has no deadline. Zero means 30 seconds.
	AckTimeout time.Duration

	// Codec writes packets as messages and reads them. All clients, and all nodes of the cluster, must use the same. nil means
	// packet.JSON, which is what Socket.IO does by default.
	Codec packet.Codec

	// OnError is told what goes wrong with a socket's handlers: an error, or a panic as a [*PanicError]. event is the event's name, or one of
	// "connect" (of middlewares too), "disconnecting" and "disconnect", which no event has, or "create-room" and so on for handlers of room
	// events; it is empty if the socket's data cannot become JSON ([Socket.SetData]). It may be called concurrently, and for room events
	// and OnAnyOutgoing from a goroutine that must not be blocked. A panic of it is recovered and logged. nil means that errors are logged.
	OnError func(s *Socket, event string, err error)

	// Logger takes what an operator should know. nil means slog.Default().
	Logger *slog.Logger
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
	set(&c.MaxPayload, 1_000_000)
	set(&c.QueueBytes, 1<<20)
	set(&c.MaxEvents, 256)
	set(&c.MaxNamespaces, 1000)
	set(&c.MaxSockets, 256)
	set(&c.HandshakeBytes, 64<<10)
	set(&c.Limits.AttachmentBytes, c.MaxPayload)
	set(&c.AckTimeout, 30*time.Second)
	if c.Codec == nil {
		c.Codec = packet.JSON{}
	}
	set(&c.CompressionThreshold, 1024)
	set(&c.UpgradeTimeout, 10*time.Second)
	if c.KeepHeaders == nil {
		c.KeepHeaders = []string{"Authorization", "Cookie", "Origin", "User-Agent", "X-Forwarded-For"}
	}
	if c.Cookie != nil {
		c.Cookie = c.cookie()
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

// cookie is Cookie with what it leaves out, and without a value.
func (c Config) cookie() *http.Cookie {
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

// compressFrom is the size from which on something is compressed for the engine, where zero means never.
func (c Config) compressFrom(enabled bool) int {
	if !enabled {
		return 0
	}
	return c.CompressionThreshold
}

// transports are Transports as the engine has them.
func (c Config) transports() engineio.Transport {
	var set engineio.Transport
	for _, name := range c.Transports {
		set |= transportOf(name)
	}
	return set
}
