package wsserver

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// The id of an Engine.IO session is good at every node that knows the key of its own, and no other text is.
func TestEngineSID(t *testing.T) {
	here, there := newKeyring(thisNode, nil, kit.Silent), newKeyring(thatNode, nil, kit.Silent)
	kit.OK(t, there.learn(here.export()))
	seen := make(map[string]bool)
	for range 1000 {
		sid := here.newEngineSID()
		node, ok := engineSIDNode(sid)
		kit.Check(t, ok && node == thisNode && url.QueryEscape(sid) == sid && len(sid) == 32 && !seen[sid], "got %q", sid)
		seen[sid] = true
		for _, k := range []*keyring{here, there} {
			kit.OK(t, k.checkEngineSID(sid), sid)
		}
	}
	var unknown errKeyUnknown
	if err := here.checkEngineSID(there.newEngineSID()); !errors.As(err, &unknown) || unknown.node != thatNode {
		t.Errorf("an id of a node whose key is not known: %v", err)
	}
	shared := newKeyring(thatNode, &Recovery{Secret: []byte("secret")}, kit.Silent)
	kit.OK(t, newKeyring(thisNode, &Recovery{Secret: []byte("secret")}, kit.Silent).checkEngineSID(shared.newEngineSID()))
}

func TestForgedEngineSID(t *testing.T) {
	k := newKeyring(thisNode, nil, kit.Silent)
	sid := k.newEngineSID()
	stranger := newKeyring(thisNode, nil, kit.Silent)
	forged := []string{stranger.newEngineSID()}
	for i := range sid { // any other character in any place
		for _, c := range "A_.0 é\x00" {
			if other := sid[:i] + string(c) + sid[i+1:]; other != sid {
				forged = append(forged, other)
			}
		}
	}
	for i := range sid {
		forged = append(forged, sid[:i], sid[i+1:], sid+sid[i:], sid[:i]+"."+sid[i:])
	}
	// What is signed for a pid is not signed for a session.
	pid := k.sign("", thisNode+"."+thatNode, 1)
	forged = append(forged, pid, sid[:24]+pid[len(pid)-8:])
	for _, sid := range forged {
		if _, ok := engineSIDNode(sid); ok && k.checkEngineSID(sid) == nil {
			t.Errorf("%q is good", sid)
		}
	}
}

func FuzzEngineSID(f *testing.F) {
	k := newKeyring(thisNode, &Recovery{Secret: []byte("secret")}, kit.Silent)
	f.Add(k.newEngineSID())
	f.Add(strings.Repeat(".", 32))
	f.Fuzz(func(t *testing.T, sid string) {
		node, ok := engineSIDNode(sid)
		if !ok {
			return
		}
		if k.checkEngineSID(sid) == nil && node != thisNode {
			t.Errorf("%q is good", sid)
		}
	})
}
