package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON is the default codec, which every Socket.IO client speaks without configuration (Socket.IO
// 5, "Packet encoding"):
//
//	<type>[<number of attachments>-][<namespace>,][<ack id>][<JSON>]
//
// followed by the attachments, which the JSON refers to as {"_placeholder":true,"num":0}.
type JSON struct{}

var _ Codec = JSON{}

// binaryTypes is what the number of a type on the wire grows by when the packet has attachments:
// Event 2 is 5, Ack 3 is 6.
const binaryTypes = 3

// Encode implements [Codec].
func (JSON) Encode(p *Packet) (Encoded, error) {
	if err := p.Check(&deepest); err != nil {
		return Encoded{}, err
	}
	payload := []byte(p.Data)
	if p.Type == Event || p.Type == Ack {
		payload = p.Args.JSON()
	}
	attachments := p.Args.Attachments()
	const widest = len("6") + len("9223372036854775807-") + len(",") + idDigits
	text := make([]byte, 0, widest+len(p.Namespace)+len(payload))
	if n := len(attachments); n > 0 {
		text = append(text, '0'+byte(p.Type)+binaryTypes)
		text = strconv.AppendInt(text, int64(n), 10)
		text = append(text, '-')
	} else {
		text = append(text, '0'+byte(p.Type))
	}
	if p.Namespace != "" && p.Namespace != "/" {
		text = append(text, p.Namespace...)
		text = append(text, ',')
	}
	if p.HasID {
		text = strconv.AppendUint(text, p.ID, 10)
	}
	text = append(text, payload...)
	return Encoded{Text: text, Attachments: attachments}, nil
}

// WithID implements [Codec].
func (JSON) WithID(e Encoded, id uint64) (Encoded, error) {
	at, err := argumentsOf(e)
	if err != nil {
		return Encoded{}, err
	}
	if id > MaxID {
		return Encoded{}, fmt.Errorf("%w: %d", ErrID, id)
	}
	text := make([]byte, 0, len(e.Text)+idDigits)
	text = append(text, e.Text[:at]...)
	text = strconv.AppendUint(text, id, 10)
	text = append(text, e.Text[at:]...)
	return Encoded{Text: text, Attachments: e.Attachments}, nil
}

// WithLast implements [Codec].
func (JSON) WithLast(dst []byte, e Encoded, s []byte) (Encoded, error) {
	at, err := argumentsOf(e)
	if err != nil {
		return Encoded{}, err
	}
	end := len(e.Text) - 1
	if e.Text[end] != ']' || len(bytes.TrimSpace(e.Text[at+1:end])) == 0 {
		return Encoded{}, fmt.Errorf("%w: no arguments up to byte %d", ErrPayload, end)
	}
	if !utf8.Valid(s) {
		return Encoded{}, ErrUTF8
	}
	const marks = len(`,""]`)
	text := dst[:0]
	if size := len(e.Text) + len(s) + marks; cap(text) < size {
		text = make([]byte, 0, size)
	}
	text = append(text, e.Text[:end]...)
	text = append(text, ',')
	text = appendQuoted(text, s)
	text = append(text, ']')
	return Encoded{Text: text, Attachments: e.Attachments}, nil
}

// EndsInString implements [Codec]. Of valid JSON, the end is enough to tell: nothing but a string
// ends in a quote.
func (JSON) EndsInString(e Encoded) bool {
	if _, err := argumentsOf(e); err != nil {
		return false
	}
	end := len(e.Text) - 1
	last := trimmed(e.Text, 0, end)
	return e.Text[end] == ']' && e.Text[last-1] == '"'
}

// argumentsOf returns where the arguments begin in the text of an Event without an ack id.
func argumentsOf(e Encoded) (at int, err error) {
	h, err := parseHeader(e.Text)
	if err != nil {
		return 0, err
	}
	if h.kind != Event {
		return 0, fmt.Errorf("%w: %v", ErrType, h.kind)
	}
	if h.attachments != len(e.Attachments) {
		return 0, fmt.Errorf("%w: %d announced, %d there", ErrAttachments, h.attachments, len(e.Attachments))
	}
	at = len(e.Text) - len(h.rest)
	if len(h.rest) == 0 || h.rest[0] != '[' {
		return 0, fmt.Errorf("%w: byte %d", ErrPayload, at)
	}
	return at, nil
}

// appendQuoted appends s, which is valid UTF-8, as a string of JSON.
func appendQuoted[S string | []byte](text []byte, s S) []byte {
	for i := range len(s) {
		if special[s[i]] {
			quoted, _ := json.Marshal(string(s)) // a string always becomes JSON
			return append(text, quoted...)
		}
	}
	text = append(text, '"')
	text = append(text, s...)
	return append(text, '"')
}

// NewDecoder implements [Codec]. A decoder holds 16 bytes while it waits for no attachments.
//
// It is strict. What Socket.IO's own parser reads by a conversion of JavaScript is an error: an
// event without arguments, an id or a number of attachments with a sign or a leading zero, a
// placeholder with further members. An ack without an id, which that parser lets pass, is a packet
// here as well.
func (JSON) NewDecoder(l *Limits) Decoder { return &decoder{limits: l} }

type decoder struct {
	limits  *Limits
	pending *pending // nil unless attachments are awaited
}

// pending is a packet whose attachments are awaited.
type pending struct {
	packet      *Packet
	attachments [][]byte // those that have come; the capacity is how many there will be
	bytes       int      // of attachments
}

func (d *decoder) Text(msg []byte) (*Packet, error) {
	if d.pending != nil {
		d.pending = nil
		return nil, ErrAwaited
	}
	h, err := parseHeader(msg)
	if err != nil {
		return nil, err
	}
	if h.attachments > d.limits.attachments() {
		return nil, fmt.Errorf("%w: more than %d", ErrAttachments, d.limits.attachments())
	}
	p := &Packet{Type: h.kind, Namespace: "/"}
	if len(h.namespace) > d.limits.namespaceBytes() {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrNamespace, d.limits.namespaceBytes())
	}
	if len(h.namespace) > 0 {
		p.Namespace = string(h.namespace)
	}
	payload, err := p.parseID(h.rest)
	if err != nil {
		return nil, err
	}
	if h.kind != Event && h.kind != Ack {
		if len(payload) > 0 {
			p.Data = payload
		}
		if err := p.Check(d.limits); err != nil {
			return nil, err
		}
		p.Data = bytes.Clone(p.Data)
		return p, nil
	}
	array, elements, marks, err := scanArgs(payload, h.attachments, d.limits)
	if err != nil {
		return nil, err
	}
	p.Args = Args{json: array, elements: elements}
	if err := p.Check(d.limits); err != nil {
		return nil, err
	}
	p.Args.json = bytes.Clone(array)
	if h.attachments == 0 {
		return p, nil
	}
	p.Args.attached = &attached{marks: marks}
	d.pending = &pending{packet: p, attachments: make([][]byte, 0, h.attachments)}
	return nil, nil
}

