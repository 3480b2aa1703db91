package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestServerSideEmit: an event goes to the other servers, in its namespace, and to nobody else, in order (socket.io-adapter,
// serverSideEmit).
func TestServerSideEmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 3, wsserver.Config{Codec: msgpack.Codec{}})
		var n [3]notes
		for i, srv := range srvs {
			srv.Of("/other")
			for _, ns := range []string{"/", "/chat"} {
				wsserver.OnServerSide(srv.Of(ns), "said", func(ctx context.Context, text string) error {
					n[i].add("%s %s", ns, text)
					return nil
				})
			}
			srv.OnServerSide("said", func(ctx context.Context, e *wsserver.ServerEvent) error {
				args, err := e.Args()
				n[i].add("again %s %d %v %v %t %v", e.Namespace(), e.Len(), args[1:], e.Node() == srvs[0].Node(), e.WantsAck(), errors.Join(err, e.Ack("nobody waits")))
				return nil
			})
		}
		c := wstest.Dial(t, srvs[1], wstest.Config{Codec: msgpack.Codec{}})
		kit.OK(t, srvs[0].Of("/").ServerSideEmit(t.Context(), "said", "hi", []byte("b"), 1.5))
		n[0].want(t, "the emitter")
		for i := 1; i < 3; i++ {
			n[i].want(t, "another", "/ hi", "again / 3 [[98] 1.5] true false <nil>")
		}
		kit.OK(t, srvs[2].Of("/chat").ServerSideEmit(t.Context(), "said", "there"))
		n[2].want(t, "the emitter")
		for i := range 2 {
			n[i].want(t, "another", "/chat there")
		}
		for _, ns := range []string{"/other", "/"} {
			kit.OK(t, srvs[0].Of(ns).ServerSideEmit(t.Context(), "nobody handles it", "x"))
		}
		kit.OK(t, srvs[0].Of("/other").ServerSideEmit(t.Context(), "said", "x"))
		n[1].want(t, "another namespace")
		var want []string
		for i := range 200 {
			kit.OK(t, srvs[0].Of("/chat").ServerSideEmit(t.Context(), "said", fmt.Sprint(i)))
			want = append(want, fmt.Sprint("/chat ", i))
		}
		n[1].want(t, "in order", want...)
		wantEvents(t, "a client", c)
		kit.WantErr(t, srvs[0].Of("/").ServerSideEmit(t.Context(), "connect"), packet.ErrReserved,
			"a reserved name")
		if err := srvs[0].Of("/").ServerSideEmit(t.Context(), "x", make(chan int)); err == nil {
			t.Error("what cannot be JSON: got no error")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := srvs[0].Of("/").ServerSideEmitWithAck(ctx, "said", "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want Canceled", err)
		}
		n[1].want(t, "what failed")
		unhandled := srvs[1].Stats().Unhandled
		kit.OK(t, srvs[0].Of("/chat").ServerSideEmit(ctx, "said", "x"), "a ctx that has ended")
		n[1].want(t, "a ctx that has ended", "/chat x")
		kit.Want(t, unhandled, 3, "Stats.Unhandled")
	})
}

