package engine

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// ways are pairs of servers that two requests of a client come to at a time; "" is the owner.
var ways = [][2]string{{"", ""}, {"", "gate"}, {"gate", ""}, {"gate", "gate"}, {"gate", "another"}}

// overlapping runs f in a bubble for each pair, with a session that polls, and a way to have the next
// requests come to a server.
func overlapping(t *testing.T, f func(t *testing.T, r *rig, sid string, way [2]string, by func(server string))) {
	gated = true
	defer func() { gated = false }()
	for _, way := range ways {
		t.Run(strings.Join(way[:], "+"), func(t *testing.T) {
			polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
				gate, wire := r.gate, r.wire
				f(t, r, sid, way, func(server string) {
					if r.gate = gate; server == "" {
						r.gate = nil
					}
					wire.gate = server
				})
				r.wantOver(sid, transport.ErrOverlap)
				kit.Equal(t, r.srv.Stats().Refused, Stats{}.Refused, "requests that the owner has refused")
				kit.Equal(t, gate.Stats().Refused, Stats{}.Refused, "requests that the gate has refused")
			})
		})
	}
}

// TestOverlappingGets: two GETs at a time end the session, whichever servers get them: the first has a
// close packet, the second is refused.
func TestOverlappingGets(t *testing.T) {
	overlapping(t, func(t *testing.T, r *rig, sid string, way [2]string, by func(string)) {
		by(way[0])
		first := r.startAndWait("GET", sid, "")
		by(way[1])
		r.start("GET", sid, "").want(400, badRequestBody)
		first.want(200, "1")
	})
}

// TestOverlappingPosts: likewise two POSTs, whose bodies come or wait to be taken. Both are refused, and
// nobody waits for the rest of a body.
func TestOverlappingPosts(t *testing.T) {
	overlapping(t, func(t *testing.T, r *rig, sid string, way [2]string, by func(string)) {
		r.owner(sid).session.Pause()
		by(way[0])
		first := r.startAndWait("POST", sid, "4one")
		by(way[1])
		r.start("POST", sid, "4two").want(400, badRequestBody)
		first.want(400, badRequestBody)
		r.owner(sid).wantMessages(t)
	})
	for _, body := range []string{"", "4x"} { // what has come of it
		overlapping(t, func(t *testing.T, r *rig, sid string, way [2]string, by func(string)) {
			by(way[0])
			nc := kit.Must(r.dial())(t)
			defer nc.Close()
			fmt.Fprintf(nc, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: rig\r\n"+
				"Content-Length: 9\r\n\r\n%s", sid, body)
			if body == "" {
				time.Sleep(announceAfter)
			}
			synctest.Wait()
			begin := time.Now()
			by(way[1])
			r.start("POST", sid, "4two").want(400, badRequestBody)
			answer := string(kit.Must(io.ReadAll(nc))(t))
			kit.Check(t, strings.HasPrefix(answer, "HTTP/1.1 400") && strings.HasSuffix(answer, badRequestBody),
				"the first POST is answered %q", answer)
			kit.Took(t, begin, 0, time.Second, "the end of the first POST")
			r.owner(sid).wantMessages(t)
		})
	}
}

// TestRepeatedGet: a balancer whose gate has died repeats the request elsewhere: the one that waits is let go.
func TestRepeatedGet(t *testing.T) {
	gated = true
	defer func() { gated = false }()
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		r.wire.mute = true // nobody says that the client has an answer
		first := r.startAndWait("GET", sid, "")
		r.wire.gate = "another"
		second := r.startAndWait("GET", sid, "")
		first.want(200, "1")
		gate := r.gate
		r.gate = nil
		third := r.startAndWait("GET", sid, "")
		second.want(200, "1")
		r.wire.fallSilent()
		synctest.Wait()
		o.send("one")
		third.want(200, "4one")
		o.lives(t)
		r.gate = gate
	})
}

// TestGateDiesInPost: a client whose gate dies, or is not heard, while a body comes has gone.
func TestGateDiesInPost(t *testing.T) {
	gated = true
	defer func() { gated = false }()
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		body, rest := io.Pipe()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			r.stream(sid, body)
		}()
		time.Sleep(announceAfter)
		synctest.Wait()
		o.lives(t)
		r.wire.fallSilent()
		r.wantOver(sid, transport.ErrAborted)
		<-sent
		rest.Close()
	})
}
