// Package natsadapter carries the broadcasts of a cluster over NATS: it implements
// [adapter.Adapter].
//
// Each room has a subject of its own, so a broadcast travels only to nodes with a member. Names of
// namespaces and rooms are encoded, and never stand in a subject as they are. A user of the NATS
// server needs permission to publish and subscribe to "<prefix>.v1.<cluster>.>". There <cluster> is
// the cluster's name behind an 'r', with every byte other than letters, digits, '-' and '_' as
// "=XX". The default is "belfry.v1.rbelfry.>".
//
// # Failures
//
// A link uses one connection at a time, and no connection twice. When a connection is lost, or NATS
// closes it, the link makes a new one and gives it all subscriptions before it publishes. Until
// then the link is Degraded, and Publish returns an error that wraps [adapter.ErrUnavailable].
// Nothing is kept to be sent later, because it would arrive behind newer messages. Messages that
// the old connection had not delivered are lost, since NATS promises no more; package cluster
// notices and repairs that.
//
// Subscriptions take time: seconds for 100,000 rooms. So from 1,000 rooms on, a new connection
// begins with a single subscription to all rooms of the cluster, and is in use after one round
// trip. After a second the link adds its own subscriptions, and half a second after they stand it
// ends the single one. Until then the node receives the messages to all nodes' rooms, of which the
// link drops those for other nodes, and at the end those to its own rooms twice. If it cannot keep
// up, it gives the single subscription up, and is Degraded until its own stand. [Config.NoCover]
// turns this off.
//
// When a server announces that it goes away (lame duck mode), the link connects to another one
// first, and receives from both for a while: nothing is lost, and some messages arrive twice.
//
// Before a link is Connected, it tries what its node needs: to publish to each kind of subject, and
// to subscribe to it. While the server denies any of that, the link is Refused: the node is outside
// of the cluster, and the State names the missing permission. If the server denies only one room or
// namespace, the link stays Connected, since everything else works. Its State and the error of the
// Join name the permission and the topic. The link tries again by itself.
//
// # Order
//
// The messages of one publisher arrive in the order in which it published them, as long as neither
// it nor the receiver changes connections. A change on the receiver's side keeps the order: it
// delivers everything from the old connection before it turns to the new one. After a change on the
// publisher's side, messages from its old connection may arrive late, behind newer ones, because
// they come through another server.
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

// Config configures an [Adapter]. The zero value means a server on this host and a cluster named
// "belfry".
type Config struct {
	// URL is the NATS server, or a list of servers separated by commas: "nats://host:4222" or
	// "tls://user:password@host:4222". A link picks one at random, and moves on when it loses that
	// one, also to servers that it has learned of from their cluster. Empty means nats.DefaultURL,
	// nats://127.0.0.1:4222.
	URL string

	// Cluster is the name of the cluster: nodes with the same name on the same NATS belong
	// together. It may be any text. Empty means "belfry".
	Cluster string

	// Prefix begins every subject: at most 64 letters, digits, '-', '_' and single dots between
	// them. Empty means "belfry".
	Prefix string

	// Name is what the NATS server calls the connections in its lists, such as that of `nats server
	// report connections`; a nats.Name among Options wins. Empty means the name and the id of the
	// server or emitter that opens a link, such as "web-1 (Kd0s6fQ1Zk)".
	Name string

	// Logger takes reports about the connections. nil means the logger of the server or emitter
	// that opens a link.
	Logger *slog.Logger

	// NoCover turns off the single subscription to all rooms that replaces a lost connection's
	// subscriptions for a moment, from 1,000 rooms on: see the package's documentation. Set it if
	// that may be too much for a node or its network. A link does without it anyway if the server
	// denies it, and after a connection that was lost under it.
	NoCover bool

	// Options are further options of the connections: credentials, TLS, timeouts. The link
	// overrides those for servers, echo, reconnecting, and the handlers of errors, lame duck
	// mode and closing. nats.ReconnectWait and nats.ReconnectJitter are the pauses between its
	// attempts.
	Options []nats.Option
}

// defaultName is what connections are called of which nobody has said a name.
const defaultName = "belfry"

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

// Stats counts what happened to the links of an [Adapter] since it was made.
type Stats struct {
	Connections uint64 // connections made; more than one a link means that one was lost or replaced
	Covered     uint64 // of these, with a single subscription to all rooms at first; see Config.NoCover
	Dropped     uint64 // messages dropped because the link's receiver was too slow; a lower bound
	Refused     uint64 // subscriptions and messages that the server denied
	Overheard   uint64 // messages for other nodes, dropped during a single subscription to all rooms
}

var (
	_ adapter.Guarded = (*Adapter)(nil)
	_ adapter.Counter = (*Adapter)(nil)
)

// New returns an Adapter for cfg. New does not check cfg; Open does.
func New(cfg Config) *Adapter {
	cfg.URL = cmp.Or(cfg.URL, nats.DefaultURL)
	cfg.Cluster = cmp.Or(cfg.Cluster, "belfry")
	cfg.Prefix = cmp.Or(cfg.Prefix, "belfry")
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

// Counts implements [adapter.Counter].
func (a *Adapter) Counts() adapter.Counts {
	return adapter.Counts{Dropped: a.stats.dropped.Load(), Denied: a.stats.refused.Load()}
}

// Open implements [adapter.Adapter]. It returns when a server has been reached, or none could be:
// then the link begins as Degraded. It returns an error if a server turns down the credentials or
// the certificate; later, that makes the link Degraded.
//
// The link's Publish blocks while the server does not read, for about a second at the longest, even
// if its ctx ends before.
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
	set.options.Name = cmp.Or(set.options.Name, needs.Name, defaultName)
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
		// A deadline does not tell that the configuration is wrong: the link goes on trying. One
		// who cancels does not want it.
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
	o.Name = cmp.Or(o.Name, a.cfg.Name)
	o.NoEcho = true
	o.Verbose, o.Pedantic, o.SkipSubjectValidation = false, false, false
	o.AllowReconnect, o.RetryOnFailedConnect = false, false // link makes a new connection instead
	o.NoCallbacksAfterClientClose = false                   // link waits for the end of a connection
	return s, nil
}
