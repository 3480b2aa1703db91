package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// answered are the names of the sockets that have answered, with their answers.
func (w *world) answered(t testing.TB, responses []sockets.SocketResponse) string {
	t.Helper()
	var list []string
	for _, r := range responses {
		args := kit.Must(r.Args())(t)
		node := w.srvs[0].Node()
		if name := w.names[r.Socket]; name == "c" || name == "d" {
			node = w.srvs[1].Node()
		}
		kit.Want(t, r.Node, node, r.Socket, "node")
		list = append(list, strings.TrimSpace(fmt.Sprintln(append([]any{w.names[r.Socket]}, args...)...)))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// wantPartial checks an error of EmitWithAck that says how many clients have not answered.
func wantPartial(t testing.TB, err error, clients int, nodes ...string) {
	t.Helper()
	var partial *cluster.PartialError
	if !errors.As(err, &partial) || partial.Clients != clients || !slices.Equal(partial.Nodes, nodes) {
		t.Errorf("got error %v, want %d clients and nodes %q missing", err, clients, nodes)
	}
}

// noAcks checks that no socket of the world waits for an answer.
func (w *world) noAcks(t testing.TB) {
	t.Helper()
	synctest.Wait()
	for name, s := range w.sockets {
		kit.Want(t, s.PendingAcks(), 0, name, "still waits for answers")
	}
}

// TestBroadcastWithAck: all selected clients are asked, and all their answers come (socket.io-adapter, broadcastWithAck).
func TestBroadcastWithAck(t *testing.T) {
	for _, codec := range []struct {
		name  string
		codec packet.Codec
	}{{"json", packet.JSON{}}, {"msgpack", msgpack.Codec{}}} {
		for _, test := range selections {
			kit.Bubble(t, codec.name+"/"+test.rule, func(t *testing.T) {
				w := newWorld(t, wsserver.Config{Codec: codec.codec})
				var n notes
				w.srvs[1].Of("/").OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) { n.add("%s %v", e.Name(), e.WantsAck()) })
				for name, c := range w.clients {
					c.On("q", func(e wstest.Event) []any {
						var number int
						var bytes []byte
						if err := e.Decode(&number, &bytes); err != nil || number != 7 || string(bytes) != "bytes" || !e.WantsAck() {
							t.Errorf("%s: got %v, wants an ack: %t", name, e, e.WantsAck())
						}
						return []any{strings.ToUpper(name), []byte(name)}
					})
				}
				start := time.Now()
				responses, err := test.selection(w).EmitWithAck(t.Context(), "q", 7, []byte("bytes"))
				kit.OK(t, err)
				var want []string
				told := []string(nil)
				for _, name := range strings.Split(test.want, "") {
					want = append(want, fmt.Sprintf("%s %s [%d]", name, strings.ToUpper(name), name[0]))
					if name == "c" || name == "d" {
						told = append(told, "q true")
					}
				}
				if got := w.answered(t, responses); got != strings.Join(want, ", ") {
					t.Errorf("got answers %q, want %q", got, want)
				}
				if got := time.Since(start); got > 100*time.Millisecond {
					t.Errorf("took %v, want little", got)
				}
				n.want(t, "OnAnyOutgoing of the other node", told...)
				w.noAcks(t)
			})
		}
	}
}

// TestAckIDs: the ids of broadcasts and of single sockets never meet, in whatever order the client answers them.
func TestAckIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		var wg sync.WaitGroup
		const each = 50
		for i := range each {
			for j, ask := range []func(q string) (string, error){
				func(q string) (string, error) { return one(w.sockets["a"].EmitWithAck(t.Context(), "q", q)) },
				func(q string) (string, error) { return only(w.srvs[0].To(w.id("a")).EmitWithAck(t.Context(), "q", q)) },
				func(q string) (string, error) {
					return only(w.srvs[1].To("x").Except(w.id("b")).EmitWithAck(t.Context(), "q", q))
				},
			} {
				wg.Go(func() {
					q := fmt.Sprint(i, " ", j)
					if got, err := ask(q); err != nil || got != q {
						t.Errorf("asked %q: got %q, %v", q, got, err)
					}
				})
			}
		}
		synctest.Wait()
		questions := w.clients["a"].Pending()
		if len(questions) != 3*each || w.sockets["a"].PendingAcks() != 3*each {
			t.Fatalf("got %d questions, the socket waits for %d answers, want %d", len(questions), w.sockets["a"].PendingAcks(), 3*each)
		}
		for i := range questions {
			q := questions[(i*37)%len(questions)] // in some other order
			var text string
			kit.OK(t, q.Decode(&text))
			q.Ack(text)
		}
		wg.Wait()
		w.noAcks(t)
	})
}

