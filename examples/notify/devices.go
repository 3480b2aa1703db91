package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

const (
	waitForNodes   = 5 * time.Second // that count devices, or tell what they remember
	maxReadAtATime = 500
)

// devices serves the devices of one node, and reaches those of all.
type devices struct {
	io      *wsserver.Server
	ns      *wsserver.Namespace
	url     string // of the node
	inbox   *inbox
	answers *answers
	log     *slog.Logger
}

// A welcome is what a device gets first.
type welcome struct {
	User   string         `json:"user"`
	Node   string         `json:"node"`   // the address of the node it is connected to
	Nodes  []string       `json:"nodes"`  // of all that live
	Unread []notification `json:"unread"` // oldest first; of a device that was recovered none
	Read   []string       `json:"read"`   // ids of those that are read; likewise
}

// A delivery says who has a notification.
type delivery struct {
	ID      string   `json:"id"`
	Devices int      `json:"devices"`           // that have it
	Missing []string `json:"missing,omitempty"` // nodes that did not answer: their devices may have it, too
}

// done is the answer to what has no other.
type done struct{}

// newDevices makes io serve the devices of those whom id knows.
func newDevices(io *wsserver.Server, id *identity, url string, log *slog.Logger) *devices {
	d := &devices{io: io, ns: io.Of("/"), url: url, inbox: newInbox(), answers: newAnswers(), log: log}
	d.ns.Use(id.admit)
	d.ns.OnConnect(d.connect)
	wsserver.OnAck(d.ns, "read", d.read)
	// What nodes tell each other.
	wsserver.OnServerSide(d.ns, "learn", func(_ context.Context, m memory) error {
		d.inbox.learn(m)
		return nil
	})
	wsserver.OnServerSideAck(d.ns, "recall", func(context.Context, done) (memory, error) {
		return d.inbox.all(), nil
	})
	wsserver.OnServerSide(d.ns, "answered", func(_ context.Context, a answered) error {
		d.answers.learn(a)
		return nil
	})
	return d
}

func (d *devices) connect(ctx context.Context, s *wsserver.Socket) error {
	u, _ := wsserver.DataOf[user](s)
	// The client is told that it was disconnected; when it comes back, it is told why.
	expiry := time.AfterFunc(time.Until(u.Until), s.Disconnect)
	context.AfterFunc(s.Context(), func() { expiry.Stop() })
	err := s.Join(ctx, u.rooms()...)
	if _, unfenced := errors.AsType[*cluster.UnfencedError](err); err != nil && !unfenced {
		return err
	}
	nodes, _ := d.io.Nodes()
	w := welcome{User: u.ID, Node: d.url, Nodes: addresses(nodes)}
	if s.Recovered() {
		leaveOthers(s, u) // its token may be another one
	} else {
		w.Unread, w.Read = d.inbox.of(u)
	}
	return errors.Join(err, s.Emit(ctx, "welcome", w))
}

// leaveOthers has a device leave the rooms that its user is not in any more.
func leaveOthers(s *wsserver.Socket, u user) {
	for _, room := range s.Rooms() {
		if room != s.ID() && !slices.Contains(u.rooms(), room) {
			s.Leave(room)
		}
	}
}

// read takes notifications off the lists of all devices of a user.
func (d *devices) read(ctx context.Context, s *wsserver.Socket, ids []string) (done, error) {
	if len(ids) > maxReadAtATime {
		why := fmt.Sprintf("Read at most %d at a time.", maxReadAtATime)
		return done{}, &wsserver.AckError{Message: why}
	}
	u, _ := wsserver.DataOf[user](s)
	m := memory{Reads: d.inbox.read(u, ids)}
	d.inbox.learn(m)
	return done{}, errors.Join(
		d.ns.ServerSideEmit(ctx, "learn", m),
		s.To(userRoom(u.ID)).Emit(ctx, "read", ids),
	)
}

// send sends a notification to the devices in its room, on all nodes, and returns when these have
// said how many there are. After an error other nodes do not have it.
func (d *devices) send(ctx context.Context, n notification) (delivery, error) {
	m := memory{Kept: []notification{n}}
	d.inbox.learn(m)
	if err := d.ns.ServerSideEmit(ctx, "learn", m); err != nil {
		return delivery{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, waitForNodes)
	defer cancel()
	count, err := d.ns.To(n.Room).EmitCounted(ctx, "notification", n)
	got := delivery{ID: n.ID, Devices: count}
	if partial, ok := errors.AsType[*cluster.PartialError](err); ok {
		got.Missing = partial.Nodes
		return got, nil
	}
	return got, err
}

// sendOnce is send for a request that may be repeated, at this node or another.
func (d *devices) sendOnce(
	ctx context.Context, key, request string, n notification,
) (got delivery, again bool, err error) {
	return d.answers.once(ctx, key, request, func() (delivery, error) {
		got, err := d.send(context.WithoutCancel(ctx), n) // who repeats a request has given this one up
		if err == nil {
			err = d.ns.ServerSideEmit(ctx, "answered", answered{key, request, got})
		}
		return got, err
	})
}

// recall gets what the other nodes remember.
func (d *devices) recall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, waitForNodes)
	defer cancel()
	responses, err := d.ns.ServerSideEmitWithAck(ctx, "recall", done{})
	for _, r := range responses {
		var m memory
		err = errors.Join(err, r.Decode(&m))
		d.inbox.learn(m)
	}
	if err != nil {
		d.log.Warn("notify: other nodes have not said what was sent before", "error", err)
	}
}

// watch tells this node's devices where they can go when it dies, until ctx ends.
func (d *devices) watch(ctx context.Context) {
	for {
		nodes, changed := d.io.Nodes()
		if err := d.ns.All().Local().Emit(ctx, "nodes", addresses(nodes)); err != nil {
			d.log.Warn("notify: devices have not heard which nodes there are", "error", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// addresses are those of the nodes that live: a node's name is its address, unless it was given
// another.
func addresses(nodes []cluster.Node) []string {
	list := []string{}
	for _, n := range nodes {
		if !n.Suspect && strings.HasPrefix(n.Name, "http") && !slices.Contains(list, n.Name) {
			list = append(list, n.Name)
		}
	}
	return list
}
