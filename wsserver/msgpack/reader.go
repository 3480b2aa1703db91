package msgpack

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/belfry-io/belfry/adapter/packet"
)

// A reader takes values from the front of a message, and writes the data among them as JSON.
// Nothing is allocated for a length that a message announces and does not have: what is written is
// at most six times as long as what has been read, placeholders apart.
type reader struct {
	rest            []byte
	limits          packet.Limits // in force
	text            []byte        // the JSON
	attachments     [][]byte
	attachmentBytes int
}

// value writes the next value. depth is how many arrays and maps are open if it is one.
func (r *reader) value(depth int) (err error) {
	const longest = len("-1.7976931348623157e+308,") // of numbers and literals, a comma with it
	r.text = room(r.text, longest)
	switch msgp.NextType(r.rest) {
	case msgp.NilType:
		r.rest = r.rest[1:]
		r.text = append(r.text, "null"...)
	case msgp.BoolType:
		var b bool
		b, r.rest, err = msgp.ReadBoolBytes(r.rest)
		r.text = strconv.AppendBool(r.text, b)
	case msgp.IntType:
		var i int64
		i, r.rest, err = msgp.ReadInt64Bytes(r.rest)
		r.text = strconv.AppendInt(r.text, i, 10)
	case msgp.UintType:
		var u uint64
		u, r.rest, err = msgp.ReadUint64Bytes(r.rest)
		r.text = strconv.AppendUint(r.text, u, 10)
	case msgp.Float32Type, msgp.Float64Type:
		var f float64
		f, r.rest, err = msgp.ReadFloat64Bytes(r.rest)
		r.text = appendFloat(r.text, f)
	case msgp.StrType:
		var s []byte
		s, err = r.string()
		r.text = appendString(r.text, s)
	case msgp.BinType:
		return r.bin()
	case msgp.ArrayType:
		return r.array(depth)
	case msgp.MapType:
		return r.object(depth)
	case msgp.InvalidType:
		return ErrMessage
	default:
		return r.ext()
	}
	return malformed(err)
}

// malformed is the error for what msgp finds wrong with a message.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrMessage, err)
}

func (r *reader) array(depth int) error {
	if depth > r.limits.Depth {
		return packet.ErrDepth
	}
	n, rest, err := msgp.ReadArrayHeaderBytes(r.rest)
	if err != nil {
		return malformed(err)
	}
	if uint64(n) > uint64(len(rest)) {
		return fmt.Errorf("%w: array of %d in %d bytes", ErrMessage, n, len(rest))
	}
	r.rest = rest
	r.text = append(r.text, '[')
	for i := range n {
		if i > 0 {
			r.text = append(r.text, ',')
		}
		if err := r.value(depth + 1); err != nil {
			return err
		}
	}
	r.text = append(r.text, ']')
	return nil
}

func (r *reader) object(depth int) error {
	if depth > r.limits.Depth {
		return packet.ErrDepth
	}
	n, err := r.mapHeader()
	if err != nil {
		return err
	}
	r.text = append(r.text, '{')
	first := true
	for range n {
		key, err := r.key()
		if err != nil {
			return err
		}
		if r.undefined() {
			continue
		}
		if !first {
			r.text = append(r.text, ',')
		}
		first = false
		r.text = appendString(r.text, key)
		r.text = append(r.text, ':')
		if err := r.value(depth + 1); err != nil {
			return err
		}
	}
	r.text = append(r.text, '}')
	return nil
}

func (r *reader) mapHeader() (uint32, error) {
	n, rest, err := msgp.ReadMapHeaderBytes(r.rest)
	if err != nil {
		return 0, malformed(err)
	}
	if uint64(n) > uint64(len(rest)/2) {
		return 0, fmt.Errorf("%w: map of %d in %d bytes", ErrMessage, n, len(rest))
	}
	r.rest = rest
	return n, nil
}

// key takes a key of a map: a string, or an integer as JavaScript makes a string of it. It may be a
// part of the message.
func (r *reader) key() (key []byte, err error) {
	switch msgp.NextType(r.rest) {
	case msgp.StrType:
		return r.string()
	case msgp.IntType:
		var i int64
		i, r.rest, err = msgp.ReadInt64Bytes(r.rest)
		return strconv.AppendInt(nil, i, 10), malformed(err)
	case msgp.UintType:
		var u uint64
		u, r.rest, err = msgp.ReadUint64Bytes(r.rest)
		return strconv.AppendUint(nil, u, 10), malformed(err)
	case msgp.InvalidType:
		return nil, ErrMessage
	}
	return nil, fmt.Errorf("%w: key that is neither a string nor an integer", ErrValue)
}

// string takes a string, which is a part of the message. Its UTF-8 is not checked.
func (r *reader) string() ([]byte, error) {
	const str32 = 0xdb
	if len(r.rest) >= 5 && r.rest[0] == str32 && uint64(binary.BigEndian.Uint32(r.rest[1:])) > uint64(len(r.rest)) {
		return nil, ErrMessage // msgp takes the length for an int, which may have 32 bits
	}
	s, rest, err := msgp.ReadStringZC(r.rest)
	if err != nil {
		return nil, malformed(err)
	}
	r.rest = rest
	return s, nil
}

