package engineio

import (
	"encoding/base64"
	"github.com/belfry-io/belfry/test/kit"
	"strings"
	"testing"
)

func TestNewSID(t *testing.T) {
	for _, node := range []string{"", "Xy-_012345"} {
		seen := map[string]bool{}
		for range 1000 {
			sid := NewSID(node)
			if got := SIDNode(sid); got != node {
				t.Fatalf("%q names node %q, want %q", sid, got, node)
			}
			secret := strings.TrimPrefix(strings.TrimPrefix(sid, node), ".")
			if b, err := base64.RawURLEncoding.DecodeString(secret); err != nil || len(secret) != 20 || len(b) != 15 {
				t.Fatalf("got %q, want 20 characters of base64url behind the node", sid)
			}
			kit.Require(t, !seen[secret], "got %q twice", secret)
			seen[secret] = true
		}
	}
	for sid, want := range map[string]string{"": "", ".": "", ".x": "", "n.": "n", "n.x.y": "n", "nobody": ""} {
		if got := SIDNode(sid); got != want {
			t.Errorf("%q names node %q, want %q", sid, got, want)
		}
	}
}
