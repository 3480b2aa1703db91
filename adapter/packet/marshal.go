package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"
)

// Marshal converts Go values into the arguments of an ack. It is [Limits.Marshal] with the default
// limits.
func Marshal(args ...any) (Args, error) { return (*Limits)(nil).Marshal(args...) }

// MarshalEvent converts a name and Go values into the arguments of an event. It is
// [Limits.MarshalEvent] with the default limits.
func MarshalEvent(name string, args ...any) (Args, error) {
	return (*Limits)(nil).MarshalEvent(name, args...)
}

// Marshal converts Go values into the arguments of an ack, as encoding/json does, but without
// escaping HTML. Each []byte that encoding/json would write as base64 becomes an attachment, also
// inside structs, slices, maps, pointers and interfaces. A nil []byte is null, and a
// json.RawMessage is JSON. Types with their own MarshalJSON or MarshalText write themselves.
//
// Marshal neither modifies nor keeps the values. The limit AttachmentBytes is ignored. It returns
// an error for values that encoding/json refuses or a peer would refuse: a value that contains
// itself, say, or a map that would read as a placeholder.
func (l *Limits) Marshal(args ...any) (Args, error) {
	m := marshalers.Get().(*marshaler)
	defer m.release()
	m.open(l)
	if err := m.addAll(args); err != nil {
		return Args{}, err
	}
	return m.close()
}

// MarshalEvent is Marshal for an event. The name becomes the first of the Args. For a reserved name
// ([Reserved]) the error is [ErrReserved].
func (l *Limits) MarshalEvent(name string, args ...any) (Args, error) {
	if Reserved(name) {
		return Args{}, ErrReserved
	}
	m := marshalers.Get().(*marshaler)
	defer m.release()
	m.open(l)
	if err := m.add(name); err != nil {
		return Args{}, fmt.Errorf("%w: name: %w", ErrArgument, err)
	}
	if err := m.addAll(args); err != nil {
		return Args{}, err
	}
	return m.close()
}

var marshalers = sync.Pool{New: func() any {
	m := new(marshaler)
	m.encoder = json.NewEncoder(&m.text)
	m.encoder.SetEscapeHTML(false)
	return m
}}

// A marshaler writes the arguments of one packet.
type marshaler struct {
	limits      *Limits
	text        bytes.Buffer
	encoder     *json.Encoder // writes to text
	attachments [][]byte      // the caller's own until close
}

func (m *marshaler) open(l *Limits) {
	m.limits = l
	m.text.Reset()
	m.text.WriteByte('[')
}

func (m *marshaler) release() {
	const largest = 64 << 10 // bytes that the pool may keep for each marshaler
	if m.text.Cap() > largest {
		return
	}
	m.limits, m.attachments = nil, nil
	marshalers.Put(m)
}

func (m *marshaler) close() (Args, error) {
	m.text.WriteByte(']')
	a, err := ParseArgs(bytes.Clone(m.text.Bytes()), m.attachments, m.limits)
	if err != nil {
		return Args{}, err
	}
	for i, b := range m.attachments {
		m.attachments[i] = cloneBytes(b)
	}
	return a, nil
}

func (m *marshaler) addAll(args []any) error {
	for i, arg := range args {
		if err := m.add(arg); err != nil {
			return fmt.Errorf("%w: %d: %w", ErrArgument, i, err)
		}
	}
	return nil
}

func (m *marshaler) add(arg any) error {
	if m.text.Len() > 1 {
		m.text.WriteByte(',')
	}
	switch v := arg.(type) {
	case string:
		if plainString(v) {
			m.text.WriteByte('"')
			m.text.WriteString(v)
			m.text.WriteByte('"')
			return nil
		}
	case int:
		m.text.Write(strconv.AppendInt(m.text.AvailableBuffer(), int64(v), 10))
		return nil
	case []byte:
		if v != nil {
			m.attach(v)
			return nil
		}
	}
	if v := reflect.ValueOf(arg); arg != nil && holdsBytes(v, false, m.steps()) {
		return m.addWithBytes(v)
	}
	return m.encode(arg)
}

// steps bounds how deep a value is followed, in steps through pointers, interfaces and containers,
// of which a level of JSON takes three: a value that is deeper contains itself, or is refused for
// its depth anyway.
func (m *marshaler) steps() int { return 4 * m.limits.depth() }

// attach writes the placeholder of b.
func (m *marshaler) attach(b []byte) {
	m.text.WriteString(`{"_placeholder":true,"num":`)
	m.text.Write(strconv.AppendInt(m.text.AvailableBuffer(), int64(len(m.attachments)), 10))
	m.text.WriteByte('}')
	m.attachments = append(m.attachments, b)
}

func (m *marshaler) encode(arg any) error {
	if err := m.encoder.Encode(arg); err != nil {
		return err
	}
	m.text.Truncate(m.text.Len() - len("\n")) // Encode ends with one
	return nil
}

// addWithBytes writes v, which has byte slices inside: encoding/json writes a copy of v in which
// tokens stand for them.
func (m *marshaler) addWithBytes(v reflect.Value) error {
	x := newExtraction()
	copied, err := x.copy(v, m.steps())
	if err != nil {
		return err
	}
	start := m.text.Len()
	if err := m.encode(copied.Interface()); err != nil {
		return err
	}
	written := bytes.Clone(m.text.Bytes()[start:])
	m.text.Truncate(start)
	for {
		before, b, after, found := x.cut(written)
		m.text.Write(before)
		if !found {
			return nil
		}
		m.attach(b)
		written = after
	}
}

// plainString reports whether s stands in JSON as it is.
func plainString(s string) bool {
	for i := range len(s) {
		if c := s[i]; special[c] || c >= 0x80 {
			return false
		}
	}
	return true
}
