package engineio

import (
	"crypto/rand"
	"encoding/base64"
)

// NewSID returns a session's id: 20 characters of base64url from 15 bytes of crypto/rand. It is the secret of one client, and so never the
// id by which other clients know its socket.
func NewSID() string {
	var b [15]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
