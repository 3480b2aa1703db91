package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// What servers say to each other of a request that one has for a session of the other.

// A strayCall is a request of a client that polls, as its gate passes it on. What is not asked of the owner is not in it: the gate has
// checked the origin, has read the body, and will write the answer.
type strayCall struct {
	SID       string
	Method    string
	Transport string // as the query has it, and the next
	Protocol  string

	// Of a POST request.
	coming bool // the body is not here yet: a note brings it
	body   []byte
	broken error // what keeps the body from coming: one of package transport
}

var errStrayCall = errors.New("engine: malformed request of another server")

// Refusals that are not counted where they are answered.
var (
	errRefused  = &engineio.Error{Code: engineio.CodeBadRequest} // the session's: see [transport.RefuseRequest]
	errTooLarge = new(engineio.Error)                            // the gate's: see [transport.ErrTooLarge]
)

// append appends the call as it travels: a head as JSON, a zero byte, and the note that would bring the
// body, unless that comes later.
func (c *strayCall) append(b []byte) []byte {
	head, _ := json.Marshal(c) // a struct of strings always becomes JSON, without a zero byte
	b = append(b, head...)
	b = append(b, 0)
	if c.coming {
		return b
	}
	return appendBody(b, c.body, c.broken)
}

func (c *strayCall) decode(b []byte) error {
	for i, x := range b {
		if x == 0 {
			if c.coming = len(b) == i+1; !c.coming {
				c.body, c.broken = bodyOf(b[i+1:])
			}
			if json.Unmarshal(b[:i], c) != nil {
				break
			}
			return nil
		}
	}
	return errStrayCall
}

// A strayAnswer is what the client gets: a payload, or a refusal.
type strayAnswer struct {
	payload    []byte
	noCompress bool
	refusal    *engineio.Error
}

// The first byte of an answer, as it travels.
const (
	answerPayload = 'p'
	answerPlain   = 'P' // a payload that is not to be compressed
	answerRefusal = 'r' // as JSON
	answerRefused = 'b' // errRefused
)

func (a *strayAnswer) encode() []byte {
	switch {
	case a.refusal == errRefused:
		return []byte{answerRefused}
	case a.refusal != nil:
		text, _ := json.Marshal(a.refusal) // a struct of strings and numbers
		return append([]byte{answerRefusal}, text...)
	case a.noCompress:
		return append([]byte{answerPlain}, a.payload...)
	default:
		return append([]byte{answerPayload}, a.payload...)
	}
}

func (a *strayAnswer) decode(b []byte) error {
	if len(b) == 0 {
		return errStrayCall
	}
	switch b[0] {
	case answerPayload, answerPlain:
		a.payload, a.noCompress = b[1:], b[0] == answerPlain
		return nil
	case answerRefused:
		a.refusal = errRefused
		return nil
	case answerRefusal:
		if err := json.Unmarshal(b[1:], &a.refusal); err != nil || a.refusal == nil || int(a.refusal.Refusal) >= int(engineio.NumRefusals) {
			return errStrayCall
		}
		return nil
	}
	return errStrayCall
}

// A strayNote is what the gate says later of a request.
type strayNote struct {
	kind byte
	n    int // bytes of the answer that the client has taken since the note before
}

// Notes of a GET request.
const (
	noteTaken  = 't'
	noteDone   = 'd' // the client has all of the answer
	noteFailed = 'f' // the client has gone, and what of the answer it has is not known
	noteLetGo  = 'r' // the gate goes away: the request is to be answered at once
)

func (n strayNote) encode() []byte { return binary.AppendUvarint([]byte{n.kind}, uint64(n.n)) }

func (n *strayNote) decode(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	taken, size := binary.Uvarint(b[1:])
	n.kind, n.n = b[0], int(taken)
	return size == len(b)-1 && n.n >= 0
}

// The first byte of the note that ends the wait for the body of a POST request.
const (
	noteBody     = 'B' // the body, which follows
	noteAborted  = 'A' // it will not come
	noteBytes    = 'O' // likewise: it is not text
	noteTooLarge = 'L' // likewise: it is too large
)

// appendBody appends the note that brings a body, or that err keeps it from coming.
func appendBody(b, body []byte, err error) []byte {
	switch {
	case err == nil:
		return append(append(b, noteBody), body...)
	case errors.Is(err, transport.ErrContentType):
		return append(b, noteBytes)
	case errors.Is(err, transport.ErrTooLarge):
		return append(b, noteTooLarge)
	}
	return append(b, noteAborted)
}

// bodyOf is what such a note says: a body, or an error of package transport.
func bodyOf(note []byte) (body []byte, err error) {
	if len(note) > 0 {
		switch note[0] {
		case noteBody:
			return note[1:], nil
		case noteBytes:
			return nil, transport.ErrContentType
		case noteTooLarge:
			return nil, transport.ErrTooLarge
		}
	}
	return nil, transport.ErrAborted
}