// texts are the nodes and the answers to a server-side event.
func texts(t testing.TB, srvs []*wsserver.Server, responses []sockets.ServerResponse) string {
	t.Helper()
	var list []string
	for _, r := range responses {
		args := kit.Must(r.Args())(t)
		i := slices.IndexFunc(srvs, func(srv *wsserver.Server) bool { return srv.Node() == r.Node })
		list = append(list, fmt.Sprint(i, args))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestServerSideAck: all other servers answer, each once; those that do not are named, with the reason.
func TestServerSideAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(kit.Log)
		srvs := newCluster(t, 3, wsserver.Config{Logger: l.Logger()})
		for i, srv := range srvs {
			ns := srv.Of("/")
			wsserver.OnServerSideAck(ns, "double", func(ctx context.Context, number int) (string, error) {
				return fmt.Sprint(2 * number), nil
			})
			ns.OnServerSide("many", func(ctx context.Context, e *wsserver.ServerEvent) error {
				return errors.Join(e.Ack(i, []byte{byte(i)}), e.Ack("again"))
			})
			ns.OnServerSide("many", func(ctx context.Context, e *wsserver.ServerEvent) error {
				kit.Check(t, !e.WantsAck(), "WantsAck: got true after the answer")
				return e.Ack("another handler's")
			})
			ns.OnServerSide("large", func(ctx context.Context, e *wsserver.ServerEvent) error { return e.Ack(strings.Repeat("x", 300_000)) })
			if i == 1 {
				continue
			}
			ns.OnServerSide("partly", func(ctx context.Context, e *wsserver.ServerEvent) error { return e.Ack() })
			ns.OnServerSide("fails", func(ctx context.Context, e *wsserver.ServerEvent) error { return errors.New("out of luck") })
			ns.OnServerSide("panics", func(ctx context.Context, e *wsserver.ServerEvent) error { panic("the secret") })
			ns.OnServerSide("silent", func(ctx context.Context, e *wsserver.ServerEvent) error { return nil })
			ns.OnServerSide("both", func(ctx context.Context, e *wsserver.ServerEvent) error {
				return errors.Join(e.Ack(1), errors.New("after it"))
			})
			ns.OnServerSide("not JSON", func(ctx context.Context, e *wsserver.ServerEvent) error { return e.Ack(make(chan int)) })
		}
		one, two := srvs[1].Node(), srvs[2].Node()
		both := []string{one, two}
		slices.Sort(both)
		for _, test := range []struct {
			event   string
			arg     any
			want    string
			missing []string
			text    string // in the error
		}{
			{"double", 21, "1 [42] 2 [42]", nil, ""},
			{"many", nil, "1 [1 [1]] 2 [2 [2]]", nil, ""},
			{"partly", nil, "2 []", []string{one}, cluster.ErrUnknown.Error()},
			{"double", "no number", "", both, packet.ErrArgument.Error()},
			{"fails", nil, "", both, "out of luck"},
			{"panics", nil, "", both, "panicked"},
			{"silent", nil, "", both, "not answered"},
			{"both", nil, "2 [1]", []string{one}, cluster.ErrUnknown.Error()},
			{"not JSON", nil, "", both, "acknowledge"},
			{"nobody handles it", nil, "", both, cluster.ErrUnknown.Error()},
		} {
			start := time.Now()
			responses, err := srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), test.event, test.arg)
			kit.Want(t, texts(t, srvs, responses), test.want, test.event)
			var missing []string
			var partial *cluster.PartialError
			if errors.As(err, &partial) {
				missing = partial.Nodes
			}
			if (err != nil) != (test.missing != nil) || !slices.Equal(missing, test.missing) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: got error %v, want %q, and nodes %q missing", test.event, err, test.text, test.missing)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the other node is told %q", test.event, err)
			}
			if test.text == cluster.ErrUnknown.Error() && !errors.Is(err, cluster.ErrUnknown) {
				t.Errorf("%s: got error %v, want ErrUnknown", test.event, err)
			}
			if got := time.Since(start); got > 100*time.Millisecond {
				t.Errorf("%s: took %v", test.event, got)
			}
		}
		responses, err := srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), "large")
		kit.Require(t, err == nil && len(responses) == 2, "large: got %d answers, %v", len(responses), err)
		for _, r := range responses {
			if text, err := one2(r); err != nil || len(text) != 300_000 {
				t.Errorf("large: got %d bytes, %v", len(text), err)
			}
		}
		for _, want := range []string{"the secret", "after it"} {
			kit.Check(t, strings.Contains(l.String(), want), "the log does not say %q: %s", want, l)
		}
		kit.Want(t, srvs[2].Stats().Failures, 5, "Stats.Failures")
	})
}

func one2(r sockets.ServerResponse) (text string, err error) { return text, r.Decode(&text) }

