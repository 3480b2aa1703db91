package config

import (
	"cmp"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// values are what all settings together amount to, but for the program's own.
type values struct {
	Server wsserver.Config

	Recovery       bool // Server.Recovery counts
	RecoverySecret string

	Adapter      string
	Addr         []string
	TLS          struct{ Cert, Key string }
	StartTime    time.Duration
	ShutdownTime time.Duration
	Drain        drainValues
	Log          struct {
		Level  slog.Level
		Format string
	}
	NATS     natsValues
	Embedded embeddedValues
}

// drainValues are a wsserver.Drain as text says it: here, zero is a value like others.
type drainValues struct {
	Notice, Over, Linger time.Duration
	Rate                 int
}

type natsValues struct {
	Cluster, Prefix, Name string
	Creds, Nkey           string
	Token, User, Password string
	CA, Cert, Key         string
}

type embeddedValues struct {
	Listen         string
	Routes         []string
	Secret         string
	Clients        string
	User, Password string
}

// A table is the rows of one part of the help.
type table struct {
	name string
	rows []row
}

// unbounded is the default of limits that are off, which zero is.
const unbounded = "no bound"

var tables = []table{
	{"This node", []row{
		{key: "addr", field: "Addr", traits: common, check: checkAddr,
			help: "where the program listens: host:port, :port, or unix:/path; several with commas; port 0 means a free one"},
		{key: "adapter", field: "Adapter", zero: "memory:", traits: common | secret,
			help: "what joins this node to others: memory: (nothing), nats://host:port,host:port or tls://host:port, or embedded: (a NATS server in this program); parameters, as in nats://host?cluster=chat, are the settings below of these names"},
		{key: "tls.cert", field: "TLS.Cert", traits: common | file | live, help: "the certificate to serve with, in PEM"},
		{key: "tls.key", field: "TLS.Key", traits: common | file | live, help: "the key of tls.cert, in PEM"},
		{key: "start-time", field: "StartTime", help: "how long the node may take to join its cluster before the program gives up"},
		{key: "drain-notice", field: "Drain.Notice", help: "how long a node that is told to end still takes new clients, while balancers notice that it is not ready: 5s behind one that asks /readyz"},
		{key: "drain-over", field: "Drain.Over", help: "the time over which it then sends its clients to other nodes, evenly; few of them take less: ten go in a second"},
		{key: "drain-rate", field: "Drain.Rate", least: "1", help: "how many clients go in a second at the most, unless drain-over and drain-linger together would not do"},
		{key: "drain-linger", field: "Drain.Linger", help: "how long it still answers for sessions that it has handed over to other nodes; without any it does not wait"},
		{key: "shutdown-time", field: "ShutdownTime", help: "how long the node may then take to say goodbye to clients that are left and to its cluster"},
		{key: "node-name", field: "Server.Cluster.NodeName", zero: "the host's name", help: "what logs and errors call this node"},
	}},
	{"Log", []row{
		{key: "log.level", field: "Log.Level", zero: "info", traits: common | live | signed, help: "the least level that is logged: debug, info, warn or error"},
		{key: "log.format", field: "Log.Format", choices: []string{"text", "json"}, help: "the form of the log: text or json"},
	}},
	{"HTTP", []row{
		{key: "path", field: "Server.Path", zero: "/socket.io/", help: "where clients find the server: their option path"},
		{key: "cors.origins", field: "Server.HTTP.CORS.Origins", traits: common, help: "pages of other origins that may connect, such as https://app.example; one * stands for any characters"},
		{key: "cors.credentials", field: "Server.HTTP.CORS.Credentials", help: "whether these pages may send cookies"},
		{key: "cors.headers", field: "Server.HTTP.CORS.Headers", zero: "any", help: "request headers that these pages may set"},
		{key: "cors.max-age", field: "Server.HTTP.CORS.MaxAge", zero: "up to the browser", least: "1s", help: "how long browsers may remember the answer"},
		{key: "trusted-proxies", field: "Server.HTTP.TrustedProxies", help: "addresses of proxies whose X-Forwarded-Host, -Proto and -For are believed, such as 10.0.0.0/8"},
		{key: "keep-headers", field: "Server.HTTP.KeepHeaders", zero: "Authorization,Cookie,Origin,User-Agent,X-Forwarded-For", help: "headers of a connection's first request that the program can read later"},
		{key: "cookie.name", field: "Server.HTTP.Cookie.Name", zero: "no cookie", help: "a cookie for load balancers that send all requests of a client to one node, such as io"},
		{key: "cookie.path", field: "Server.HTTP.Cookie.Path", zero: "/", help: "the cookie's path"},
		{key: "cookie.domain", field: "Server.HTTP.Cookie.Domain", zero: "this host", help: "the cookie's domain"},
		{key: "cookie.max-age", field: "Server.HTTP.Cookie.MaxAge", zero: "the browser's session", help: "the cookie's age in seconds"},
		{key: "cookie.secure", field: "Server.HTTP.Cookie.Secure", zero: "over TLS", help: "whether browsers send the cookie over TLS alone"},
		{key: "cookie.same-site", field: "Server.HTTP.Cookie.SameSite", zero: "lax", help: "lax, strict or none"},
		{key: "cookie.partitioned", field: "Server.HTTP.Cookie.Partitioned", help: "whether the cookie belongs to the site that embeds the page"},
	}},
	{"Clients", []row{
		{key: "transports", field: "Server.Transports", zero: "polling,websocket", choices: []string{"polling", "websocket"}, help: "what clients may use"},
		{key: "disable-upgrades", field: "Server.DisableUpgrades", help: "whether clients that began to poll keep polling"},
		{key: "ping-interval", field: "Server.PingInterval", zero: "25s", least: "1ms", help: "from a client's last sign of life to the next ping"},
		{key: "ping-timeout", field: "Server.PingTimeout", zero: "20s", least: "1ms", help: "how long a client may take to answer a ping"},
		{key: "connect-timeout", field: "Server.ConnectTimeout", zero: "45s", help: "how long a connection may take to connect to its first namespace"},
		{key: "upgrade-timeout", field: "Server.UpgradeTimeout", zero: "10s", help: "how long the change from polling to a WebSocket may take"},
		{key: "time-handlers", field: "Server.TimeHandlers", help: "measures how long handlers take, for /metrics"},
		{key: "ack-timeout", field: "Server.AckTimeout", zero: "30s", help: "how long the program waits for clients' answers where it does not say"},
		{key: "compression.websocket", field: "Server.Compression.PerMessageDeflate", help: "whether messages of WebSockets are compressed"},
		{key: "compression.http", field: "Server.Compression.HTTP", help: "whether answers to clients that poll are compressed"},
		{key: "compression.threshold", field: "Server.Compression.Threshold", zero: "1KiB", traits: size, help: "from which size on something is compressed"},
	}},
	{"Recovery of clients that were away", []row{
		{key: "recovery", field: "Recovery", help: "whether a client that was away goes on with its session, and gets what it has missed; the same on all nodes"},
		{key: "recovery-max-away", field: "Server.Recovery.MaxAway", zero: "2m", least: "1s", help: "how long a client may be away"},
		{key: "recovery-log-bytes", field: "Server.Recovery.LogBytes", zero: "64MiB", traits: size, help: "the memory for events that clients may have missed; who needs older ones is not recovered"},
		{key: "recovery-max-sessions", field: "Server.Recovery.MaxSessions", zero: "100000", help: "how many clients may be away at a time; one more ends the session of the one that went first"},
		{key: "recovery-skip-middlewares", field: "Server.Recovery.SkipMiddlewares", help: "whether recovered clients connect without the program's middlewares, as with Socket.IO"},
		{key: "recovery-secret", field: "RecoverySecret", zero: "each node makes a key", traits: secret, help: "what clients' secrets are signed with; the same on all nodes, at least 16 random bytes"},
	}},
	{"Limits", []row{
		{key: "limits.max-payload", field: "Server.Limits.MaxPayload", zero: "1MB", traits: size, help: "one message of a client, with its attachments"},
		{key: "limits.attachments", field: "Server.Limits.Packet.Attachments", zero: "10", help: "attachments of one packet"},
		{key: "limits.attachment-bytes", field: "Server.Limits.Packet.AttachmentBytes", zero: "limits.max-payload", traits: size, help: "all attachments of one packet"},
		{key: "limits.arguments", field: "Server.Limits.Packet.Arguments", zero: "1000", help: "arguments of one packet, with the event's name"},
		{key: "limits.depth", field: "Server.Limits.Packet.Depth", zero: "1000", help: "arrays and objects inside each other, in one argument"},
		{key: "limits.namespace-bytes", field: "Server.Limits.Packet.NamespaceBytes", zero: "512B", traits: size, help: "the name of a namespace"},
		{key: "limits.handshake-bytes", field: "Server.Limits.HandshakeBytes", zero: "64KiB", traits: size | live, help: "what is kept of a connection's first request; likewise the auth of its sockets"},
		{key: "limits.max-sockets", field: "Server.Limits.MaxSockets", zero: "256", traits: live, help: "namespaces that one connection is in"},
		{key: "limits.max-namespaces", field: "Server.Limits.MaxNamespaces", zero: "1000", traits: live, help: "namespaces that clients make"},
		{key: "limits.max-events", field: "Server.Limits.MaxEvents", zero: "256", traits: live, help: "events of a socket that wait for its handlers"},
		{key: "limits.queue-bytes", field: "Server.Limits.QueueBytes", zero: "1MiB", traits: size, help: "what may wait for a client before it is judged by the next three"},
		{key: "limits.slow-rate", field: "Server.Limits.SlowRate", zero: "1KiB", traits: size, help: "bytes a second that a client must take, over limits.slow-after"},
		{key: "limits.slow-after", field: "Server.Limits.SlowAfter", help: "see limits.slow-rate"},
		{key: "limits.behind-for", field: "Server.Limits.BehindFor", zero: "1m", help: "how long more than limits.queue-bytes may wait for a client"},
		{key: "limits.budget-bytes", field: "Server.Limits.BudgetBytes", zero: "half of GOMEMLIMIT, or a quarter of the machine's memory", traits: size | live, help: "the memory of all that waits in this node"},
		{key: "limits.max-connections", field: "Server.Limits.MaxConnections", zero: unbounded, traits: live, help: "connections of all clients"},
		{key: "limits.per-address", field: "Server.Limits.PerAddress", zero: unbounded, traits: live, help: "connections of one address; behind a proxy of trusted-proxies, of X-Forwarded-For"},
		{key: "limits.per-key", field: "Server.Limits.PerKey", zero: unbounded, traits: live, help: "connections of one user or customer, if the program says whose they are"},
		{key: "limits.handshakes", field: "Server.Limits.Handshakes", zero: unbounded, traits: live, help: "connections that begin in a second; others wait for limits.handshake-wait"},
		{key: "limits.handshake-wait", field: "Server.Limits.HandshakeWait", zero: "5s", traits: live, help: "see limits.handshakes"},
		{key: "limits.event-rate", field: "Server.Limits.EventRate", zero: unbounded, traits: live, help: "packets of a client in a second; who sends more is held back"},
		{key: "limits.event-burst", field: "Server.Limits.EventBurst", zero: "limits.event-rate", traits: live, help: "packets that may come at once, after a pause"},
		{key: "limits.byte-rate", field: "Server.Limits.ByteRate", zero: unbounded, least: "1KiB", traits: size | live, help: "bytes of a client in a second; who sends more is held back"},
		{key: "limits.byte-burst", field: "Server.Limits.ByteBurst", zero: "limits.byte-rate", least: "1KiB", traits: size | live, help: "bytes that may come at once, after a pause"},
		{key: "limits.fast-for", field: "Server.Limits.FastFor", zero: "30s", traits: live, help: "how long a client may be held back before it is disconnected"},
		{key: "limits.max-rooms", field: "Server.Limits.MaxRooms", zero: unbounded, traits: live, help: "rooms that a socket joins"},
		{key: "limits.namespaces-per-address", field: "Server.Limits.NamespacesPerAddress", zero: unbounded, traits: live, help: "namespaces, of those that clients make, of one address"},
	}},
	{"Cluster", []row{
		{key: "cluster.queue-bytes", field: "Server.Cluster.QueueBytes", zero: "32MiB", traits: size, help: "broadcasts that wait for the adapter"},
		{key: "cluster.repair-bytes", field: "Server.Cluster.RepairBytes", zero: "64MiB", traits: size, help: "broadcasts that are kept to be sent again to nodes that missed them"},
		{key: "cluster.name-suspects", field: "Server.Cluster.NameSuspects", zero: "10s", help: "how long errors name a node that does not answer"},
	}},
	{"NATS, for the adapters nats:, tls: and embedded:", []row{
		{key: "nats.cluster", field: "NATS.Cluster", traits: common, help: "the cluster's name: nodes with the same one on the same NATS belong together"},
		{key: "nats.prefix", field: "NATS.Prefix", zero: "belfry", help: "what every subject begins with"},
		{key: "nats.name", field: "NATS.Name", zero: "the node's name and id", help: "what NATS calls the node's connections"},
		{key: "nats.creds", field: "NATS.Creds", traits: common | file, help: "a credentials file (.creds); read again with each connection"},
		{key: "nats.nkey", field: "NATS.Nkey", traits: file, help: "a file that has the seed of an nkey (SU...); read again with each connection"},
		{key: "nats.token", field: "NATS.Token", traits: secret, help: "a token; its file is read again with each connection"},
		{key: "nats.user", field: "NATS.User", help: "a user, with nats.password"},
		{key: "nats.password", field: "NATS.Password", traits: secret, help: "the user's password; its file is read again with each connection"},
		{key: "nats.ca", field: "NATS.CA", traits: file, help: "who vouches for the servers' certificates, in PEM; read again with each connection"},
		{key: "nats.cert", field: "NATS.Cert", traits: file, help: "this node's own certificate for NATS, in PEM; read again with each connection"},
		{key: "nats.key", field: "NATS.Key", traits: file, help: "the key of nats.cert, in PEM"},
	}},
	{"The NATS server of the adapter embedded:", []row{
		{key: "embedded.listen", field: "Embedded.Listen", zero: "no other nodes", check: checkHostPort, help: "where the NATS servers of other nodes connect, such as :6222"},
		{key: "embedded.routes", field: "Embedded.Routes", check: checkRoute, help: "the embedded.listen addresses of other nodes, such as nats://a:6222,nats://b:6222; one that is up suffices"},
		{key: "embedded.secret", field: "Embedded.Secret", traits: secret, help: "what all nodes of the cluster know, and others do not; needed unless embedded.listen is loopback"},
		{key: "embedded.clients", field: "Embedded.Clients", zero: "127.0.0.1:0", check: checkHostPort, help: "where other programs connect to this NATS server; port 0 means a free one"},
		{key: "embedded.user", field: "Embedded.User", help: "the user that these programs need, with embedded.password"},
		{key: "embedded.password", field: "Embedded.Password", traits: secret, help: "the user's password"},
	}},
}

// byCode names the fields of wsserver.Config that only the program can set, and why.
var byCode = map[string]string{
	"Adapter":          "made from the setting adapter",
	"HTTP.AllowOrigin": "a function", "HTTP.AllowRequest": "a function", "HTTP.Key": "a function", "HTTP.ClientFiles": "the program's files",
	"Recovery.Data": "a value of Go", "Recovery.Secret": "made from the setting recovery-secret",
	"Codec": "a value of Go", "Tracer": "a value of Go", "OnError": "a function", "Cluster.OnLoss": "a function",
	"Logger":            "made from the settings log.level and log.format",
	"HTTP.Cookie.Value": "the server's", "HTTP.Cookie.HttpOnly": "always true", "HTTP.Cookie.Quoted": "the server's",
	"HTTP.Cookie.Expires": "cookie.max-age says the same", "HTTP.Cookie.RawExpires": "of cookies that were read",
	"HTTP.Cookie.Raw": "of cookies that were read", "HTTP.Cookie.Unparsed": "of cookies that were read",
}

// fieldOf returns a field of v by its path, and makes what pointers on the way point to.
func fieldOf(v reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.FieldByName(name)
	}
	return v
}

