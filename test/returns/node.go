package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/wsserver"
)

// A nodeConfig is the argument of a node's process.
type nodeConfig struct {
	Plan     plan
	Origin   int
	Of       int // how many broadcast at the same time
	NATS     string
	Recovery bool
}

// A nodeReady is the line that a node prints.
type nodeReady struct {
	ID      string
	Address string // for clients
	Admin   string // for the run
}

// beNode is a server of the cluster. It obeys HTTP requests, and ends with its input.
func beNode(args []string) error {
	n := &singer{}
	if err := json.Unmarshal([]byte(args[0]), &n.cfg); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg := wsserver.Config{
		Adapter: natsadapter.New(natsadapter.Config{URL: n.cfg.NATS, Cluster: "returns", Logger: log}),
		Logger:  log,
		Cluster: wsserver.ClusterConfig{OnLoss: func(cluster.Loss) {}},
		OnError: func(*wsserver.Socket, string, error) { n.errors.Add(1) },
	}
	if n.cfg.Recovery {
		recoverable(&cfg)
	}
	n.srv = wsserver.New(cfg)
	n.srv.OnConnect(n.connect)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.srv.Ready(ctx); err != nil {
		return err
	}
	ready := nodeReady{ID: n.srv.Node()}
	for address, handler := range map[*string]http.Handler{&ready.Address: n.srv, &ready.Admin: n.admin()} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*address = l.Addr().String()
		go (&http.Server{Handler: handler}).Serve(l) // until the process ends
	}
	text, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", text)
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// A singer is a node that broadcasts.
type singer struct {
	cfg    nodeConfig
	srv    *wsserver.Server
	errors atomic.Int64 // of handlers
	halves atomic.Int64 // recovered sockets that are not as they were

	stop    chan struct{}
	singing sync.WaitGroup

	mu   sync.Mutex // guards sung
	sung [][3]int64 // when each broadcast was emitted and done, and 1 if Emit failed
}

// A visitor is the data of a socket.
type visitor struct{ Name string }

// connect is OnConnect. A client that was recovered is in its rooms, and has its data.
func (n *singer) connect(_ context.Context, s *wsserver.Socket) error {
	var auth struct{ Name string }
	if err := s.DecodeAuth(&auth); err != nil {
		return err
	}
	if s.Recovered() {
		if v, ok := wsserver.DataOf[visitor](s); !ok || v.Name != auth.Name {
			n.halves.Add(1)
		}
	}
	s.SetData(visitor{auth.Name})
	wsserver.OnAck2(s, "join", func(ctx context.Context, _ *wsserver.Socket, room, attempt string) (string, error) {
		err := s.Join(ctx, room)
		if _, unfenced := errors.AsType[*cluster.UnfencedError](err); unfenced {
			return "unfenced", n.answer(ctx, s, attempt)
		} else if err != nil {
			return "", err
		}
		return "done", n.answer(ctx, s, attempt)
	})
	wsserver.OnAck(s, "say", func(ctx context.Context, _ *wsserver.Socket, attempt string) (string, error) {
		return "done", n.answer(ctx, s, attempt)
	})
	wsserver.OnAck2(s, "leave", func(ctx context.Context, _ *wsserver.Socket, room, attempt string) (string, error) {
		s.Leave(room)
		return "done", n.answer(ctx, s, attempt)
	})
	return nil
}

// answer emits an event of the session's own.
func (n *singer) answer(ctx context.Context, s *wsserver.Socket, attempt string) error {
	number, err := strconv.Atoi(attempt)
	if err != nil {
		return err
	}
	return s.Emit(ctx, "p", own, number, int64(n.cfg.Plan.now()))
}

// sing broadcasts until hush.
func (n *singer) sing() {
	every := time.Second * time.Duration(n.cfg.Of) / time.Duration(n.cfg.Plan.Rate)
	next := time.Now()
	for number := 0; ; number++ {
		select {
		case <-n.stop:
			return
		case <-time.After(time.Until(next)):
		}
		if next = next.Add(every); time.Since(next) > time.Second { // never mind what could not be done
			next = time.Now()
		}
		s := n.cfg.Plan.selected(n.cfg.Origin, number)
		to := n.srv.Except(names(s.except)...)
		if len(s.rooms) > 0 {
			to = to.To(names(s.rooms)...)
		}
		emitted := int64(n.cfg.Plan.now())
		args := []any{n.cfg.Origin, number, emitted}
		if s.volatile {
			to, args = to.Volatile(), append(args, "a string that is no offset")
		}
		var failed int64
		if err := to.Emit(context.Background(), "b", args...); err != nil {
			failed = 1
		}
		done := int64(n.cfg.Plan.now())
		n.mu.Lock()
		n.sung = append(n.sung, [3]int64{emitted, done, failed})
		n.mu.Unlock()
	}
}

func (n *singer) hush() {
	if n.stop != nil {
		close(n.stop)
		n.singing.Wait()
		n.stop = nil
	}
}

// A whisper is an event for one session.
type whisper struct {
	ID     string
	Number uint32
	Ask    bool // it wants an acknowledgement, so that it is none to be recovered
}

// whisper emits it.
func (n *singer) whisper(ctx context.Context, w whisper) error {
	to := n.srv.To(w.ID)
	if w.Ask {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		to.EmitWithAck(ctx, "ask", "a string that is no offset") // the client may be away
		return nil
	}
	return to.Emit(ctx, "p", n.cfg.Origin, w.Number, int64(n.cfg.Plan.now()))
}

// change changes the rooms of a session, wherever it is. It returns the ids of nodes that have not answered.
func change(ctx context.Context, to sockets.Broadcast, room string, joins bool) (silent []string, err error) {
	if joins {
		err = to.SocketsJoin(ctx, room)
	} else {
		err = to.SocketsLeave(ctx, room)
	}
	if partial, ok := errors.AsType[*cluster.PartialError](err); ok && len(partial.Nodes) > 0 {
		return partial.Nodes, nil
	}
	return nil, err
}