// one is the text of an answer.
func one(r sockets.Response, err error) (text string, _ error) {
	if err != nil {
		return "", err
	}
	return text, r.Decode(&text)
}

func only(responses []sockets.SocketResponse, err error) (string, error) {
	if err == nil && len(responses) != 1 {
		err = fmt.Errorf("%d answers", len(responses))
	}
	if err != nil {
		return "", err
	}
	return one(responses[0].Response, nil)
}

// TestBroadcastAckTimeout: at the end of ctx, or of the configured time without one, the answers so far come, with the number of clients
// that have not answered. Nobody waits for them any more, on any node, and a late answer is ignored.
func TestBroadcastAckTimeout(t *testing.T) {
	forAckTimeouts(t, func(t *testing.T, cfg wsserver.Config, timed func(ask func(context.Context) error)) {
		w := newWorld(t, cfg)
		for _, name := range []string{"a", "c"} {
			w.clients[name].On("q", func(wstest.Event) []any { return []any{1} })
		}
		timed(func(ctx context.Context) error {
			responses, err := w.ns.All().EmitWithAck(ctx, "q")
			wantPartial(t, err, 2)
			kit.Want(t, w.answered(t, responses), "a 1, c 1", "answers")
			return err
		})
		w.noAcks(t)
		for _, name := range []string{"b", "d"} {
			w.clients[name].Next("q").Ack("late")
			w.clients[name].EmitWithAck("echo")
		}
	})
}

// TestAckCanceled: a ctx that ends ends the wait, on all nodes; one that has ended already lets nothing be sent.
func TestAckCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("why not")
		time.AfterFunc(time.Second, func() { cancel(why) })
		start := time.Now()
		responses, err := w.ns.All().EmitWithAck(ctx, "q")
		if got := time.Since(start); got != time.Second || !errors.Is(err, why) || len(responses) > 0 {
			t.Errorf("got %v, %v after %v, want %v after 1s", responses, err, got, why)
		}
		wantPartial(t, err, 4)
		w.noAcks(t)
		for _, c := range w.clients {
			c.Next("q")
		}
		if _, err := w.ns.All().EmitWithAck(ctx, "too late"); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
		if _, err := w.ns.All().EmitWithAck(t.Context(), "connect"); !errors.Is(err, packet.ErrReserved) {
			t.Errorf("a reserved name: got %v, want ErrReserved", err)
		}
		for name, c := range w.clients {
			wantEvents(t, name, c)
		}
	})
}

// TestAckDisconnect: a socket that disconnects before it answers is not waited for, on whatever node it is and whatever its handlers do.
func TestAckDisconnect(t *testing.T) {
	for _, how := range []string{"client leaves", "client vanishes", "server disconnects"} {
		kit.Bubble(t, how, func(t *testing.T) {
			w := newWorld(t, wsserver.Config{})
			release := make(chan struct{})
			defer close(release)
			for _, name := range []string{"a", "c"} {
				w.clients[name].On("q", func(wstest.Event) []any { return []any{1} })
			}
			for _, srv := range w.srvs {
				srv.Of("/").On("block", func(context.Context, *wsserver.Event) error { <-release; return nil })
			}
			for _, name := range []string{"b", "d"} {
				w.clients[name].Emit("block")
				time.AfterFunc(time.Second, func() {
					switch how {
					case "client leaves":
						w.clients[name].Disconnect()
					case "client vanishes":
						w.clients[name].Abort()
					default:
						w.sockets[name].Disconnect()
					}
				})
			}
			remotes, err := w.ns.To(w.id("b"), w.id("d")).FetchSockets(t.Context())
			kit.Require(t, err == nil && len(remotes) == 2, "FetchSockets: got %d, %v", len(remotes), err)
			start := time.Now()
			responses, err := w.ns.All().EmitWithAck(t.Context(), "q")
			if got := time.Since(start); got < time.Second || got > 1100*time.Millisecond {
				t.Errorf("took %v, want 1s and little more", got)
			}
			wantPartial(t, err, 2)
			kit.Check(t, !errors.Is(err, context.DeadlineExceeded), "got %v, which blames the time", err)
			kit.Want(t, w.answered(t, responses), "a 1, c 1", "answers")
			w.noAcks(t)
			// Now they have left, but still run their handlers: nobody asks them.
			responses, err = w.ns.All().EmitWithAck(t.Context(), "q")
			if got := w.answered(t, responses); err != nil || got != "a 1, c 1" {
				t.Errorf("later: got answers %q, %v, want those of a and c", got, err)
			}
			for _, r := range remotes {
				if _, err := r.EmitWithAck(t.Context(), "q"); !errors.Is(err, cluster.ErrMember) {
					t.Errorf("later, one of them alone: got %v, want ErrMember", err)
				}
			}
			kit.Want(t, w.fetched(t, w.ns.Except()), "ac", "later: fetched")
			if err := w.sockets["d"].Expect(); err == nil || err != context.Cause(w.sockets["d"].Context()) {
				t.Errorf("asked at the moment of its end: got %v, want the reason", err)
			}
			w.noAcks(t)
		})
	}
}

