package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

var errTest = errors.New("the test's reason")

// TestCloseInPause: what was sent before the end is fetched, though a POST waits for its turn.
func TestCloseInPause(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.session.Pause()
		post := r.startAndWait("POST", sid, "4late")
		post.waits()
		o.send("so long")
		o.session.Close(errTest)
		synctest.Wait()
		post.want(200, "ok")
		r.wantPoll(sid, "4so long")
		r.wantPoll(sid, "1") // by itself: the official client forgets what comes with it
		o.wantEnded(t, errTest)
		o.wantMessages(t)
		synctest.Wait()
		r.gone(sid)
	})
}

// TestCloseExpired: Close does not wait longer than it may, whatever is left.
func TestCloseExpired(t *testing.T) {
	for _, left := range []string{"polling", "a poll", "a POST", "a WebSocket", "a probe", "a refused WebSocket", "an aborted probe"} {
		kit.Bubble(t, left, func(t *testing.T) {
			r := newRig(t, nil)
			sid := r.openPolling()
			o := r.owner(sid)
			switch left {
			case "a poll":
				r.start("GET", sid, "")
			case "a POST":
				o.session.Pause()
				r.start("POST", sid, "4x")
			case "a WebSocket":
				_, o = r.openWebSocket()
			case "a probe":
				r.probe(sid)
			case "a refused WebSocket":
				r.probe(sid)
				r.openSocket(sid)
			case "an aborted probe":
				r.probe(sid).mustSend(t, "2prob")
			}
			synctest.Wait()
			r.srv.CloseSessions(errTest)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			begin := time.Now()
			err := r.srv.Close(ctx)
			kit.Equal(t, time.Since(begin), 0, "Close took")
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Close: %v", err)
			}
			o.wantEnded(t, errTest)
			synctest.Wait()
			kit.Equal(t, r.srv.Len(), 0, "sessions are left")
		})
	}
}

// hasty aborts its session when it is told of the end.
type hasty struct{ session *Session }

func (hasty) Message(bool, []byte) (bool, error) { return false, nil }
func (h hasty) Ended(Reason, error)              { h.session.Abort() }
func (h hasty) Gone()                            {}

// TestAbortInEnded: a session whose transport is gone before its owner has been told of the end counts as gone, too.
func TestAbortInEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) {
			cfg.Open = func(_ *http.Request, s *Session) (Owner, error) { return hasty{s}, nil }
		})
		sid := r.openPolling()
		r.srv.session(sid).Close(errTest)
		r.gone(sid)
		r.srv.CloseSessions(errTest)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		kit.OK(t, r.srv.Close(ctx))
	})
}

// TestShutdownHurries: a session that was closed before, and whose client does not come for what is left, holds up no shutdown.
func TestShutdownHurries(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.send("so long")
		o.session.Close(errTest)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*pollShutTimeout)
		defer cancel()
		r.srv.CloseSessions(errors.New("another reason"))
		kit.OK(t, r.srv.Close(ctx))
		o.wantEnded(t, errTest)
	})
}

func (hasty) Moved()                                     {}
func (hasty) Waiting() (bytes int, oldest time.Duration) { return 0, 0 }

// TestAbortMeetsUnread: what a client that polls has asked for and does not read is given up with its session, at once, whatever
// ends that.
func TestAbortMeetsUnread(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(r *rig, sid string)
		want error
	}{
		"the budget is used up": {func(r *rig, sid string) {
			others := int(r.srv.cfg.Budget.Limit())
			r.srv.cfg.Budget.Add(others)
			<-r.owner(sid).ended
			r.srv.cfg.Budget.Release(others)
		}, errOverBudget},
		"aborted":           {func(r *rig, sid string) { r.owner(sid).session.Abort() }, errAborted},
		"the client closes": {func(r *rig, sid string) { r.post(sid, "1") }, transport.ErrPeerClosed},
	} {
		for _, read := range []int{0, 1, 100_000} { // of the answer, before the client stops
			kit.Bubble(t, fmt.Sprintf("%s, %d read", name, read), func(t *testing.T) {
				r := newRig(t, func(cfg *Config) {
					cfg.Budget = budget.New(4 << 20)
				})
				sid := r.openPolling()
				o := r.owner(sid)
				o.send(strings.Repeat("x", 1_000_000))
				nc := kit.Must(r.dial())(t)
				defer nc.Close()
				fmt.Fprintf(nc, "GET /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: rig\r\n\r\n", sid)
				io.CopyN(io.Discard, nc, int64(read))
				synctest.Wait()
				test.end(r, sid)
				o.wantEnded(t, test.want)
				synctest.Wait()
				kit.Equal(t, r.srv.cfg.Budget.Used(), 0, "bytes of the session are kept after its end")
			})
		}
	}
}
