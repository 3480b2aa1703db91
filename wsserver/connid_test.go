package wsserver_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestConnID: all sockets of a connection have its id, whatever carries it, which does not tell the
// session's; and a socket that is fetched says what carries it.
func TestConnID(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	admin := srv.Of("/admin")
	dial := listen(t, srv, localhost(t), false)
	p := newPoller(t, dial)
	s := srv.Of("/").Sockets()[0]
	id := s.ConnID()
	_, secret, _ := strings.Cut(p.sid, ".")
	kit.Check(t, len(id) >= 20 && !strings.Contains(id, secret) && !strings.Contains(secret, id),
		"the connection %q has the session %q", id, p.sid)
	kit.OK(t, p.post("40/admin,"))
	kit.Require(t, p.fetch(), "the client that polls has ended")
	carried := func(by string) {
		t.Helper()
		for _, ns := range []*wsserver.Namespace{srv.Of("/"), admin} {
			fetched, err := ns.All().FetchSockets(t.Context())
			if err != nil || len(fetched) != 1 || fetched[0].Transport != by {
				t.Errorf("%s: fetched are %+v, %v, want one by %s", ns.Name(), fetched, err, by)
			}
			kit.Want(t, ns.Sockets()[0].ConnID(), id, ns.Name(), "the connection is")
		}
	}
	carried("polling")
	c := wsrig.New(t, dial(), wsrig.Config{Query: url.Values{"sid": {p.sid}}})
	c.Send("2probe")
	if got := c.Read(); got != "3probe" {
		t.Fatalf("the answer to the probe is %q", got)
	}
	c.Send("5")
	kit.Eventually(t, "the upgrade", func() bool { return s.Transport() == "websocket" })
	carried("websocket")
	other := wstest.New(t, dial(), wstest.Config{})
	if got := socketOf(t, srv, other).ConnID(); got == id {
		t.Errorf("two connections are %q", got)
	}
}
