// Package natsadapter carries the broadcasts of a cluster over NATS: it implements [adapter.Adapter].
//
// A plain room is a subject, so that a broadcast travels only to the nodes with a member. Names of namespaces and rooms are encoded and
// never stand in a subject as they are. A user of the NATS server needs permission to publish and subscribe to
// "<prefix>.v1.<cluster>.>", where <cluster> is the cluster's name behind an 'r', with every byte other than letters, digits, '-' and
// '_' as "=XX"; by default "belfry.v1.rbelfry.>".
//
// # What a link does when things go wrong
//
// A link uses one connection at a time and no connection twice: when it is lost, or NATS closes it, a new one is made and given all
// subscriptions before it publishes. Until then the link is Degraded and Publish returns an error that wraps [adapter.ErrUnavailable];
// nothing is kept to be sent later, because it would then arrive behind newer messages. What the old connection had not delivered is
// lost, as NATS promises no more; the protocol in package adapter sees that it is missing.
//
// A node with 1,000 rooms or more does not wait for its subscriptions, which take seconds for 100,000: the new connection begins with a
// single one, to all rooms of the cluster, and is in use after one round trip. The link leaves aside what is for other nodes alone, gives
// the connection its own subscriptions beside it after a second, and ends that one half a second after they stand. The price is that until then the node receives
// what is sent to the rooms of all nodes, and in the end what is sent to its own rooms twice. If it cannot keep up, the link gives this up, and is
// Degraded until its subscriptions stand. Config.NoCover turns it off.
//
// When a server announces that it goes away (lame duck mode), the link connects to another one first, and lets both deliver for a
// while: nothing is lost, some messages arrive twice.
//
// A node tries what it may before its link is Connected: to publish to each kind of subject, and to subscribe to it. While the server denies one of
// them, the link is Refused, which means that the node is outside of the cluster, and its State names the permission that is missing. A
// server that denies a room or a namespace alone leaves the link Connected, since everything else goes on, with a reason in its State that
// names the permission and the topic, and so does the error of the Join that needs it. The link tries again by itself.
//
// # Order
//
// The messages of one publisher arrive in the order in which it published them while neither it nor the receiver changes connections.
// A receiver delivers what its old connection has brought before it turns to the new one, so a change on its side costs no order.
// After a change on the publisher's side, what it had sent over its old connection may arrive late, behind newer messages: its way
// leads through another server.
package natsadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
)

// Config configures an [Adapter]. The zero value means a server on this host and a cluster named "belfry".
type Config struct {
	// URL is the NATS server, or a list of them separated by commas: "nats://host:4222" or "tls://user:password@host:4222".
	// A link picks one at random, and moves on when that one is lost, also to servers that it has learned of from their cluster.
	// Empty means nats.DefaultURL, nats://127.0.0.1:4222.
	URL string

	// Cluster is the name of the cluster: nodes with the same name on the same NATS belong together. Any text will do.
	// Empty means "belfry".
	Cluster string

	// Prefix begins every subject: letters, digits, '-', '_' and single dots between them, 64 at the most. Empty means "belfry".
	Prefix string

	// Name is what the NATS server calls the connections in its reports. Empty means "belfry".
	Name string

	// Logger receives what happens to the connections. nil means the logger of the server or emitter that opens a link.
	Logger *slog.Logger

	// NoCover keeps a link from subscribing to all rooms of the cluster at once when a lost connection is replaced, which it otherwise does
	// from 1,000 rooms on, until its own subscriptions stand again: see the package's documentation. Set it where that may be more than a
	// node, or its network, can take. A link also does without where the server denies it, and after a connection that was lost under it.
	NoCover bool

	// Options are further options of the connections: credentials, TLS, time-outs. What concerns servers, name and echo, whether to
	// reconnect and how often, and the handlers of errors, lame duck mode and closing, the link sets by itself and overrides.
	// nats.ReconnectWait and nats.ReconnectJitter are the pauses between its attempts.
	Options []nats.Option
}

// The defaults of times and bounds. Options may change those that nats.go knows.
const (
	pingInterval   = 2 * time.Second // with maxPings: a server that hangs is noticed within 6 s
	maxPings       = 2
	writeTimeout   = time.Second            // bounds each write, and with it how long Publish blocks
	reconnectWait  = 100 * time.Millisecond // between rounds of attempts
	reconnectSpray = 500 * time.Millisecond // added at random, so that not all nodes return at once
)

// An Adapter joins nodes over NATS. Its methods may be called concurrently.
type Adapter struct {
	cfg   Config
	times times
	stats struct{ connections, covered, dropped, refused, overheard atomic.Uint64 }
}

