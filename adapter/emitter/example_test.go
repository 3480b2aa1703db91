package emitter_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// example stands for the *testing.T that the clients of package wstest want.
type example struct {
	testing.TB
	cleanups []func()
}

func (e *example) Helper()          {}
func (e *example) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

func (e *example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (e *example) end() {
	for _, f := range slices.Backward(e.cleanups) {
		f()
	}
}

// A worker tells those in a room, who are connected to a server, and is told how many they are. In a program, both are processes, and
// the adapter is natsadapter.New(natsadapter.Config{URL: url, Cluster: "chat"}) in each.
func Example() {
	ctx := context.Background()
	t := new(example)
	defer t.end()
	cluster := new(adapter.Memory)
	srv := wsserver.New(wsserver.Config{Adapter: cluster})
	defer srv.Close(ctx)
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		if err := s.Join(ctx, "lobby"); err != nil {
			return err
		}
		return s.Emit(ctx, "welcome")
	})
	ann := wstest.Dial(t, srv, wstest.Config{})
	ann.Next("welcome") // she is in the lobby

	worker := emitter.New(emitter.Config{Adapter: cluster})
	defer func() {
		if err := worker.Close(ctx); err != nil {
			log.Print(err) // some of it was not sent
		}
	}()
	if err := worker.To("lobby").Emit(ctx, "news", "it begins"); err != nil {
		log.Print(err)
	}
	fmt.Println(ann.Next("news"))
	n, err := worker.To("lobby").EmitCounted(ctx, "news", "it ends")
	fmt.Println(n, err, ann.Next("news"))
	// Output:
	// ["news","it begins"]
	// 1 <nil> ["news","it ends"]
}