// TestAckBound: a socket that waits for as many answers as it may gets the event, and counts as not answering at once.
func TestAckBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 1024 {
			wg.Go(func() { w.srvs[i%2].To(w.id("c")).EmitWithAck(ctx, "first") })
		}
		synctest.Wait()
		if got := w.sockets["c"].PendingAcks(); got != 1024 {
			t.Fatalf("the socket waits for %d answers, want 1024", got)
		}
		w.clients["c"].Pending()
		w.clients["b"].On("q", func(wstest.Event) []any { return []any{1} })
		start := time.Now()
		responses, err := w.ns.To("y").EmitWithAck(t.Context(), "q")
		wantPartial(t, err, 1)
		if got := w.answered(t, responses); got != "b 1" || time.Since(start) > 100*time.Millisecond {
			t.Errorf("got answers %q after %v, want b's at once", got, time.Since(start))
		}
		if _, err := w.sockets["c"].EmitWithAck(t.Context(), "not even sent"); !errors.Is(err, wsserver.ErrTooManyAcks) {
			t.Errorf("EmitWithAck: got %v, want ErrTooManyAcks", err)
		}
		wantEvents(t, "c", w.clients["c"], `["q"]`)
		cancel()
		wg.Wait()
		w.noAcks(t)
		w.clients["c"].On("q", func(wstest.Event) []any { return []any{2} })
		kit.Want(t, w.answered(t, kit.Must(w.ns.To("y").EmitWithAck(t.Context(), "q"))(t)), "b 1, c 2",
			"later")
	})
}

// TestVolatileAck: a client that a volatile event passes over counts as not answering, at once.
func TestVolatileAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		for _, c := range w.clients {
			c.On("q", func(wstest.Event) []any { return []any{1} })
		}
		w.clients["c"].Stall()
		w.sockets["c"].Emit(t.Context(), "big", strings.Repeat("x", 100_000)) // more than the network takes
		time.Sleep(time.Second)
		start := time.Now()
		responses, err := w.ns.All().Volatile().EmitWithAck(t.Context(), "q")
		wantPartial(t, err, 1)
		if got := w.answered(t, responses); got != "a 1, b 1, d 1" || time.Since(start) > 100*time.Millisecond {
			t.Errorf("got answers %q after %v, want all but c's at once", got, time.Since(start))
		}
		w.noAcks(t)
	})
}

// TestAckGarbage: what a client answers is its own affair.
func TestAckGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		w.clients["a"].On("q", func(wstest.Event) []any { return []any{} })
		w.clients["b"].On("q", func(e wstest.Event) []any {
			e.Ack("first")
			return []any{"second"}
		})
		w.clients["c"].On("q", func(wstest.Event) []any { return []any{strings.Repeat("x", 200_000), []byte{}, nil} })
		w.clients["d"].On("q", func(wstest.Event) []any {
			wsrig.Under(w.clients["d"]).Send(`43999999["of nobody"]`, `43[`)
			return nil
		})
		responses, err := w.ns.All().EmitWithAck(t.Context(), "q")
		wantPartial(t, err, 1)
		kit.Want(t, w.answered(t, responses), "a, b first, c "+strings.Repeat("x", 200_000)+" [] <nil>",
			"got answers")
		w.noAcks(t)
	})
}
