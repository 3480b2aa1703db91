package packet

import (
	"bytes"
	"testing"
)

// TestPlain: each byte, at each place of texts of all lengths around that of a machine word, ends
// what is plain or does not.
func TestPlain(t *testing.T) {
	for c := range 256 {
		ends := c < 0x20 || c == '"' || c == '\\'
		for _, other := range []byte{'x', ' ', '!', '#', '[', ']', 0x7f, 0x80, 0xa2, 0xdc, 0xff} {
			for length := range 20 {
				text := bytes.Repeat([]byte{other}, length)
				for at := range text {
					text[at] = byte(c)
					want := length
					if ends {
						want = at
					}
					if got := Plain(text); got != want {
						t.Fatalf("%q: got %d, want %d", text, got, want)
					}
					text[at] = other
				}
			}
		}
	}
}
