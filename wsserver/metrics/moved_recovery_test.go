package metrics

import (
	"regexp"
	"strings"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// come connects a client, which says in its auth who it was, and returns the secret of its session.
func (r *rig) come(srv *wsserver.Server, auth string) (c *wsrig.Conn, pid string) {
	c = wsrig.Dial(r, srv, wsrig.Config{})
	c.Send("40" + auth)
	for {
		if m := c.Read(); strings.HasPrefix(m, "40") {
			return c, regexp.MustCompile(`"pid":"([^"]+)"`).FindStringSubmatch(m)[1]
		}
	}
}

func recovered(r *rig) {
	const away, evicted = `belfry_recovery_away`, `belfry_recovery_evicted_total`
	from := func(where string) string { return `belfry_recovery_recovered_total{session="` + where + `"}` }
	refused := func(reason string) string { return `belfry_recovery_refused_total{reason="` + reason + `"}` }
	c, pid := r.come(r.srv, "")
	back := `{"pid":"` + pid + `"}`
	r.moves(c.Abort, delta{away: 1})
	r.moves(func() { _ = r.srv.Emit(r.Context(), "missed") },
		delta{`belfry_recovery_log_entries`: 1, `belfry_recovery_log_bytes`: grown})
	r.moves(func() { c, _ = r.come(r.srv, back) }, delta{from("here"): 1, from("elsewhere"): 0, away: -1})
	r.moves(func() { r.come(r.srv, `{"pid":"`+strings.Replace(pid, ".0.", ".1.", 1)+`"}`) }, delta{refused("forged"): 1})

	other := wsserver.New(wsserver.Config{
		Adapter: r.cluster, Recovery: &wsserver.Recovery{Secret: []byte("secret")}, Logger: kit.Silent,
	})
	defer kit.Close(r, other)
	time.Sleep(time.Second)
	r.moves(c.Abort, delta{away: 1})
	movesOf(r.T, other, func() {
		r.moves(func() { c, _ = r.come(other, back) }, delta{away: -1, from("elsewhere"): 0})
	}, delta{from("elsewhere"): 1, from("here"): 0})

	first, pid := r.come(r.srv, "")
	second, _ := r.come(r.srv, "")
	r.moves(first.Abort, delta{away: 1, evicted: 0})
	r.moves(second.Abort, delta{away: 0, evicted: 1})
	r.moves(func() { r.come(r.srv, `{"pid":"`+pid+`"}`) }, delta{refused("unknown"): 1, evicted: 0})
}
