package msgpack

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

// TestOfficialParser sends packets through socket.io-msgpack-parser: it must accept what Encode writes, and write the very same bytes when it
// encodes what it has understood.
func TestOfficialParser(t *testing.T) {
	var sent []string
	send := func(p *packet.Packet) {
		e := kit.Must(Codec{}.Encode(p))(t)
		sent = append(sent, hex.EncodeToString(e.Attachments[0]))
	}
	for _, size := range []int{0xff, 0x100, 0xffff, 0x10000} { // where a form of MessagePack ends and the next begins
		members := map[string]int{}
		for i := range size {
			members[fmt.Sprintf("k%d", i)] = i
		}
		for _, arg := range []any{strings.Repeat("s", size), make([]byte, size), make([]bool, size), members} {
			args := kit.Must(packet.MarshalEvent("x", arg))(t)
			send(&packet.Packet{Type: packet.Event, Args: args})
		}
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		g := generator{random: random, budget: 40}
		send(g.packet(t))
	}

	path, _ := need.Node(t, "socket.io-msgpack-parser")
	node := exec.CommandContext(t.Context(), path, filepath.Join("testdata", "echo.mjs"))
	var stderr strings.Builder
	node.Stdin, node.Stderr = strings.NewReader(strings.Join(sent, "\n")+"\n"), &stderr
	out := kit.Must(node.StdoutPipe())(t)
	kit.OK(t, node.Start())
	answers := bufio.NewScanner(out)
	answers.Buffer(nil, 16<<20) // digits in a line
	n := 0
	for answers.Scan() && n < len(sent) {
		inNode, inBrowser, _ := strings.Cut(answers.Text(), " ")
		for by, got := range map[string]string{"Node.js": inNode, "a browser": inBrowser} {
			if at := difference(got, sent[n]); at >= 0 && !t.Failed() {
				t.Errorf("seed %d, packet %d, %s, digit %d:\n got ...%.200s\nwant ...%.200s", seed, n, by, at, got[at:], sent[n][at:])
			}
		}
		n++
	}
	if err := cmp.Or(answers.Err(), node.Wait()); err != nil || n != len(sent) {
		t.Errorf("seed %d: %d answers to %d packets, %v: %s", seed, n, len(sent), err, stderr.String())
	}
}

// difference is where two strings differ first; -1 if they do not.
func difference(a, b string) int {
	if a == b {
		return -1
	}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
