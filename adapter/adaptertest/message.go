package adaptertest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

// pattern returns the i-th message of a publisher: a header, and filling that differs from message to message, size bytes or a few
// more in all.
func pattern(publisher string, i, size int) []byte {
	msg := fmt.Appendf(make([]byte, 0, size), "%s %d %d ", publisher, i, size)
	const period = 256
	filling := len(msg)
	for len(msg) < size && len(msg) < filling+period {
		msg = append(msg, byte(i+len(msg)*7))
	}
	for len(msg) < size {
		msg = append(msg, msg[filling:min(len(msg), filling+size-len(msg))]...)
	}
	return msg
}

// parsePattern reads the header of a message and checks the rest against it.
func parsePattern(msg []byte) (publisher string, i int, err error) {
	var size int
	header := msg[:min(len(msg), 64)]
	if _, err := fmt.Sscanf(string(header), "%s %d %d ", &publisher, &i, &size); err != nil {
		return "", 0, fmt.Errorf("received a message that nobody has published: %.40q, %d bytes", msg, len(msg))
	}
	if want := pattern(publisher, i, size); !bytes.Equal(msg, want) {
		return "", 0, fmt.Errorf("message %d of %s has been changed: got %d bytes, want %d; first difference at byte %d",
			i, publisher, len(msg), len(want), difference(msg, want))
	}
	return publisher, i, nil
}

// difference returns the index of the first byte in which a and b differ.
func difference(a, b []byte) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// series are the messages that a node receives of the publishers that number them. A message that comes a second time is legal.
type series struct {
	n    *node
	next map[string]int // by publisher: the number that is due, guarded by n.mu
}

// expectSeries takes what n receives from now on as series that begin at zero. It calls arrived, unless that is nil, for each message
// that is not a copy.
func expectSeries(n *node, arrived func(publisher string, i int, msg []byte)) *series {
	s := &series{n: n, next: make(map[string]int)}
	n.onMessage(func(msg []byte) {
		publisher, i, err := parsePattern(msg)
		switch {
		case err != nil:
			n.c.breach("%s: %v", n.id, err)
		case i > s.next[publisher]:
			n.c.breach("%s: message %d of %s came when %d was due: order or a message is lost", n.id, i, publisher, s.next[publisher])
			s.next[publisher] = i + 1
		case i == s.next[publisher]:
			s.next[publisher]++
			if arrived != nil {
				arrived(publisher, i, msg)
			}
		}
	})
	return s
}

// wait waits until all messages of the publisher up to count have come.
func (s *series) wait(publisher *node, count int) {
	s.n.c.t.Helper()
	s.n.wait(func() string {
		if got := s.next[publisher.id]; got < count {
			return fmt.Sprintf("got %d of the %d messages of %s", got, count, publisher.id)
		}
		return ""
	})
}

// publishSeries returns a function that publishes the messages from to end-1 of n's series, on the topics in turn.
func (n *node) publishSeries(from, end, size int, topics ...adapter.Topic) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for i := from; i < end; i++ {
			if err := n.link.Publish(ctx, topics[i%len(topics)], pattern(n.id, i, size)); err != nil {
				return fmt.Errorf("%s: message %d: %w", n.id, i, err)
			}
		}
		return nil
	}
}
