package emitter_test

import (
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/test/servers"
	"github.com/belfry-io/belfry/wsserver/msgpack"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

var codecs = []struct {
	name  string
	codec packet.Codec
}{{"JSON", nil}, {"MessagePack", msgpack.Codec{}}}

// A world is two servers and their clients, and what joins an emitter to them.
type world struct {
	*servers.Pair
	adapter adapter.Adapter
	codec   packet.Codec
}

func newWorld(t *testing.T, a adapter.Adapter, codec packet.Codec) *world {
	t.Helper()
	return &world{servers.NewPair(t, a, codec), a, codec}
}

// emitter returns one that is closed when the test ends. It need not have met the servers.
func (w *world) emitter(t *testing.T) *emitter.Emitter {
	t.Helper()
	e := emitter.New(emitter.Config{Adapter: w.adapter, Codec: w.codec, Logger: kit.Silent})
	t.Cleanup(func() { kit.Close(t, e) })
	return e
}

// worlds runs a test over memory in a bubble, and over a NATS server, with each codec.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	for _, c := range codecs {
		t.Run("memory, "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, new(adapter.Memory), c.codec)) })
		})
		t.Run("NATS, "+c.name, func(t *testing.T) {
			server := natstest.NewServer(t)
			test(t, newWorld(t, natsadapter.New(natsadapter.Config{URL: server.URL(), Logger: kit.Silent}), c.codec))
		})
	}
}
