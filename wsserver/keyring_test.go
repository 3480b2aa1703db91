package wsserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// entry is what a node tells of a key.
func entry(node string, secret byte) []byte {
	return append([]byte(node), strings.Repeat(string(rune(secret)), keyBytes)...)
}

func nodeNumber(i int) string { return fmt.Sprintf("node%06d", i) }

func TestLearn(t *testing.T) {
	var log kit.Log
	k := newKeyring(thisNode, nil, log.Logger())
	kit.OK(t, k.learn(nil))
	kit.OK(t, k.learn(entry(thatNode, 'a')))
	kit.Equal(t, string(k.key(thatNode).secret), strings.Repeat("a", keyBytes))
	for name, b := range map[string][]byte{
		"cut short": entry(nodeNumber(1), 'a')[:entryBytes-1],
		"longer":    append(append(entry(nodeNumber(1), 'a'), entry(nodeNumber(2), 'a')...), 0),
		"no id":     append(entry(nodeNumber(1), 'a'), entry("node.00002", 'a')...),
		"too many":  []byte(strings.Repeat(string(entry(nodeNumber(1), 'a')), maxKeys+2)),
	} {
		if err := k.learn(b); !errors.Is(err, errKeys) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	kit.Check(t, k.key(nodeNumber(1)) == nil, "a part of what was malformed was learned")
	kit.Equal(t, log.String(), "")

	own := string(k.own.secret)
	kit.OK(t, k.learn(append(entry(thatNode, 'b'), entry(thisNode, 'b')...)))
	kit.OK(t, k.learn(entry(thatNode, 'c')))
	kit.Equal(t, string(k.key(thatNode).secret), strings.Repeat("a", keyBytes), "a key was replaced")
	kit.Equal(t, string(k.key(thisNode).secret), own, "this node's key was replaced")
	kit.Equal(t, strings.Count(log.String(), "different keys"), 1, "lines in the log", log.String())
}

// Keys go around: who has learned from a node knows all that it knew, in its order.
func TestExport(t *testing.T) {
	a, b, c := newKeyring("node_a____", nil, kit.Silent), newKeyring("node_b____", nil, kit.Silent), newKeyring("node_c____", nil, kit.Silent)
	kit.OK(t, b.learn(a.export()))
	kit.OK(t, c.learn(b.export()))
	for _, k := range []*keyring{a, b} {
		kit.Equal(t, string(c.key(k.node).secret), string(k.own.secret))
	}
	kit.Equal(t, string(c.export()), string(a.own.secretOf(a.node)+b.own.secretOf(b.node)+c.own.secretOf(c.node)))
	secret := newKeyring("node_d____", &Recovery{Secret: []byte("secret")}, kit.Silent)
	kit.Equal(t, len(secret.export()), 0, "bytes told with a Secret")
	kit.OK(t, secret.learn(c.export()))
	kit.Equal(t, len(secret.keys), 0, "keys learned with a Secret")
}

func (key *nodeKey) secretOf(node string) string { return node + string(key.secret) }

// The keys that were used or learned last stay, and those of nodes that are alive.
func TestKeysAreForgotten(t *testing.T) {
	k := newKeyring(thisNode, nil, kit.Silent)
	k.peers = map[string]*peer{nodeNumber(2): {}, nodeNumber(maxKeys + 1): {}}
	learn := func(i int) { kit.OK(t, k.learn(entry(nodeNumber(i), 'a'))) }
	for i := range maxKeys {
		learn(i)
	}
	used := newKeyring(nodeNumber(1), nil, kit.Silent)
	used.own = k.key(nodeNumber(1))
	sid := nodeNumber(1) + ".0123456789"
	kit.Got(k.checkSID("/", used.sign("/", sid, 1))).Is(t, sid)
	if _, _, err := k.check("/", used.sign("/another", nodeNumber(0)+".0123456789", 1)); !errors.Is(err, errPIDForged) {
		t.Errorf("got error %v", err)
	}
	learn(maxKeys)
	learn(maxKeys + 1)
	for i := range maxKeys + 2 {
		known := k.key(nodeNumber(i)) != nil
		kit.Check(t, known == (i != 0 && i != 3), "node %d is known: %v", i, known)
	}
	kit.Equal(t, len(k.keys), maxKeys)
	kit.Equal(t, k.order.Len(), maxKeys)
	kit.Equal(t, len(k.export()), maxExport)

	for i := range 2 * maxKeys {
		k.peers[nodeNumber(i)] = new(peer)
		learn(i)
	}
	kit.Equal(t, len(k.keys), 2*maxKeys, "keys of nodes that are alive")
	other := newKeyring(thatNode, nil, kit.Silent)
	kit.OK(t, other.learn(k.export()))
	kit.Equal(t, string(other.key(thisNode).secret), string(k.own.secret), "this node's own key")
	k.peers = nil
	learn(2*maxKeys + 1)
	kit.Equal(t, len(k.keys), maxKeys)
}

func FuzzLearn(f *testing.F) {
	f.Add(entry(thatNode, 'a'))
	f.Add(append(entry(thisNode, 'a'), entry(thatNode, 'a')...))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := newKeyring(thisNode, nil, kit.Silent)
		own := string(k.own.secret)
		if k.learn(b) != nil {
			kit.Equal(t, len(k.keys), 0, "keys of what is malformed")
		}
		kit.Equal(t, string(k.key(thisNode).secret), own)
		again := newKeyring(thatNode, nil, kit.Silent)
		kit.OK(t, again.learn(k.export()))
	})
}
