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
	Broken    broken // what is wrong with the body, which then is not there

	body []byte
}

// broken is what is wrong with a body.
type broken byte

const (
	bodyWhole broken = iota
	bodyAborted
	bodyOfBytes
)

func brokenBy(err error) broken {
	if errors.Is(err, transport.ErrContentType) {
		return bodyOfBytes
	}
	return bodyAborted
}

func (b broken) err() error {
	if b == bodyOfBytes {
		return transport.ErrContentType
	}
	return transport.ErrAborted
}

var errStrayCall = errors.New("engine: malformed request of another server")

// append appends the call as it travels: a head as JSON, a zero byte, the body.
func (c *strayCall) append(b []byte) []byte {
	head, _ := json.Marshal(c) // a struct of strings always becomes JSON, without a zero byte
	b = append(b, head...)
	b = append(b, 0)
	return append(b, c.body...)
}

func (c *strayCall) decode(b []byte) error {
	for i, x := range b {
		if x == 0 {
			c.body = b[i+1:]
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
)

func (a *strayAnswer) encode() []byte {
	switch {
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
	case answerRefusal:
		if err := json.Unmarshal(b[1:], &a.refusal); err != nil || a.refusal == nil || int(a.refusal.Refusal) >= int(engineio.NumRefusals) {
			return errStrayCall
		}
		return nil
	}
	return errStrayCall
}

// A strayNote is what the gate says later of a GET request.
type strayNote struct {
	kind byte
	n    int // bytes of the answer that the client has taken since the note before
}

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
