package wsserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

const (
	thisNode, thatNode = "this_node-", "that_node0"
	sidHere            = thisNode + ".a-socket_1"
)

// numbers are those of every length in base 36, and those at its ends.
func numbers() (all []uint64) {
	for n := uint64(1); ; n *= 36 {
		all = append(all, n-1, n, n+1)
		if n > math.MaxUint64/36 {
			return append(all, math.MaxUint64-1, math.MaxUint64)
		}
	}
}

// A pid is checked where it was made, at a node that has learned the key, and, with a Secret, at
// every node.
func TestPID(t *testing.T) {
	here, there, stranger := newKeyring(thisNode, nil, kit.Silent), newKeyring(thatNode, nil, kit.Silent), newKeyring(thatNode, nil, kit.Silent)
	kit.OK(t, there.learn(here.export()))
	a, b := newKeyring(thisNode, &Recovery{Secret: []byte("s")}, kit.Silent), newKeyring(thatNode, &Recovery{Secret: []byte("s")}, kit.Silent)
	other := newKeyring(thatNode, &Recovery{Secret: []byte("S")}, kit.Silent)
	for _, namespace := range []string{"/", "/admin", "/" + strings.Repeat("n", 2000)} {
		for _, n := range numbers() {
			for _, from := range []*keyring{here, a} {
				pid := from.sign(namespace, sidHere, n)
				kit.Require(t, strings.HasPrefix(pid, sidHere+"."+strconv.FormatUint(n, 36)+".") && len(pid) <= longestPID, "pid %s", pid)
				for _, at := range []*keyring{here, there, a, b, other} {
					sid, got, err := at.check(namespace, pid)
					switch fine := (from == here) == (at == here || at == there) && at != other; {
					case fine && (err != nil || sid != sidHere || got != n):
						t.Errorf("%s: got %s, %d, error %v", pid, sid, got, err)
					case !fine && !errors.Is(err, errPIDForged):
						t.Errorf("%s: got error %v, want that it is forged", pid, err)
					}
				}
				_, _, err := stranger.check(namespace, pid)
				if unknown := (errKeyUnknown{}); !errors.As(err, &unknown) || unknown.node != thisNode {
					t.Errorf("%s: got error %v, want that the node is unknown", pid, err)
				}
			}
		}
	}
}

// The mac is the one of RFC 2104, so that other programs can check what this one has made.
func TestPIDsMAC(t *testing.T) {
	k := newKeyring(thisNode, &Recovery{Secret: []byte("secret")}, kit.Silent)
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte("pid \x00\x00\x00\x00\x00\x00\x00\x25" + sidHere + "/admin"))
	want := sidHere + ".11." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:macChars]
	kit.Equal(t, k.sign("/admin", sidHere, 37), want)
}

// A pid is good as it was made, in its namespace, and in no other way.
func TestForgedPIDs(t *testing.T) {
	for _, secret := range []string{"", "secret"} {
		k := newKeyring(thisNode, &Recovery{Secret: []byte(secret)}, kit.Silent)
		pid := k.sign("/a", sidHere, 37)
		refused := func(namespace, pid string) {
			t.Helper()
			if sid, n, err := k.check(namespace, pid); err == nil || sid != "" || n != 0 {
				t.Errorf("%q in %q: got %s, %d, error %v", pid, namespace, sid, n, err)
			}
		}
		for _, namespace := range []string{"", "/", "/A", "/a/", "/ab", "a"} {
			refused(namespace, pid)
		}
		for i := range pid {
			refused("/a", pid[:i])
			refused("/a", pid[i+1:])
			refused("/a", pid[:i]+pid[i+1:])
			refused("/a", pid[:i]+pid[i:i+1]+pid[i:])
			for c := range 256 {
				if byte(c) != pid[i] {
					refused("/a", pid[:i]+string([]byte{byte(c)})+pid[i+1:])
				}
			}
		}
		mac := pid[len(pid)-macChars:]
		for _, number := range []string{"", "0", "011", "+11", "-1", " 11", "1_1", "11.", "12", "1", "111", strings.Repeat("1", 14),
			"3w5e11264sgsg", "zzzzzzzzzzzzz", strings.Repeat("0", 12) + "1"} {
			refused("/a", sidHere+"."+number+"."+mac)
		}
		refused("/a", pid+"=")
		refused("/a", pid+strings.Repeat("A", 1<<20))
		refused("/a", "")
		refused("/a", strings.ToUpper(pid))
		refused("1/a", k.sign("/a", sidHere, 1)) // namespace and number, moved against each other
		kit.Got(k.checkSID("/a", pid)).Is(t, sidHere)
	}
}

