package crowd

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

const (
	bufferSize = 256 << 10 // of what is read at once
	maxMessage = 16<<20 + 1<<10
	maxQueue   = 64 << 20 // bytes that a server may leave unread before its client is given up
)

// A state is how far a client has come.
type state int

const (
	upgrading state = iota // waits for the answer to its handshake
	opening                // waits for the first message of the server
	asking                 // waits for the answer to its CONNECT
	alive
	gone
)

// A client is a connection to the server. Its fields are guarded by the crowd's mu.
type client struct {
	state  state
	target *url.URL
	link   link
	fd     int    // of a link that is a descriptor
	rest   []byte // received, but not a whole frame
	need   int    // length of the frame that it begins with; 0 if it does not tell
	parts  []byte // of a message that comes in several frames
	partOp byte   // of its first frame
	out    []byte // to be written
	dirty  bool   // in the crowd's list of those with something to write
	slow   bool   // does not read
	shrunk bool   // the server compresses

	index int
	id    string // of the session that the server has told
	room  *room
	rank  int // in room

	busy   bool          // in the phase
	done   bool          // and it has succeeded there
	since  time.Duration // when that began
	asked  int           // id of the ack that it waits for
	own    bool          // which says whether it has joined
	acks   int           // the last id of an ack, or of a command
	echo   *route        // whose answers are acks
	base   int           // id of the ack of its first publish
	heard  time.Duration // when the last delivery came
	from   int           // the first route whose deliveries count: it was slow before
	binary int           // attachments that are still to come
	answer int           // id of the ack whose attachments they are; -1 for those of an event
	pongs  bool          // the server of centrifuge wants answers to its pings
}

// A link is how a client's bytes travel. The crowd's mu is held in all methods, which do not block.
type link interface {
	flush(cl *client) error // writes out, or has it written
	pause(cl *client, on bool) error
	close(cl *client)
}

// send has a message sent: a text, or binary.
func (c *Crowd) send(cl *client, binary bool, message []byte) {
	if cl.state == gone {
		return
	}
	if c.cfg.Transport == Polling {
		cl.out = appendPacket(cl.out, binary, message)
	} else {
		op := byte(opText)
		if binary {
			op = opBinary
		}
		cl.out = appendMasked(cl.out, fin|op, message)
	}
	c.mark(cl)
}

// mark has a client's out written in this step.
func (c *Crowd) mark(cl *client) {
	if !cl.dirty {
		cl.dirty = true
		c.dirty = append(c.dirty, cl)
	}
}

var errQueue = errors.New("the server does not read what is sent to it")

// handle takes bytes of a WebSocket, the answer to its handshake first, and returns those that are not a
// whole frame.
func (c *Crowd) handle(cl *client, p []byte) (rest []byte, err error) {
	if cl.state == upgrading {
		var done bool
		if p, done, err = c.upgraded(cl, p); !done || err != nil {
			return p, err
		}
	}
	now := c.now()
	for {
		f, size, err := nextFrame(p)
		if err != nil || size == 0 {
			return p, err
		}
		if err := c.frame(cl, f, now); err != nil {
			return nil, err
		}
		if cl.state == gone {
			return nil, nil
		}
		p = p[size:]
	}
}

// frame takes a frame.
func (c *Crowd) frame(cl *client, f frame, now time.Duration) error {
	switch f.op() {
	case opClose:
		return closedBy(f.payload)
	case opPing:
		cl.out = appendMasked(cl.out, fin|opPong, f.payload)
		c.mark(cl)
		return nil
	case opPong:
		return nil
	case opContinuation:
		if cl.partOp == 0 {
			return errFrame
		}
	case opText, opBinary:
		if f.first&fin != 0 {
			return c.message(cl, f.first, f.payload, now)
		}
		cl.partOp, cl.parts = f.first, c.borrow()
	default:
		return errFrame
	}
	if cl.parts = append(cl.parts, f.payload...); len(cl.parts) > maxMessage {
		return errLarge
	}
	if f.first&fin == 0 {
		return nil
	}
	first, whole := cl.partOp|fin, cl.parts
	cl.partOp, cl.parts = 0, nil
	err := c.message(cl, first, whole, now)
	c.giveBack(whole)
	return err
}

// borrow returns an empty buffer, and giveBack takes it back: messages of all clients share some. Both are
// for what is large or rare. c.mu must be held.
func (c *Crowd) borrow() (b []byte) {
	if n := len(c.spare); n > 0 {
		b, c.spare = c.spare[n-1], c.spare[:n-1]
	}
	return b
}

func (c *Crowd) giveBack(b []byte) {
	const most = 64
	if len(c.spare) < most && cap(b) <= 2*maxMessage {
		c.spare = append(c.spare, b[:0])
	}
}

// message takes a message of a WebSocket.
func (c *Crowd) message(cl *client, first byte, p []byte, now time.Duration) error {
	if first&compressed != 0 {
		var err error
		if p, err = c.inflate.inflate(p); err != nil {
			return err
		}
	}
	return c.packet(cl, first&opcode == opBinary, p, now)
}

// packet takes a message of any transport.
func (c *Crowd) packet(cl *client, binary bool, p []byte, now time.Duration) error {
	if c.cfg.Dialect == Centrifuge {
		return c.replies(cl, p, now)
	}
	if binary && c.cfg.Codec == MessagePack {
		return c.packed(cl, p, now)
	}
	if binary {
		return c.attachment(cl, p, now)
	}
	return c.socketio(cl, p, now)
}

// connected notes that a client can send and receive.
func (c *Crowd) connected(cl *client, id string) {
	cl.state, cl.id = alive, id
	c.alive++
	if c.phase != nil && cl.busy {
		c.phase.finish(cl, nil)
	}
}

// refused is why a server does not take a client.
func refused(format string, args ...any) error { return fmt.Errorf("refused: "+format, args...) }
