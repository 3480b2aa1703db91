package msgpack

import (
	"math"
	"strconv"

	"github.com/belfry-io/belfry/adapter/packet"
)

// room returns text with room for n more bytes. It doubles the text, because append takes many
// small steps to a large one.
func room(text []byte, n int) []byte {
	if cap(text)-len(text) >= n {
		return text
	}
	larger := make([]byte, len(text), len(text)+max(n, len(text)))
	copy(larger, text)
	return larger
}

// appendFloat writes f as JSON.stringify does.
func appendFloat(text []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(text, "null"...)
	case abs == 0:
		return append(text, '0') // also for -0
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(text, f, 'f', -1, 64)
	}
	text = strconv.AppendFloat(text, f, 'e', -1, 64)
	if n := len(text); text[n-3] == '-' && text[n-2] == '0' { // e-07, for which JavaScript says e-7
		text[n-2] = text[n-1]
		text = text[:n-1]
	}
	return text
}

// appendString writes s as a string of JSON.
func appendString(text, s []byte) []byte {
	text = append(text, '"')
	for {
		plain := packet.Plain(s)
		if plain == len(s) {
			break
		}
		text = append(room(text, plain+len(`\u0000`)), s[:plain]...)
		c := s[plain]
		s = s[plain+1:]
		switch c {
		case '"', '\\':
			text = append(text, '\\', c)
		case '\n':
			text = append(text, `\n`...)
		case '\r':
			text = append(text, `\r`...)
		case '\t':
			text = append(text, `\t`...)
		case '\b':
			text = append(text, `\b`...)
		case '\f':
			text = append(text, `\f`...)
		default:
			const hex = "0123456789abcdef"
			text = append(text, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	text = append(text, s...)
	return append(text, '"')
}
