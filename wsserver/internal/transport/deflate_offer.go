package transport

import (
	"slices"
	"strings"
)

// deflateAnswer accepts permessage-deflate without context takeover on either side (RFC 7692 section 7.1.1): no connection keeps a window,
// and what is sent to many is compressed once.
const deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// negotiate answers the lines of a request's Sec-WebSocket-Extensions header: with the first offer of permessage-deflate that is acceptable,
// or with "" if there is none (RFC 7692 section 5.1). ok is false if the header breaks the grammar of RFC 6455 section 9.1.
func negotiate(lines []string) (answer string, ok bool) {
	offers := 0
	for _, line := range lines {
		s := scanner{rest: line}
		for more := true; more; more = s.separator(',') {
			s.space()
			if s.rest == "" || s.rest[0] == ',' {
				continue // an element of a list may be empty, but not all
			}
			offer, ok := s.extension()
			if !ok {
				return "", false
			}
			offers++
			if answer == "" {
				answer = offer.answer()
			}
		}
		if s.rest != "" {
			return "", false
		}
	}
	return answer, offers > 0 || len(lines) == 0
}

// An extension is one element of a Sec-WebSocket-Extensions header.
type extension struct {
	name   string
	params []extensionParam
}

type extensionParam struct {
	name, value string
	hasValue    bool
}

// answer is what accepts an offer of permessage-deflate, or "" for one that is not acceptable. An offer is declined for parameters that are
// unknown, come twice or have a wrong value (RFC 7692 section 7.1), and for a window of the server's under 32 KiB, which compress/flate does
// not have. That of the client may be of any size, so that client_max_window_bits needs no answer (section 7.1.2.2).
func (e extension) answer() string {
	if e.name != "permessage-deflate" {
		return ""
	}
	answer := deflateAnswer
	for i, p := range e.params {
		if slices.ContainsFunc(e.params[:i], func(q extensionParam) bool { return q.name == p.name }) {
			return ""
		}
		switch p.name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if p.hasValue {
				return ""
			}
		case "server_max_window_bits":
			if p.value != "15" {
				return ""
			}
			answer += "; server_max_window_bits=15" // section 7.1.2.1: an offer with it is accepted by it
		case "client_max_window_bits":
			if p.hasValue && !windowBits(p.value) {
				return ""
			}
		default:
			return ""
		}
	}
	return answer
}

// windowBits reports whether s is a decimal number from 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
func windowBits(s string) bool {
	return s == "8" || s == "9" || len(s) == 2 && s[0] == '1' && '0' <= s[1] && s[1] <= '5'
}

// A scanner reads one line of the header from its start.
type scanner struct{ rest string }

// extension reads an element of the list: a token, and parameters each behind a semicolon.
func (s *scanner) extension() (e extension, ok bool) {
	if e.name = s.token(); e.name == "" {
		return e, false
	}
	for s.separator(';') {
		s.space()
		p := extensionParam{name: s.token()}
		if p.name == "" {
			return e, false
		}
		if p.hasValue = s.separator('='); p.hasValue {
			s.space()
			if p.value = s.value(); p.value == "" {
				return e, false
			}
		}
		// What is declined for its second parameter of a name need not be kept whole: all that are known are four.
		if len(e.params) <= 4 {
			e.params = append(e.params, p)
		}
	}
	return e, true
}

// value reads a token, or a quoted string that is one once its quotes and backslashes are gone. "" means that there is none.
func (s *scanner) value() string {
	if s.rest == "" || s.rest[0] != '"' {
		return s.token()
	}
	var value strings.Builder
	for i := 1; i < len(s.rest); i++ {
		c := s.rest[i]
		switch {
		case c == '"':
			s.rest = s.rest[i+1:]
			return value.String()
		case c == '\\' && i+1 < len(s.rest):
			i++
			c = s.rest[i]
		}
		if !isTokenByte(c) {
			return ""
		}
		value.WriteByte(c)
	}
	return ""
}

// token reads a token of RFC 9110 section 5.6.2; "" means that there is none.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// separator reads c and the space before it, and reports whether it was there.
func (s *scanner) separator(c byte) bool {
	s.space()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }
