package packet

import "encoding/binary"

// special holds the bytes that cannot stand in a string of JSON as they are (RFC 8259, section 7).
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// Plain returns how many bytes at the front of s stand in a string of JSON as they are: those before
// the first quote, backslash or control character. UTF-8 is not checked. It is for codecs.
func Plain(s []byte) int {
	n := 0
	for len(s)-n >= 8 && !anySpecial(binary.LittleEndian.Uint64(s[n:])) {
		n += 8
	}
	for n < len(s) && !special[s[n]] {
		n++
	}
	return n
}

// anySpecial reports whether one of the eight bytes is special. x-each*n borrows into the highest
// bit of a byte that is less than n, or behind such a byte; ^x leaves out bytes that had it before.
func anySpecial(x uint64) bool {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^each*'"', x^each*'\\'
	return ((x-each*0x20)&^x|(quote-each)&^quote|(backslash-each)&^backslash)&highest != 0
}
