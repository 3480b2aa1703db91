package wstest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// newChat is the server that the examples test.
func newChat() *wsserver.Server {
	srv := wsserver.New(wsserver.Config{})
	root := srv.Of("/")
	wsserver.OnAck(root, "join", func(ctx context.Context, s *wsserver.Socket, room string) (bool, error) {
		return true, s.Join(ctx, room)
	})
	wsserver.On(root, "say", func(ctx context.Context, s *wsserver.Socket, text string) error {
		return s.To("tower").Emit(ctx, "said", text)
	})
	return srv
}

func ExampleDial() {
	test := func(t *testing.T) {
		srv := newChat()
		defer srv.Close(context.Background())
		ann, bob := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
		ann.EmitWithAck("join", "tower")
		bob.Emit("say", "ding dong")
		var text string
		if err := ann.Next("said").Decode(&text); err != nil || text != "ding dong" {
			t.Errorf("said: got %q, %v", text, err)
		}
	}
	run("TestChat", test)
}

// In a bubble of testing/synctest an hour is over at once, and synctest.Wait returns when all that was sent has arrived.
func ExampleDial_synctest() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newChat()
			defer srv.Close(context.Background())
			ann := wstest.Dial(t, srv, wstest.Config{})
			silent := wstest.Dial(t, srv, wstest.Config{})
			silent.Stall() // answers no ping
			time.Sleep(time.Hour)
			<-silent.Disconnected()
			ann.EmitWithAck("join", "tower") // is still there
			kit.Want(t, len(ann.Pending()), 0, "events")
		})
	}
	run("TestSilence", test)
}

// run stands for go test.
func run(name string, test func(*testing.T)) {
	testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: name, F: test}})
}
