package engine

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestPollOutlastsTimeouts: the timeouts of the HTTP server are for its requests, not for the time that a session has nothing to say.
func TestPollOutlastsTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(web *http.Server) {
			web.ReadTimeout = 5 * time.Second
			web.WriteTimeout = 5 * time.Second
		})
		sid := r.openPolling()
		o := r.owner(sid)
		r.wantPoll(sid, "2") // after 25 s
		r.post(sid, "3")
		o.session.Pause()
		post := r.start("POST", sid, "4waits")
		time.Sleep(10 * time.Second)
		o.lives(t)
		o.session.Resume()
		post.want(200, "ok")
		o.wantMessages(t, "waits")
		o.lives(t)
	})
}