func (k *keyring) checkSID(namespace, pid string) (string, error) {
	sid, _, err := k.check(namespace, pid)
	return sid, err
}

func FuzzPID(f *testing.F) {
	k := newKeyring(thisNode, &Recovery{Secret: []byte("secret")}, kit.Silent)
	f.Add("/", k.sign("/", sidHere, 0))
	f.Add("/a", k.sign("/a", sidHere, math.MaxUint64))
	f.Add("/", sidHere+"..0123456789abcdef")
	f.Fuzz(func(t *testing.T, namespace, pid string) {
		if sid, n, err := k.check(namespace, pid); err == nil {
			of := newKeyring(sid[:nodeChars], &Recovery{Secret: []byte("secret")}, kit.Silent)
			kit.Equal(t, of.sign(namespace, sid, n), pid)
		}
	})
}

func TestOffset(t *testing.T) {
	for _, n := range numbers() {
		offset := string(appendOffset(nil, thisNode, n))
		tag, got, ok := parseOffset(offset)
		kit.Require(t, ok && tag == thisNode[:tagChars] && got == n, "%s: got %s, %d, %v", offset, tag, got, ok)
		kit.Equal(t, offset, thisNode[:tagChars]+strconv.FormatUint(n, 36))
		for _, s := range []string{offset + " ", " " + offset, "0" + offset + "zzzzzzzzzzzz", thisNode[:tagChars] + "0" + offset[tagChars:],
			offset + "A", offset + "-", offset + "é", "é" + offset, "." + offset[1:], offset[:tagChars]} {
			if tag, n, ok := parseOffset(s); ok {
				t.Errorf("%q: got %s, %d", s, tag, n)
			}
		}
	}
	for _, s := range []string{"", "0", "this_", "this_n", "hello, world", "this_n3w5e11264sgsg", "this_nzzzzzzzzzzzzz", "this_n+1", "this_nAB"} {
		if tag, n, ok := parseOffset(s); ok {
			t.Errorf("%q: got %s, %d", s, tag, n)
		}
	}
}

func FuzzOffset(f *testing.F) {
	f.Add(string(appendOffset(nil, thisNode, 0)))
	f.Add(string(appendOffset(nil, thisNode, math.MaxUint64)))
	f.Add("this_n01")
	f.Fuzz(func(t *testing.T, s string) {
		if tag, n, ok := parseOffset(s); ok {
			kit.Equal(t, string(appendOffset(nil, tag+"0000", n)), s)
		}
	})
}

// What a client sends in place of a pid takes next to nothing of the server's memory.
func TestForgedPIDAllocatesLittle(t *testing.T) {
	k := newKeyring(thisNode, nil, kit.Silent)
	for name, pid := range forgeries(k) {
		allocs := testing.AllocsPerRun(100, func() {
			if _, _, err := k.check("/", pid); err == nil {
				t.Fatal("a forged pid is good")
			}
		})
		const ofPools = 8 // of which the race detector empties some
		kit.Check(t, allocs <= ofPools, "%s: %v allocations", name, allocs)
	}
}

func forgeries(k *keyring) map[string]string {
	pid := k.sign("/", sidHere, 1<<40)
	return map[string]string{
		"mac":     pid[:len(pid)-macChars] + strings.Repeat("A", macChars),
		"unknown": thatNode + pid[nodeChars:],
		"form":    pid[:len(pid)-1] + "=x",
		"long":    strings.Repeat(pid, 1000),
	}
}

func BenchmarkPID(b *testing.B) {
	for name, secret := range map[string]string{"keys": "", "secret": "secret"} {
		k := newKeyring(thisNode, &Recovery{Secret: []byte(secret)}, kit.Silent)
		forged := forgeries(k)
		forged["good"] = k.sign("/", sidHere, 1<<40)
		for what, pid := range forged {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _, err := k.check("/", pid)
					if (err == nil) != (what == "good") {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(name+"/sign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.sign("/", sidHere, 1<<40)
			}
		})
	}
}