func (r *reader) namespace() (string, error) {
	if msgp.NextType(r.rest) != msgp.StrType {
		return "", fmt.Errorf("%w: no string", packet.ErrNamespace)
	}
	name, err := r.string()
	switch {
	case err != nil:
		return "", err
	case len(name) == 0:
		return "", fmt.Errorf("%w: empty", packet.ErrNamespace)
	case len(name) > r.limits.NamespaceBytes:
		return "", fmt.Errorf("%w: longer than %d bytes", packet.ErrNamespace, r.limits.NamespaceBytes)
	}
	return string(name), nil
}

// integer takes a number from 0 to limit; one that is none is an error for the reason given.
func (r *reader) integer(limit uint64, reason error) (uint64, error) {
	switch msgp.NextType(r.rest) {
	case msgp.IntType:
		i, rest, err := msgp.ReadInt64Bytes(r.rest)
		if err != nil {
			return 0, malformed(err)
		}
		if i < 0 || uint64(i) > limit {
			return 0, fmt.Errorf("%w: %d", reason, i)
		}
		r.rest = rest
		return uint64(i), nil
	case msgp.UintType:
		u, rest, err := msgp.ReadUint64Bytes(r.rest)
		if err != nil {
			return 0, malformed(err)
		}
		if u > limit {
			return 0, fmt.Errorf("%w: %d", reason, u)
		}
		r.rest = rest
		return u, nil
	case msgp.Float32Type, msgp.Float64Type:
		f, rest, err := msgp.ReadFloat64Bytes(r.rest)
		if err != nil {
			return 0, malformed(err)
		}
		if f < 0 || f > float64(limit) || f != math.Trunc(f) { // the last is true for NaN as well
			return 0, fmt.Errorf("%w: %v", reason, f)
		}
		r.rest = rest
		return uint64(f), nil
	case msgp.InvalidType:
		return 0, ErrMessage
	}
	return 0, fmt.Errorf("%w: no number", reason)
}

func (r *reader) bin() error {
	n, rest, err := msgp.ReadBytesHeader(r.rest)
	if err != nil {
		return malformed(err)
	}
	if uint64(n) > uint64(len(rest)) {
		return fmt.Errorf("%w: %d bytes in %d", ErrMessage, n, len(rest))
	}
	r.rest = rest[n:]
	return r.attach(rest[:n])
}

// attach writes a placeholder for a copy of b.
func (r *reader) attach(b []byte) error {
	if len(r.attachments) == r.limits.Attachments {
		return fmt.Errorf("%w: more than %d", packet.ErrAttachments, r.limits.Attachments)
	}
	if len(b) > r.limits.AttachmentBytes-r.attachmentBytes {
		return fmt.Errorf("%w: more than %d bytes", packet.ErrTooLarge, r.limits.AttachmentBytes)
	}
	r.text = append(r.text, `{"_placeholder":true,"num":`...)
	r.text = strconv.AppendInt(r.text, int64(len(r.attachments)), 10)
	r.text = append(r.text, '}')
	r.attachmentBytes += len(b)
	r.attachments = append(r.attachments, append(make([]byte, 0, len(b)), b...)) // empty, it must not be nil
	return nil
}

// What notepack.io uses extensions for. All are of type 0: it tells them apart by their form.
const (
	fixext1 = 0xd4 // undefined
	fixext8 = 0xd7 // a Date, in milliseconds since 1970
	ext8    = 0xc7 // an ArrayBuffer, if sent by Node.js
	ext16   = 0xc8
	ext32   = 0xc9
)

// undefined takes what stands for undefined, if it comes next.
func (r *reader) undefined() bool {
	if len(r.rest) < 3 || r.rest[0] != fixext1 || r.rest[1] != 0 {
		return false
	}
	r.rest = r.rest[3:]
	return true
}

func (r *reader) ext() error {
	form := r.rest[0]
	var header int // its length, in bytes
	var n uint64
	switch form {
	case ext8:
		header = 3
	case ext16:
		header = 4
	case ext32:
		header = 6
	default:
		header, n = 2, 1<<(form-fixext1)
	}
	if len(r.rest) < header {
		return ErrMessage
	}
	switch form {
	case ext8:
		n = uint64(r.rest[1])
	case ext16:
		n = uint64(binary.BigEndian.Uint16(r.rest[1:]))
	case ext32:
		n = uint64(binary.BigEndian.Uint32(r.rest[1:]))
	}
	kind, rest := int8(r.rest[header-1]), r.rest[header:]
	if n > uint64(len(rest)) {
		return fmt.Errorf("%w: %d bytes in %d", ErrMessage, n, len(rest))
	}
	content := rest[:n]
	r.rest = rest[n:]
	if kind == 0 {
		switch form {
		case fixext1:
			r.text = append(r.text, "null"...)
			return nil
		case fixext8:
			return r.date(int64(binary.BigEndian.Uint64(content)))
		case ext8, ext16, ext32:
			return r.attach(content)
		}
	}
	return fmt.Errorf("%w: extension %d of %d bytes", ErrValue, kind, n)
}

// date writes a time as Date.prototype.toISOString does (ECMAScript, "Date Time String Format").
func (r *reader) date(ms int64) error {
	const last = 8_640_000_000_000_000 // and first, of what a Date can be
	if ms < -last || ms > last {
		return fmt.Errorf("%w: date %d", ErrValue, ms)
	}
	at := time.UnixMilli(ms).UTC()
	r.text = append(r.text, '"')
	if year := at.Year(); year < 0 || year > 9999 {
		r.text = fmt.Appendf(r.text, "%+07d", year)
	} else {
		r.text = fmt.Appendf(r.text, "%04d", year)
	}
	r.text = at.AppendFormat(r.text, `-01-02T15:04:05.000Z"`)
	return nil
}
