package engine

import (
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// TestStray: ids name their node, and requests with the id of another node's session go where Config.Stray has them go.
func TestStray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		r := newRig(t, func(cfg *Config) {
			cfg.Node = "here"
			cfg.Stray = func(w http.ResponseWriter, r *http.Request, sid, node string) bool {
				asked = append(asked, r.Method+" "+node+" "+sid)
				if node == "gone" {
					return false
				}
				fmt.Fprint(w, "from "+node)
				return true
			}
		})
		sid := r.openPolling()
		kit.Check(t, strings.HasPrefix(sid, "here."), "got id %q", sid)
		const polling = "EIO=4&transport=polling&sid="
		for _, test := range []struct {
			method, sid string
			status      int
			want        string
		}{
			{"GET", "there.x", 200, "from there"},
			{"POST", "there.x", 200, "from there"},
			{"GET", "gone.x", 400, unknownSID},
			{"GET", "here.x", 400, unknownSID},
			{"GET", "nobody", 400, unknownSID},
			{"GET", ".x", 400, unknownSID},
			{"GET", "there.x&sid=there.x", 400, unknownSID},
		} {
			kit.Want(t, r.mustRequest(test.method, polling+test.sid, "", test.status), test.want,
				test.method, "of", test.sid)
		}
		r.mustRequest("GET", "EIO=4&transport=carrier-pigeon&sid=there.x", "", 400)
		want := []string{"GET there there.x", "POST there there.x", "GET gone gone.x"}
		kit.WantList(t, asked, want, "asked")
		r.post(sid, "4here")
		r.owner(sid).wantMessages(t, "here")
	})
}