// TestServerSideAckEnds: with ctx, or without a deadline after 30 s, with the answers so far; and the ctx of the handler that still runs ends.
func TestServerSideAckEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 3, wsserver.Config{})
		ended := make(chan struct{}, 10)
		for i, srv := range srvs {
			srv.Of("/").OnServerSide("q", func(ctx context.Context, e *wsserver.ServerEvent) error {
				if i == 1 {
					<-ctx.Done()
					ended <- struct{}{}
					time.Sleep(time.Second) // or its answer might still come in time
				}
				return e.Ack(i)
			})
		}
		for _, test := range []struct{ timeout, want time.Duration }{{time.Second, time.Second}, {time.Minute, time.Minute}, {0, cluster.CallTimeout}} {
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			start := time.Now()
			responses, err := srvs[0].Of("/").ServerSideEmitWithAck(ctx, "q")
			if got := time.Since(start); got != test.want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v after %v, want DeadlineExceeded after %v", err, got, test.want)
			}
			wantPartial(t, err, 0, srvs[1].Node())
			kit.Want(t, texts(t, srvs, responses), "2 [2]", "(the answer of node 2)")
			<-ended
		}
		// A node that leaves is not waited for.
		time.AfterFunc(time.Second, func() {
			ctx, cancel := context.WithTimeout(context.Background(), kit.Patience)
			defer cancel()
			srvs[1].Close(ctx)
		})
		start := time.Now()
		responses, err := srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), "q")
		if got := time.Since(start); got > 4*time.Second || texts(t, srvs, responses) != "2 [2]" {
			t.Errorf("a node has left: got %q, %v after %v, want the answer of node 2 within 3s of its going", texts(t, srvs, responses), err, got)
		}
		if responses, err := srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), "q"); err != nil || len(responses) != 1 {
			t.Errorf("later: got %d answers, %v, want 1", len(responses), err)
		}
	})
}

// TestServerSideParent: a parent's handlers take the events of the namespaces that it matches, whether they exist here or not.
func TestServerSideParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 2, wsserver.Config{})
		var n notes
		parent := srvs[1].OfFunc(regexp.MustCompile(`^/room-\d+$`).MatchString)
		wsserver.OnServerSideAck(parent, "q", func(ctx context.Context, number int) (int, error) {
			n.add("parent %d", number)
			return number, nil
		})
		srvs[1].Of("/room-1").OnServerSide("q", func(ctx context.Context, e *wsserver.ServerEvent) error {
			n.add("own of %s", e.Namespace())
			return nil
		})
		for i, want := range [][]string{{"parent 0"}, {"parent 1", "own of /room-1"}} {
			responses, err := srvs[0].Of(fmt.Sprint("/room-", i)).ServerSideEmitWithAck(t.Context(), "q", i)
			kit.Check(t, err == nil && texts(t, srvs, responses) == fmt.Sprintf("1 [%d]", i),
				"room %d: got %q, %v", i, texts(t, srvs, responses), err)
			n.want(t, "handlers", want...)
		}
		if _, err := srvs[0].Of("/elsewhere").ServerSideEmitWithAck(t.Context(), "q", 1); !errors.Is(err, cluster.ErrUnknown) {
			t.Errorf("a namespace that is not there: got %v, want ErrUnknown", err)
		}
	})
}

// TestServerSideErrorIsText: what the error of a handler wraps is not taken for that of the node.
func TestServerSideErrorIsText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 2, wsserver.Config{})
		srvs[1].OnServerSide("x", func(context.Context, *wsserver.ServerEvent) error {
			return fmt.Errorf("my own trouble: %w", cluster.ErrUnknown)
		})
		_, err := srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), "x")
		if err == nil || errors.Is(err, cluster.ErrUnknown) || !strings.Contains(err.Error(), "my own trouble") {
			t.Errorf("got %v, want the text of the handler's error", err)
		}
	})
}

// TestCloseWithServerHandler: a handler that does not return holds up Close no longer than its ctx, and Close says so.
func TestCloseWithServerHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 2, wsserver.Config{})
		release := make(chan struct{})
		srvs[1].OnServerSide("x", func(context.Context, *wsserver.ServerEvent) error { <-release; return nil })
		srvs[0].Of("/").ServerSideEmit(t.Context(), "x")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := srvs[1].Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want the deadline after 1s", err, time.Since(start))
		}
		close(release)
	})
}
