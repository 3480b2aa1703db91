package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestUnfencedIsNoFailure: what a Join leaves open is reported, but the client gets its answer, and stays.
func TestUnfencedIsNoFailure(t *testing.T) {
	unfenced := fmt.Errorf("join: %w", &cluster.UnfencedError{Nodes: []string{"hung"}})
	failed := errors.New("failed")
	reported := make(chan error, 10)
	srv := newServer(t, wsserver.Config{OnError: func(_ *wsserver.Socket, _ string, err error) { reported <- err }})
	srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "join", func(context.Context, *wsserver.Socket, string) (string, error) { return "joined", unfenced })
		wsserver.OnAck(s, "both", func(context.Context, *wsserver.Socket, string) (string, error) {
			return "half", errors.Join(unfenced, failed)
		})
		wsserver.OnAck(s, "plain", func(context.Context, *wsserver.Socket, string) (string, error) { return "plain", nil })
		return unfenced
	})
	c := wstest.Dial(t, srv, wstest.Config{})
	var got string
	if err := c.EmitWithAck("join", "lobby").Decode(&got); err != nil || got != "joined" {
		t.Errorf("the answer is %q, %v", got, err)
	}
	for _, what := range []string{"OnConnect", "OnAck"} {
		kit.WantErr(t, <-reported, unfenced, what, "reported")
	}
	wsrig.Under(c).Send(`420["both","x"]`) // nobody waits for its answer, which does not come
	kit.WantErr(t, <-reported, failed, "reported")
	if err := c.EmitWithAck("plain", "x").Decode(&got); err != nil || got != "plain" {
		t.Errorf("the answer is %q, %v", got, err)
	}
}

// TestData: a middleware leaves the handlers what it has found out.
func TestData(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	srv.Use(func(_ context.Context, s *wsserver.Socket) error {
		if got := s.Data(); got != nil {
			t.Errorf("before SetData: got %v", got)
		}
		s.SetData("Ann")
		return nil
	})
	srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "who", func(context.Context, *wsserver.Socket, string) (any, error) { return s.Data(), nil })
		return nil
	})
	var got string
	if err := wstest.Dial(t, srv, wstest.Config{}).EmitWithAck("who", "am I").Decode(&got); err != nil || got != "Ann" {
		t.Errorf("Data: got %q, %v, want Ann", got, err)
	}
}

// TestPartialJoinIsFailure: what SocketsJoin could not do on some node is a failure of the handler, other than what a Join leaves open.
func TestPartialJoinIsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		unfenced := &cluster.UnfencedError{Nodes: []string{"hung"}}
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			wsserver.OnAck(s, "move all", func(ctx context.Context, _ *wsserver.Socket, partly bool) (string, error) {
				if partly {
					return "moved", fmt.Errorf("join: %w", &cluster.PartialError{Nodes: []string{"dead"}, Err: unfenced})
				}
				return "moved", fmt.Errorf("join: %w", unfenced)
			})
			return nil
		})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40")
		c.Read()
		c.Read()
		c.Send(`421["move all",true]`)
		synctest.Wait()
		kit.Require(t, len(failures) == 1, "%d failures were reported, want 1", len(failures))
		c.Send(`422["move all",false]`)
		kit.Want(t, c.Read(), `432["moved"]`, "(the answer to the second alone)")
	})
}
