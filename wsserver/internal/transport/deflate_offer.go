package transport

import (
	"cmp"
	"slices"
	"strings"
)

// deflateAnswer accepts permessage-deflate without context takeover on either side (RFC 7692 section 7.1.1): no connection keeps a window,
// and what is sent to many is compressed once.
const deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// negotiate answers the lines of a request's Sec-WebSocket-Extensions header: with the first offer of
// permessage-deflate that is acceptable, or with "" if there is none (RFC 7692 section 5.1). ok is
// false if the header breaks the grammar of RFC 6455 section 9.1. By that grammar names and values are
// tokens, values even within quotes, so that a comma, a semicolon or an equals sign always separates.
func negotiate(lines []string) (answer string, ok bool) {
	offers := 0
	for _, line := range lines {
		for offer := range strings.SplitSeq(line, ",") {
			if offer = trim(offer); offer == "" {
				continue // an element of a list may be empty, but not all
			}
			accepting, ok := answerOffer(offer)
			if !ok {
				return "", false
			}
			offers++
			answer = cmp.Or(answer, accepting)
		}
	}
	return answer, offers > 0 || len(lines) == 0
}

// answerOffer returns what accepts an offer of permessage-deflate, or "" for one that is not acceptable;
// ok is false if it is malformed. An offer is declined for parameters that are unknown, come twice or
// have a wrong value (RFC 7692 section 7.1), and for a window of the server's under 32 KiB, which
// compress/flate does not have. That of the client may be of any size, so that client_max_window_bits
// needs no answer (section 7.1.2.2).
func answerOffer(offer string) (answer string, ok bool) {
	name, rest, more := strings.Cut(offer, ";")
	if name = trim(name); !isToken(name) {
		return "", false
	}
	if name == "permessage-deflate" {
		answer = deflateAnswer
	}
	var seen []string
	for more {
		var param string
		param, rest, more = strings.Cut(rest, ";")
		name, value, hasValue := strings.Cut(param, "=")
		name, value = trim(name), unquote(trim(value))
		if !isToken(name) || hasValue && !isToken(value) {
			return "", false
		}
		switch {
		case answer == "": // declined already: the rest has to be well formed all the same
		case slices.Contains(seen, name) || !acceptable(name, value, hasValue):
			answer = ""
		case name == "server_max_window_bits": // section 7.1.2.1: an offer with it is accepted by it
			answer += "; server_max_window_bits=15"
		}
		if answer != "" {
			seen = append(seen, name)
		}
	}
	return answer, true
}

// acceptable reports whether an offer may have a parameter (RFC 7692 section 7.1).
func acceptable(name, value string, hasValue bool) bool {
	switch name {
	case "server_no_context_takeover", "client_no_context_takeover":
		return !hasValue
	case "server_max_window_bits":
		return value == "15"
	case "client_max_window_bits":
		return !hasValue || windowBits(value)
	}
	return false
}

// windowBits reports whether s is a decimal number from 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
func windowBits(s string) bool {
	return s == "8" || s == "9" || len(s) == 2 && s[0] == '1' && '0' <= s[1] && s[1] <= '5'
}

// unquote returns what a quoted string stands for (RFC 9110 section 5.6.4), and another value, which
// includes one that is quoted in part or escapes what no token has, as it is.
func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	quoted := value[1 : len(value)-1]
	if strings.Contains(quoted, `\\`) || strings.HasSuffix(quoted, `\`) {
		return value // one backslash escapes the next, or the quote that ends the string
	}
	return strings.ReplaceAll(quoted, `\`, "")
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isTokenRune(r) })
}

func isTokenRune(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func trim(s string) string { return strings.Trim(s, " \t") }