func (d *decoder) Binary(msg []byte) (*Packet, error) {
	w := d.pending
	if w == nil {
		return nil, ErrStray
	}
	if len(msg) > d.limits.attachmentBytes()-w.bytes {
		d.pending = nil
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, d.limits.attachmentBytes())
	}
	w.bytes += len(msg)
	w.attachments = append(w.attachments, cloneBytes(msg))
	if len(w.attachments) < cap(w.attachments) {
		return nil, nil
	}
	d.pending = nil
	w.packet.Args.attached.attachments = w.attachments
	return w.packet, nil
}

// header is what stands before the ack id. Its slices are parts of the message.
type header struct {
	kind        Type
	attachments int
	namespace   []byte // empty if the message names none
	rest        []byte
}

func parseHeader(msg []byte) (header, error) {
	if len(msg) == 0 || msg[0] < '0' || msg[0] > '0'+byte(Ack)+binaryTypes {
		return header{}, ErrType
	}
	h := header{kind: Type(msg[0] - '0'), rest: msg[1:]}
	if h.kind > ConnectError {
		h.kind -= binaryTypes
		const longest = len("999999999")
		dash := bytes.IndexByte(h.rest[:min(len(h.rest), longest+1)], '-')
		if dash < 0 {
			return header{}, ErrAttachments
		}
		h.attachments = index(h.rest[:dash])
		if h.attachments < 1 {
			return header{}, ErrAttachments
		}
		h.rest = h.rest[dash+1:]
	}
	if len(h.rest) > 0 && h.rest[0] == '/' {
		if comma := bytes.IndexByte(h.rest, ','); comma >= 0 {
			h.namespace, h.rest = h.rest[:comma], h.rest[comma+1:]
		} else {
			h.namespace, h.rest = h.rest, nil // "0/custom" is legal: nothing follows
		}
	}
	return h, nil
}

// parseID takes the ack id from the front of text and returns what follows.
func (p *Packet) parseID(text []byte) (rest []byte, err error) {
	n := 0
	for n < len(text) && digit(text[n]) {
		if n == idDigits {
			return nil, fmt.Errorf("%w: more than %d digits", ErrID, idDigits)
		}
		p.ID = p.ID*10 + uint64(text[n]-'0')
		n++
	}
	if n > 1 && text[0] == '0' {
		return nil, fmt.Errorf("%w: leading zero", ErrID)
	}
	if p.ID > MaxID {
		return nil, fmt.Errorf("%w: %d", ErrID, p.ID)
	}
	p.HasID = n > 0
	return text[n:], nil
}

// checkNamespace reports what is wrong with the form of a name.
func checkNamespace(name string) error {
	switch {
	case name == "":
		return nil
	case name[0] != '/':
		return fmt.Errorf("%w: no slash in front", ErrNamespace)
	case strings.Contains(name, ","):
		return fmt.Errorf("%w: with a comma", ErrNamespace)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %w", ErrNamespace, ErrUTF8)
	}
	return nil
}
