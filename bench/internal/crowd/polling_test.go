package crowd

import (
	"bytes"
	"strings"
	"testing"
)

// A payload that is too large for one request is cut between packets; one packet is never cut.
func TestSplitPayload(t *testing.T) {
	for _, test := range []struct {
		packets []string
		limit   int
		want    []string
	}{
		{[]string{"a"}, 1, []string{"a"}},
		{[]string{"aa", "bb"}, 5, []string{"aa\x1ebb"}},
		{[]string{"aa", "bb"}, 4, []string{"aa", "bb"}},
		{[]string{"aa", "bb", "cc"}, 5, []string{"aa\x1ebb", "cc"}},
		{[]string{"aaaaaaaa", "b"}, 3, []string{"aaaaaaaa", "b"}},
		{[]string{"a", "bbbbbbbb"}, 3, []string{"a", "bbbbbbbb"}},
	} {
		var rest []byte
		for _, p := range test.packets {
			rest = appendPacket(rest, false, []byte(p))
		}
		var got []string
		for len(rest) > 0 {
			var body []byte
			body, rest = splitPayload(rest, test.limit)
			got = append(got, string(body))
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%q, %d bytes at a time: got %q, want %q", test.packets, test.limit, got, test.want)
		}
	}
	got := appendPacket(appendPacket(nil, true, []byte{0, 1}), false, []byte("2"))
	if !bytes.Equal(got, []byte("bAAE=\x1e2")) {
		t.Errorf("got %q", got)
	}
}
