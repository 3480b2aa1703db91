package wsserver

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
)

// The id of an Engine.IO session is node.secret.mac: the node that has the session, which every socket's
// id shows, 72 random bits, which are the secret of its client, and the first 48 bits of the HMAC-SHA256
// (RFC 2104) of both under the node's key, in base64url. So any node knows by itself whose session a
// request is for, and nobody can make up an id that has the nodes ask each other.

const (
	secretChars = 12
	secretBytes = 9

	engineMACChars = 8
	engineMACBytes = 6

	engineSIDChars = nodeChars + 1 + secretChars + 1 + engineMACChars
)

// errSIDForged is why the id of an Engine.IO session is none: no node has made it.
var errSIDForged = errors.New("wsserver: forged id of an Engine.IO session")

// newEngineSID returns the id of a new session of this node.
func (k *keyring) newEngineSID() string {
	var secret [secretBytes]byte
	rand.Read(secret[:]) // never fails
	sid := make([]byte, 0, engineSIDChars)
	sid = append(sid, k.node...)
	sid = append(sid, '.')
	sid = base64.RawURLEncoding.AppendEncode(sid, secret[:])
	sid = append(sid, '.')
	return string(k.own.appendEngineMAC(sid, string(sid[:len(sid)-1])))
}

// engineSIDNode returns the node that an id of a session names, and whether the id has the form of one.
func engineSIDNode(sid string) (node string, ok bool) {
	const second = nodeChars + 1 + secretChars
	if len(sid) != engineSIDChars || sid[nodeChars] != '.' || sid[second] != '.' ||
		!validNode(sid[:nodeChars]) || !base64URL(sid[nodeChars+1:second]) {
		return "", false
	}
	return sid[:nodeChars], true
}

// checkEngineSID returns nil if the node that an id of this form names has made it. If not, the error is
// errSIDForged, or an errKeyUnknown. It costs an HMAC at the most.
func (k *keyring) checkEngineSID(sid string) error {
	node := sid[:nodeChars]
	key := k.key(node)
	if key == nil {
		return errKeyUnknown{node}
	}
	var want [engineMACChars]byte
	const signed = engineSIDChars - engineMACChars
	if !hmac.Equal(key.appendEngineMAC(want[:0], sid[:signed-1]), []byte(sid[signed:])) {
		return errSIDForged
	}
	k.use(node)
	return nil
}

// appendEngineMAC appends the mac of an id. No pid signs the same: that begins otherwise.
func (key *nodeKey) appendEngineMAC(sid []byte, signed string) []byte {
	m := key.mac()
	defer key.macs.Put(m)
	m.text = append(m.text[:0], "sid "...)
	m.text = append(m.text, signed...)
	return base64.RawURLEncoding.AppendEncode(sid, m.of()[:engineMACBytes])
}
