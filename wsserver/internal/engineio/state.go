package engineio

import "errors"

var (
	// ErrParse is a packet that is none, because it is empty or of an unknown type, or a payload that contains none or such a packet. Socket.IO
	// calls the reason "parse error".
	ErrParse = errors.New("engineio: parse error")

	// ErrDirection is a packet that only a server sends: open or ping. Socket.IO calls the reason "transport error".
	ErrDirection = errors.New("engineio: packet in the wrong direction")

	// ErrPingTimeout is a ping without an answer. Socket.IO calls the reason "ping timeout".
	ErrPingTimeout = errors.New("engineio: ping timeout")
)

// An Event is what a received packet means for the session's owner.
type Event uint8

const (
	EventNone    Event = iota // nothing: a noop, a pong that nobody awaits, anything after the end
	EventMessage              // the payload is a message
	EventPong                 // the client is alive: the ping interval begins
	EventClose                // the client has ended the session
)

// A Wait is the deadline that a session waits for.
type Wait uint8

const (
	WaitUnchanged Wait = iota // the deadline stays as it is
	WaitNothing               // no deadline runs
	WaitPing                  // a ping interval begins; a ping is due at its end
	WaitTaken                 // a short while, after which the owner is to look whether the client has got the ping
	WaitRest                  // a ping timeout, less that short while
	WaitPong                  // a ping timeout begins
)

// Evidence is what the owner knows of a client that has not answered a ping.
type Evidence struct {
	Taken    bool // the client has got the ping
	Silent   bool // it has not, and has taken nothing else for as long as a client may
	Partial  bool // a message of the client has begun and is not complete: no pong can come inside it
	NotHeard bool // the owner reads nothing from the client at present: the pong may be among what is not read
}

// A State is the state of one client's session (Engine.IO 4): what its packets mean and when the client is gone. It does not know its
// transport, which may change. It does no I/O and has no clock: its owner keeps one deadline for it and moves it as the methods say. The
// zero value is a session that has just sent its open packet, and waits for [WaitPing].
//
// The server pings, the client answers. A session ends one ping timeout after the client has got a ping that it has not answered. If another
// packet came in that time, the answer may be behind it on the way, and it gets a second one (checkPingTimeout in engine.io/lib/socket.ts, which
// gives any number); so it does, again and again, while a message comes that is not complete, and while packets come that wait for the client's
// own handlers. A ping that the client does not get is the business of whoever judges what it takes.
//
// The methods must not be called concurrently.
type State struct {
	state sessionState
}

type sessionState uint8

const (
	pinged   sessionState = 1 << iota // a ping is out and its pong has not come
	untaken                           // and the client has not got it, as far as is known
	fresh                             // and nobody has looked yet
	heard                             // since that ping another packet came
	extended                          // that ping is in its second timeout
	paused                            // what comes from the client waits for its handlers
	ended
)

// Receive takes a packet from the client, which is a message of its WebSocket or came out of [DecodePayload], and says what it means.
// payload is part of data and has a meaning for [EventMessage] only; whether that message is text or binary is what the packet was.
// After an error or [EventClose] the session has ended: no deadline runs, and nothing has a meaning any more, such as what comes behind
// it in the same payload.
func (s *State) Receive(binary bool, data []byte) (event Event, payload []byte, err error) {
	if s.state&ended != 0 {
		return EventNone, nil, nil
	}
	if binary {
		s.state |= heard
		return EventMessage, data, nil
	}
	if len(data) == 0 {
		s.End()
		return EventNone, nil, ErrParse
	}
	switch PacketType(data[0]) {
	case PacketMessage:
		s.state |= heard
		return EventMessage, data[1:], nil
	case PacketPong:
		if s.state&pinged == 0 {
			return EventNone, nil, nil
		}
		s.state &^= pinged | untaken | fresh
		return EventPong, nil, nil
	case PacketNoop, PacketUpgrade:
		// The reference takes an upgrade packet outside of an upgrade for a noop, too.
		s.state |= heard
		return EventNone, nil, nil
	case PacketClose:
		s.End()
		return EventClose, nil, nil
	case PacketOpen, PacketPing:
		s.End()
		return EventNone, nil, ErrDirection
	}
	s.End()
	return EventNone, nil, ErrParse
}

// Pinged reports whether a ping is out that was not answered.
func (s *State) Pinged() bool { return s.state&pinged != 0 }

// Expired says what to do when the deadline has passed: to send a ping if ping is true, and to set the next deadline. An error, which
// is [ErrPingTimeout], ends the session. e has a meaning if the session is Pinged.
func (s *State) Expired(e Evidence) (ping bool, next Wait, err error) {
	switch {
	case s.state&ended != 0:
		return false, WaitNothing, nil
	case s.state&pinged == 0:
		return true, s.Ping(), nil
	case s.state&untaken != 0:
		return s.look(e)
	case e.NotHeard || e.Partial:
		return false, WaitPong, nil
	case s.state&heard != 0 && s.state&paused != 0:
		s.state &^= heard
		return false, WaitPong, nil
	case s.state&heard != 0 && s.state&extended == 0:
		s.state |= extended
		return false, WaitPong, nil
	}
	s.End()
	return false, WaitNothing, ErrPingTimeout
}

// look deals with a ping that the client may not have got yet.
func (s *State) look(e Evidence) (ping bool, next Wait, err error) {
	first := s.state&fresh != 0
	s.state &^= fresh
	switch {
	case e.Taken && first:
		s.state &^= untaken
		return false, WaitRest, nil
	case e.Taken:
		s.state &^= untaken
		return false, WaitPong, nil
	case e.Silent:
		s.End()
		return false, WaitNothing, ErrPingTimeout
	}
	return false, WaitTaken, nil
}

// Ping says that a ping goes out now, due or not. The session must not be Pinged.
func (s *State) Ping() Wait {
	if s.state&ended != 0 {
		return WaitNothing
	}
	s.state = s.state&paused | pinged | untaken | fresh
	return WaitTaken
}

// Forgive takes a ping that was not answered for answered: the client is alive, and its pong is among what the owner does not read.
func (s *State) Forgive() Wait {
	if s.state&(ended|pinged) != pinged {
		return WaitUnchanged
	}
	s.state &= paused
	return WaitPing
}

// Pause says that what comes from the client waits for its handlers.
func (s *State) Pause() {
	if s.state&ended == 0 {
		s.state |= paused
	}
}

// Resume ends a pause. A ping that the client has got and not answered yet gets its whole timeout again.
func (s *State) Resume() Wait {
	if s.state&ended != 0 || s.state&paused == 0 {
		return WaitUnchanged
	}
	s.state &^= paused | heard | extended
	if s.state&(pinged|untaken) == pinged {
		return WaitPong
	}
	return WaitUnchanged
}

// End is the owner's end of the session, for whatever reason.
func (s *State) End() { s.state = ended }

// Ended reports whether the session has ended.
func (s *State) Ended() bool { return s.state&ended != 0 }
