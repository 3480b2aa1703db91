package wsserver

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// A pid is a client's secret for its session, by which it comes back to it: sid.n.mac. The sid is
// the socket's id, n the number of the last entry in the log of the sid's node when the session
// began, in base 36. The mac is the first 96 bits of HMAC-SHA256 (RFC 2104), under the key of the
// node in the sid, in base64url. So a node that knows this key checks the pid by itself, and nobody
// else can make one.

// errPIDForged is why a pid is none: no node has made it for this namespace.
var errPIDForged = errors.New("wsserver: forged pid")

// errKeyUnknown is why what a node has signed cannot be checked: its key is not known here.
type errKeyUnknown struct{ node string }

func (e errKeyUnknown) Error() string {
	return "wsserver: the key of the node " + e.node + " is not known"
}

// The parts of a pid, in characters.
const (
	nodeChars = 10                        // of a node's id, as of cluster.Hub.Node
	sidChars  = nodeChars + 1 + nodeChars // of a socket's id, as of cluster.Hub.NewID
	macChars  = 16
	macBytes  = 12
	maxN      = len("3w5e11264sgsf") // the highest number, in base 36

	shortestPID = sidChars + len(".0.") + macChars
	longestPID  = sidChars + len("..") + maxN + macChars
)

// sign returns the pid of a session that has begun on this node, whose id is in sid.
func (k *keyring) sign(namespace, sid string, n uint64) string {
	pid := make([]byte, 0, longestPID)
	pid = append(pid, sid...)
	pid = append(pid, '.')
	pid = strconv.AppendUint(pid, n, 36)
	pid = append(pid, '.')
	return string(k.own.appendMAC(pid, namespace, sid, n))
}

// check returns what is in a pid that a node has made for a session in the namespace. If not, the
// error is errPIDForged, or an errKeyUnknown. It costs an HMAC at the most.
func (k *keyring) check(namespace, pid string) (sid string, n uint64, err error) {
	if len(pid) < shortestPID || len(pid) > longestPID {
		return "", 0, errPIDForged
	}
	mac := pid[len(pid)-macChars:]
	sid, number := pid[:sidChars], pid[sidChars:len(pid)-macChars]
	n, ok := parseN(number[1 : len(number)-1])
	if !ok || number[0] != '.' || number[len(number)-1] != '.' || !validSID(sid) {
		return "", 0, errPIDForged
	}
	node := sid[:nodeChars]
	key := k.key(node)
	if key == nil {
		return "", 0, errKeyUnknown{node}
	}
	var want [macChars]byte
	if !hmac.Equal(key.appendMAC(want[:0], namespace, sid, n), []byte(mac)) {
		return "", 0, errPIDForged
	}
	k.use(node)
	return sid, n, nil
}

// appendMAC appends the mac of a pid. What is signed begins with what has a fixed length, so that
// no two pids sign the same.
func (key *nodeKey) appendMAC(pid []byte, namespace, sid string, n uint64) []byte {
	m := key.mac()
	defer key.macs.Put(m)
	m.text = append(m.text[:0], "pid "...)
	m.text = binary.BigEndian.AppendUint64(m.text, n)
	m.text = append(m.text, sid...)
	m.text = append(m.text, namespace...)
	return base64.RawURLEncoding.AppendEncode(pid, m.of()[:macBytes])
}

func validSID(sid string) bool {
	return len(sid) == sidChars && sid[nodeChars] == '.' && validNode(sid[:nodeChars]) && validNode(sid[nodeChars+1:])
}

// validNode reports whether id may be a node's, or the part of a socket's id behind the node's.
func validNode(id string) bool { return len(id) == nodeChars && base64URL(id) }

func base64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// An offset is the text behind the arguments of an event, by which a client says what it has got
// last: the first characters of the id of the node whose log has the event, and the event's number
// there.

// tagChars is how many characters of the node's id an offset has. Three would be the same for two
// of a thousand nodes, and resume wrongly.
const tagChars = 6

// appendOffset appends the offset of the entry n in the log of a node.
func appendOffset(dst []byte, node string, n uint64) []byte {
	return strconv.AppendUint(append(dst, node[:tagChars]...), n, 36)
}

// parseOffset returns what appendOffset was given, of the node's id the part that an offset has. ok is
// false for any other text, as a client sends it whose last event ended in a string of the
// program's.
func parseOffset(s string) (tag string, n uint64, ok bool) {
	if len(s) <= tagChars || !base64URL(s[:tagChars]) {
		return "", 0, false
	}
	if n, ok = parseN(s[tagChars:]); !ok {
		return "", 0, false
	}
	return s[:tagChars], n, true
}

// parseN is the number that s is in base 36, as strconv.FormatUint writes it, and nothing else.
func parseN(s string) (n uint64, ok bool) {
	if s == "" || len(s) > maxN || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		var digit uint64
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digit = uint64(c - '0')
		case 'a' <= c && c <= 'z':
			digit = uint64(c-'a') + 10
		default:
			return 0, false
		}
		if n > (math.MaxUint64-digit)/36 {
			return 0, false
		}
		n = n*36 + digit
	}
	return n, true
}
