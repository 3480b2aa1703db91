package figures

import (
	"bytes"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
)

// payload is what is sent.
var payload = strings.Repeat("x", 64)

// A room has members, and a client that publishes to it.
type room struct {
	from        *client
	members     []*client
	frame, want []byte // what that sends, and each member receives
}

func (n *node) room(t *testing.T, size int) room {
	t.Helper()
	_, want := n.message(t, event(t, false, "message", payload))
	members := n.crowd(t, size)
	join := n.frame(t, event(t, true, "join", "room"))
	for _, c := range members {
		c.send(t, join)
	}
	for _, c := range members {
		c.read(t)
	}
	return room{n.connect(t), members, n.frame(t, event(t, false, "publish", "room", payload)), want}
}

// publish publishes so many messages at once, and returns when all members have them.
func (r room) publish(t *testing.T, times int) {
	t.Helper()
	r.from.send(t, bytes.Repeat(r.frame, times))
	for _, c := range r.members {
		for range times {
			c.expect(t, r.want)
		}
	}
}

// An echo is an event that is acknowledged, and that acknowledgement.
type echo struct{ frame, want []byte }

func (n *node) echo(t *testing.T) echo {
	t.Helper()
	ack := event(t, true, payload)
	ack.Type = packet.Ack
	_, want := n.message(t, ack)
	return echo{n.frame(t, event(t, true, "echo", payload)), want}
}

// times sends the event so many times, each after the answer to the one before.
func (e echo) times(t *testing.T, c *client, times int) {
	t.Helper()
	for range times {
		c.send(t, e.frame)
		c.expect(t, e.want)
	}
}
