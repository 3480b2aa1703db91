package engineio

import (
	"net/url"
	"testing"
)

func TestNewSID(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		sid := NewSID()
		if len(sid) != 20 || url.QueryEscape(sid) != sid || seen[sid] {
			t.Fatalf("got %q", sid)
		}
		seen[sid] = true
	}
}
