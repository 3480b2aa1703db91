package engineio

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

// NewSID returns a session's id: the node that has the session, unless that is empty, and a dot, and 20 characters of base64url from 15
// bytes of crypto/rand. It is the secret of one client, and so never the id by which other clients know its socket. Of node, which is no
// secret, an id is made that fits into a query and a cookie as it is (Engine.IO 4 asks no more of it) if node does.
func NewSID(node string) string {
	var b [15]byte
	rand.Read(b[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	if node == "" {
		return secret
	}
	return node + "." + secret
}

// SIDNode is the node that a session's id names; empty if it names none.
func SIDNode(sid string) string {
	node, _, ok := strings.Cut(sid, ".")
	if !ok {
		return ""
	}
	return node
}
