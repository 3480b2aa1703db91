package crowd

import "bytes"

// A payload begins with a token, which says who has sent it and how many before, each with a fixed width;
// the rest is filler. A message that has a token in it is a delivery, whatever else it is.
const (
	tokenMark    = "~~"
	routeDigits  = 7
	numberDigits = 10

	// MinSize is the least size of a payload, in bytes: that of its token.
	MinSize = len(tokenMark) + routeDigits + numberDigits

	maxRoutes = 10_000_000
	fillByte  = 'x'
)

// appendPayload appends a payload of the size of filler and the token.
func appendPayload(dst []byte, route, number int, filler []byte) []byte {
	dst = append(dst, tokenMark...)
	dst = appendDigits(dst, route, routeDigits)
	dst = appendDigits(dst, number, numberDigits)
	return append(dst, filler...)
}

func appendDigits(dst []byte, n, width int) []byte {
	var text [numberDigits]byte
	for i := width - 1; i >= 0; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, text[:width]...)
}

// findToken finds a token, and what comes after it.
func findToken(p []byte) (route, number int, after []byte, ok bool) {
	for {
		i := bytes.Index(p, []byte(tokenMark))
		if i < 0 || len(p)-i < MinSize {
			return 0, 0, nil, false
		}
		p = p[i+len(tokenMark):]
		route, ok1 := digits(p[:routeDigits])
		number, ok2 := digits(p[routeDigits : routeDigits+numberDigits])
		if ok1 && ok2 {
			return route, number, p[routeDigits+numberDigits:], true
		}
	}
}

func digits(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// intact reports whether what comes after a token begins with filler. Of much it looks at both ends only:
// a server loses or mixes up whole pieces.
func intact(after, filler []byte) bool {
	const look = 4 << 10
	if len(after) < len(filler) {
		return false
	}
	after = after[:len(filler)]
	if len(filler) <= 2*look {
		return bytes.Equal(after, filler)
	}
	end := len(filler) - look
	return bytes.Equal(after[:look], filler[:look]) && bytes.Equal(after[end:], filler[end:])
}
