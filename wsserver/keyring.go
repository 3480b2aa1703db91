package wsserver

import (
	"bytes"
	lru "container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"sync"
)

// maxKeys is how many keys of other nodes a keyring keeps; more, if more nodes are alive.
const maxKeys = 4096

// A keyring has the keys of the nodes, with which pids and the ids of Engine.IO sessions are made and
// checked: this node's own, and those of others, also of nodes that have left long ago. With a Secret,
// that is the key of all nodes, and nothing is learned or told.
type keyring struct {
	node     string
	own      *nodeKey
	shared   bool // own is the Secret, the key of all nodes
	recovers bool // this node has a Recovery
	log      *slog.Logger

	differs sync.Once // a node was told to have another key

	mu     sync.Mutex              // guards what follows
	keys   map[string]*lru.Element // of other nodes
	order  lru.List                // of *otherKey: those that were used or learned last are in front
	peers  map[string]*peer        // the other servers, as follow has seen them
	seen   <-chan struct{}         // closed when there are others than peers, as before follow; nil after it
	looked chan struct{}           // closed when peers is another map
}

type otherKey struct {
	node string
	key  *nodeKey
}

const keyBytes = 32

// newKeyring returns the keyring of a node, which has a Recovery or not.
func newKeyring(node string, r *Recovery, log *slog.Logger) *keyring {
	var secret []byte
	if r != nil {
		secret = r.Secret
	}
	k := &keyring{node: node, shared: len(secret) > 0, recovers: r != nil, log: log}
	k.keys, k.looked = make(map[string]*lru.Element), make(chan struct{})
	unseen := make(chan struct{})
	close(unseen)
	k.seen = unseen
	if !k.shared {
		secret = make([]byte, keyBytes)
		rand.Read(secret) // never fails
	}
	k.own = newNodeKey(secret)
	return k
}

// key returns the key of a node; nil if it is not known.
func (k *keyring) key(node string) *nodeKey {
	if node == k.node || k.shared {
		return k.own // what is signed names the node
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.keys[node]; e != nil {
		return e.Value.(*otherKey).key
	}
	return nil
}

// use notes that something signed by the node was good. A forged one keeps no key here.
func (k *keyring) use(node string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.keys[node]; e != nil {
		k.order.MoveToFront(e)
	}
}

// export returns all keys for learn, those first that will be forgotten first. It is empty with a
// Secret.
func (k *keyring) export() []byte {
	if k.shared {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	b := make([]byte, 0, (len(k.keys)+1)*entryBytes)
	for e := k.order.Back(); e != nil; e = e.Prev() {
		other := e.Value.(*otherKey)
		b = append(b, other.node...)
		b = append(b, other.key.secret...)
	}
	b = append(b, k.node...)
	b = append(b, k.own.secret...)
	return b[max(0, len(b)-maxExport):]
}

// What a node tells of its keys: entries of a node's id and its key, at most one for each key that
// it may keep, and one for its own.
const (
	entryBytes = nodeChars + keyBytes
	maxExport  = (maxKeys + 1) * entryBytes
)

var errKeys = errors.New("wsserver: malformed keys of nodes")

// learn adds the keys that another node has exported. A key that is known is not replaced.
func (k *keyring) learn(b []byte) error {
	if len(b)%entryBytes != 0 || len(b) > maxExport {
		return fmt.Errorf("%w: %d bytes", errKeys, len(b))
	}
	for at := 0; at < len(b); at += entryBytes {
		if !validNode(string(b[at : at+nodeChars])) {
			return fmt.Errorf("%w: no node's id at byte %d", errKeys, at)
		}
	}
	if k.shared {
		return nil
	}
	for ; len(b) > 0; b = b[entryBytes:] {
		if node := string(b[:nodeChars]); !k.add(node, b[nodeChars:entryBytes]) {
			k.differs.Do(func() {
				k.log.Error("belfry: two nodes say different keys of recovery for one node: the first counts."+
					" Its sessions may not be recovered here", "other", node)
			})
		}
	}
	return nil
}

// add adds a node's key, and reports whether the node has no other.
func (k *keyring) add(node string, secret []byte) bool {
	if node == k.node {
		return hmac.Equal(secret, k.own.secret)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.keys[node]; e != nil {
		return hmac.Equal(secret, e.Value.(*otherKey).key.secret)
	}
	k.keys[node] = k.order.PushFront(&otherKey{node, newNodeKey(secret)})
	k.shrink()
	return true
}

// shrink forgets keys until there are no more than may be kept. k.mu must be held.
func (k *keyring) shrink() {
	most := max(maxKeys, len(k.peers))
	for range k.order.Len() {
		if len(k.keys) <= most {
			return
		}
		e := k.order.Back()
		if node := e.Value.(*otherKey).node; k.peers[node] != nil {
			k.order.MoveToFront(e)
		} else {
			k.order.Remove(e)
			delete(k.keys, node)
		}
	}
}

// A nodeKey is the key of a node. It may be used concurrently.
type nodeKey struct {
	secret []byte
	macs   sync.Pool // of *mac
}

func newNodeKey(secret []byte) *nodeKey { return &nodeKey{secret: bytes.Clone(secret)} }

func (key *nodeKey) mac() *mac {
	if m, ok := key.macs.Get().(*mac); ok {
		return m
	}
	return &mac{hash: hmac.New(sha256.New, key.secret)}
}

// A mac computes HMACs of one key, one after the other.
type mac struct {
	hash hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// of returns the HMAC of text, until the next one is computed.
func (m *mac) of() []byte {
	m.hash.Reset()
	m.hash.Write(m.text)
	return m.hash.Sum(m.sum[:0])
}