// newValues returns values as the program has set them. What it has set stays the program's: pointers
// are to copies.
func newValues(p Program) *values {
	v := &values{Server: p.Server, StartTime: 15 * time.Second, ShutdownTime: 10 * time.Second}
	v.Drain = drainValues{Over: 30 * time.Second, Rate: 1000, Linger: time.Second}
	v.Addr = []string{cmp.Or(p.Addr, ":8080")}
	v.Log.Format, v.Log.Level = "text", p.LogLevel
	v.NATS = natsValues{Cluster: cmp.Or(p.NATS.Cluster, p.Name), Prefix: p.NATS.Prefix, Name: p.NATS.Name}
	v.Adapter = p.NATS.URL
	if v.Adapter == "" && p.Server.Adapter == nil {
		v.Adapter = "memory:"
	}
	v.Server.HTTP.CORS, v.Server.HTTP.Cookie, v.Server.Recovery = new(wsserver.CORS), new(http.Cookie), new(wsserver.Recovery)
	if p.Server.Recovery != nil {
		*v.Server.Recovery = *p.Server.Recovery
		v.Recovery, v.RecoverySecret = true, string(p.Server.Recovery.Secret)
	}
	if p.Server.HTTP.CORS != nil {
		*v.Server.HTTP.CORS = *p.Server.HTTP.CORS
	}
	if p.Server.HTTP.Cookie != nil {
		*v.Server.HTTP.Cookie = *p.Server.HTTP.Cookie
	}
	return v
}
