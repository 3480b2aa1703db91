package natsadapter

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

// maxToken is the longest token that spells a name, in bytes; the token of a longer one is a hash.
// With maxPrefix it keeps every subject below 512 bytes: a line of the NATS protocol may have
// 4,096, and a server answers a longer one by closing the connection.
const (
	maxToken  = 128
	maxPrefix = 64
)

// A naming maps topics to subjects:
//
//	<prefix>.v1.<cluster>.c                             every node
//	<prefix>.v1.<cluster>.s.<namespace>                 a namespace
//	<prefix>.v1.<cluster>.r.<namespace>.<room>          a room
//	<prefix>.v1.<cluster>.n.<node>.c                    a node
//	<prefix>.v1.<cluster>.n.<node>.q.<text>             answers of the server to this node's probes: see probe.go
//	<prefix>.v1.<cluster>.n.<node>.p.<namespace>.<room> a private room at that node
//
// Besides, <prefix>.service.<cluster>.> is for the cluster's service.
//
// What stands in angle brackets, but for the prefix, is a token made by appendToken: nothing that a
// user chooses enters a subject otherwise.
type naming struct {
	root string // up to and with the dot behind the cluster
}

func newNaming(prefix, cluster string) (naming, error) {
	if !validPrefix(prefix) {
		return naming{}, prefixError(prefix)
	}
	return naming{root: prefix + ".v1." + string(appendToken(nil, cluster)) + "."}, nil
}

func prefixError(prefix string) error {
	return fmt.Errorf("prefix %.80q: want up to %d letters, digits, '-' and '_', with single dots between them", prefix, maxPrefix)
}

func validPrefix(s string) bool {
	if s == "" || len(s) > maxPrefix {
		return false
	}
	dot := true // a token has to begin here
	for i := range len(s) {
		switch {
		case plain(s[i]):
			dot = false
		case s[i] == '.' && !dot:
			dot = true
		default:
			return false
		}
	}
	return !dot
}

var errNoKind = errors.New("a topic without a kind")

// publish returns the subject that messages for t go to.
func (n naming) publish(t adapter.Topic) (string, error) {
	b := make([]byte, 0, len(n.root)+len(t.Namespace)+len(t.Room)+len(t.Node)+16)
	b = append(b, n.root...)
	switch t.Kind {
	case adapter.Cluster:
		b = append(b, 'c')
	case adapter.Namespace:
		b = appendToken(append(b, "s."...), t.Namespace)
	case adapter.Room:
		b = appendToken(append(b, "r."...), t.Namespace)
		b = appendToken(append(b, '.'), t.Room)
	case adapter.Node:
		b = appendToken(append(b, "n."...), t.Node)
		b = append(b, ".c"...)
	case adapter.Private:
		b = appendToken(append(b, "n."...), t.Node)
		b = appendToken(append(b, ".p."...), t.Namespace)
		b = appendToken(append(b, '.'), t.Room)
	default:
		return "", errNoKind
	}
	return string(b), nil
}

// subscribe returns the subject that brings the messages of t: for a node a wildcard, which covers
// its private topics as well.
func (n naming) subscribe(t adapter.Topic) (string, error) {
	if t.Kind == adapter.Node {
		b := append([]byte(n.root), "n."...)
		return string(append(appendToken(b, t.Node), ".>"...)), nil
	}
	return n.publish(t)
}

// allRooms returns the subject that brings the messages of all rooms of all namespaces.
func (n naming) allRooms() string { return n.root + "r.>" }

// appendToken appends the token of a name: 'r' and the name, in which every byte but letters,
// digits, '-' and '_' is "=XX"; or, where that would be over maxToken, 'h' and the name's SHA-256.
// It is injective, as far as SHA-256 is, and never yields a dot, a wildcard, white space or a token
// of one letter.
func appendToken(b []byte, name string) []byte {
	const hex = "0123456789ABCDEF"
	start := len(b)
	b = append(b, 'r')
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
		if len(b)-start > maxToken {
			sum := sha256.Sum256([]byte(name))
			return base64.RawURLEncoding.AppendEncode(append(b[:start], 'h'), sum[:])
		}
	}
	return b
}

// plain reports whether a token holds c as it is.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
