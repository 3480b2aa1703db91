package wsserver_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestNamespacesWatched: a server's namespaces are listed and looked up without being made, and each change is told: of one that the program
// makes, and of one that clients make and leave.
func TestNamespacesWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.OfFunc(func(name string) bool { return strings.HasPrefix(name, "/room-") })
		_, changed := srv.Namespaces()
		want := func(what string, told bool, names ...string) {
			t.Helper()
			synctest.Wait()
			select {
			case <-changed:
				kit.Check(t, told, "%s: a change was told", what)
			default:
				kit.Check(t, !told, "%s: no change was told", what)
			}
			var all []*wsserver.Namespace
			all, changed = srv.Namespaces()
			var got []string
			for _, ns := range all {
				got = append(got, ns.Name())
				for _, name := range []string{ns.Name(), strings.TrimPrefix(ns.Name(), "/")} {
					if found, ok := srv.Lookup(name); found != ns || !ok {
						t.Errorf("%s: Lookup(%q): got %v, %v", what, name, found, ok)
					}
				}
			}
			kit.Check(t, strings.Join(got, " ") == strings.Join(names, " "),
				"%s: got %v, want %v", what, got, names)
		}
		want("at first", false, "/")
		if ns, ok := srv.Lookup("/room-1"); ns != nil || ok {
			t.Errorf("Lookup of a name that a parent matches: got %v, %v", ns, ok)
		}
		want("looked up", false, "/")
		srv.Of("b")
		want("made by the program", true, "/", "/b")
		srv.Of("/b")
		want("asked for again", false, "/", "/b")
		c := wstest.Dial(t, srv, wstest.Config{})
		room := c.Of("/room-1", nil)
		want("made by a client", true, "/", "/b", "/room-1")
		second := wstest.Dial(t, srv, wstest.Config{Namespace: "/room-1"})
		want("entered by another one", false, "/", "/b", "/room-1")
		room.Disconnect()
		want("left by one", false, "/", "/b", "/room-1")
		second.Abort()
		want("left by the last one", true, "/", "/b")
	})
}