// times are the bounds of a link; tests shorten them.
type times struct {
	queue        int           // messages between a connection and recv: what is over it is dropped
	linger       time.Duration // how long what is replaced delivers beside what replaces it: an old connection, or a cover
	retryRefused time.Duration // until a connection is replaced because the server refused something on it; doubles up to 16 times this
	retryOutside time.Duration // until a node that the server denies what it needs tries again; doubles up to 16 times this
	rehearse     time.Duration // between two trials of what the node needs: no server tells that it withholds messages from now on
	closeFlush   time.Duration // for what was published before Close, or before a connection is replaced
	syncFlush    time.Duration // until the server has taken all subscriptions of a new connection
	recount      time.Duration // between two counts of dropped messages
	coverFrom    int           // rooms; with fewer, a new connection is given all subscriptions before it is used
	uncoverAfter time.Duration // how long a cover stands before rooms are subscribed one by one
}

// Stats counts what happened to the links of an Adapter since it was made.
type Stats struct {
	Connections uint64 // connections made; more than one a link: it was lost or replaced
	Covered     uint64 // of these, those that began with one subscription to all rooms; see Config.NoCover
	Dropped     uint64 // messages that came in and were dropped since the link's receiver was too slow; a lower bound
	Refused     uint64 // refusals by the server: subscriptions or messages that it denied
	Overheard   uint64 // messages for other nodes that came while all rooms were subscribed at once, and were left aside
}

var _ adapter.Guarded = (*Adapter)(nil)

// New returns an Adapter for cfg. Whether cfg makes sense, Open tells.
func New(cfg Config) *Adapter {
	cfg.URL = cmp.Or(cfg.URL, nats.DefaultURL)
	cfg.Cluster = cmp.Or(cfg.Cluster, "belfry")
	cfg.Prefix = cmp.Or(cfg.Prefix, "belfry")
	cfg.Name = cmp.Or(cfg.Name, "belfry")
	return &Adapter{cfg: cfg, times: times{
		queue:        64 << 10,
		linger:       500 * time.Millisecond,
		retryRefused: 30 * time.Second,
		retryOutside: 2 * time.Second,
		rehearse:     30 * time.Second,
		closeFlush:   time.Second,
		syncFlush:    10 * time.Second,
		recount:      time.Second,
		coverFrom:    1000,
		uncoverAfter: time.Second,
	}}
}

// Stats returns the counts so far.
func (a *Adapter) Stats() Stats {
	return Stats{
		Connections: a.stats.connections.Load(),
		Covered:     a.stats.covered.Load(),
		Dropped:     a.stats.dropped.Load(),
		Refused:     a.stats.refused.Load(),
		Overheard:   a.stats.overheard.Load(),
	}
}

// Open implements [adapter.Adapter]. It returns once a server has been reached, or none could be; the link then starts out as Degraded.
// Credentials or certificates that a server turns down are an error here; later they make the link Degraded.
//
// Publish of the link blocks while the server does not read, for about a second at the longest, even if its ctx ends before.
func (a *Adapter) Open(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
	return a.OpenFor(ctx, adapter.Needs{}, recv)
}

// OpenFor implements [adapter.Guarded]; see Open.
func (a *Adapter) OpenFor(ctx context.Context, needs adapter.Needs, recv func(msg []byte)) (adapter.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("natsadapter: open: %w", err)
	}
	set, err := a.resolve()
	if err != nil {
		return nil, fmt.Errorf("natsadapter: open: %w", err)
	}
	if set.log == nil {
		set.log = cmp.Or(needs.Logger, slog.Default())
	}
	if set.needs, err = set.naming.needed(needs); err != nil {
		return nil, fmt.Errorf("natsadapter: open: %w", err)
	}
	l := newLink(a, set, recv)
	select {
	case err = <-l.first:
		if _, ok := errors.AsType[*configError](err); !ok {
			err = nil
		}
	case <-ctx.Done():
		// A deadline does not tell that the configuration is wrong: the link goes on trying. One who cancels does not want it.
		if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("natsadapter: open: %w", err), l.Close())
	}
	return l, nil
}

// settings are what a Config amounts to.
type settings struct {
	naming  naming
	needs   []permission
	servers []*url.URL
	options nats.Options
	log     *slog.Logger
}

func (a *Adapter) resolve() (settings, error) {
	s := settings{options: nats.GetDefaultOptions(), log: a.cfg.Logger}
	var err error
	if s.servers, err = parseServers(a.cfg.URL); err != nil {
		return s, err
	}
	if s.naming, err = newNaming(a.cfg.Prefix, a.cfg.Cluster); err != nil {
		return s, err
	}
	o := &s.options
	o.PingInterval, o.MaxPingsOut = pingInterval, maxPings
	o.FlusherTimeout = writeTimeout
	o.ReconnectWait, o.ReconnectJitter = reconnectWait, reconnectSpray
	for _, option := range a.cfg.Options {
		if option == nil {
			continue
		}
		if err := option(o); err != nil {
			return s, fmt.Errorf("option: %w", err)
		}
	}
	o.Url, o.NoRandomize = "", true
	o.Name = a.cfg.Name
	o.NoEcho = true
	o.Verbose, o.Pedantic, o.SkipSubjectValidation = false, false, false
	o.AllowReconnect, o.RetryOnFailedConnect = false, false // link makes a new connection instead
	o.NoCallbacksAfterClientClose = false                   // link waits for the end of a connection
	return s, nil
}
