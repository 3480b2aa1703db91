package msgpack

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/belfry-io/belfry/adapter/packet"
)

// appendJSON writes text, which is valid JSON, with the attachments of a in place of its
// placeholders. MessagePack says in front how much is in an array or a map, and nothing at its end,
// so that it is enough to know the sizes and to go through the text once.
func appendJSON(msg, text []byte, a packet.Args) []byte {
	var few [32]uint32
	sizes := appendSizes(few[:0], text)
	attachments := a.Attachments()
	next, start, end, num := 0, -1, 0, 0 // the next placeholder
	if len(attachments) > 0 {
		start, end, num = a.Placeholder(0)
	}
	for pos := 0; pos < len(text); {
		switch c := text[pos]; {
		case pos == start:
			msg = msgp.AppendBytes(msg, attachments[num])
			sizes = sizes[1:]
			pos = end
			if next++; next < len(attachments) {
				start, end, num = a.Placeholder(next)
			}
		case c == '{':
			msg = msgp.AppendMapHeader(msg, sizes[0])
			sizes = sizes[1:]
			pos++
		case c == '[':
			msg = msgp.AppendArrayHeader(msg, sizes[0])
			sizes = sizes[1:]
			pos++
		case c == '"':
			end := stringEnd(text, pos)
			msg = appendUnquoted(msg, text[pos:end])
			pos = end
		case c == '-' || digit(c):
			end := pos + 1
			for end < len(text) && inNumber(text[end]) {
				end++
			}
			msg = appendNumber(msg, text[pos:end])
			pos = end
		case c == 't':
			msg = msgp.AppendBool(msg, true)
			pos += len("true")
		case c == 'f':
			msg = msgp.AppendBool(msg, false)
			pos += len("false")
		case c == 'n':
			msg = msgp.AppendNil(msg)
			pos += len("null")
		default: // white space, or a mark that MessagePack does not need
			pos++
		}
	}
	return msg
}

// appendSizes appends how much is in each array and object of text, in the order in which they
// begin.
func appendSizes(sizes []uint32, text []byte) []uint32 {
	var few [32]int
	open := few[:0] // which of the sizes are those of what is open
	for pos := 0; pos < len(text); pos++ {
		switch text[pos] {
		case '"':
			pos = stringEnd(text, pos) - 1
		case '[', '{':
			open = append(open, len(sizes))
			sizes = append(sizes, first(text[pos+1:]))
		case ',':
			sizes[open[len(open)-1]]++
		case ']', '}':
			open = open[:len(open)-1]
		}
	}
	return sizes
}

// first is 1 if rest, which follows an opening bracket, begins with an element, and 0 if it begins
// with the closing one.
func first(rest []byte) uint32 {
	if rest = bytes.TrimLeft(rest, " \n\t\r"); rest[0] == ']' || rest[0] == '}' {
		return 0
	}
	return 1
}

// stringEnd returns where the string that begins at pos ends, behind its last quote.
func stringEnd(text []byte, pos int) int {
	pos++
	quote := pos + bytes.IndexByte(text[pos:], '"')
	if bytes.IndexByte(text[pos:quote], '\\') < 0 {
		return quote + 1
	}
	for ; text[pos] != '"'; pos++ {
		if text[pos] == '\\' {
			pos++
		}
	}
	return pos + 1
}

func appendUnquoted(msg, quoted []byte) []byte {
	if raw := quoted[1 : len(quoted)-1]; bytes.IndexByte(raw, '\\') < 0 {
		return msgp.AppendStringFromBytes(msg, raw)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // a valid JSON string always becomes a Go string
	return msgp.AppendString(msg, s)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func inNumber(c byte) bool {
	return digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// appendNumber writes a number. AppendInt64 is for negative ones, because it writes others in the
// longer signed forms.
func appendNumber(msg, text []byte) []byte {
	if text[0] == '-' {
		if i, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return msgp.AppendInt64(msg, i)
		}
	} else if u, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return msgp.AppendUint64(msg, u)
	}
	f, _ := strconv.ParseFloat(string(text), 64) // what does not fit has been refused when the text was checked
	const lowest, tooHigh = -(1 << 63), 1 << 64
	if f == math.Trunc(f) && f >= lowest && f < tooHigh {
		if f < 0 {
			return msgp.AppendInt64(msg, int64(f))
		}
		return msgp.AppendUint64(msg, uint64(f))
	}
	return msgp.AppendFloat64(msg, f)
}
