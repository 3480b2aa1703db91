package envelope

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the size of the longest name of a node, in bytes.
const MaxName = 128

// ValidName reports whether a node may be called so: it is not empty, and printed as it is, on one line.
func ValidName(name string) bool {
	unprintable := func(c rune) bool { return !unicode.IsPrint(c) }
	return name != "" && len(name) <= MaxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unprintable)
}

// appendName appends the name of a node, which aboutNamed announces: nothing where that is not set.
func appendName(dst []byte, name string) []byte {
	if name == "" {
		return dst
	}
	return appendString(dst, name)
}

// name reads the name of a node, if flags announce it. One that is not valid is none: nothing but what people read depends on it.
func (r *reader) name(flags uint64) string {
	if flags&aboutNamed == 0 {
		return ""
	}
	if name := r.bytes(); len(name) <= MaxName && ValidName(string(name)) {
		return string(name)
	}
	return ""
}
