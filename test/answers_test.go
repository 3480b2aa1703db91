package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/wsserver"
)

// TestClientsAnswer: official clients on two nodes, each on its own NATS server, are fetched, asked, moved and sent away from one of them:
// by polling, by WebSocket and after an upgrade, compressed, with either codec.
func TestClientsAnswer(t *testing.T) {
	node := needNode(t)
	servers := natstest.NewCluster(t, 2)
	for _, parser := range []string{"json", "msgpack"} {
		t.Run(parser, func(t *testing.T) {
			t.Parallel()
			var srvs []*wsserver.Server
			var urls, want []string
			for i, s := range servers {
				cfg := interopConfig(parser)
				cfg.Adapter = natsadapter.New(natsadapter.Config{URL: s.URL(), Cluster: parser})
				cfg.Compression.PerMessageDeflate, cfg.Compression.HTTP = true, true
				srv := newServer(t, cfg)
				srvs = append(srvs, srv)
				urls = append(urls, serve(t, srv))
				for _, transports := range []string{"websocket", "polling", "polling websocket"} {
					want = append(want, fmt.Sprintf("%d %s", i, transports))
				}
			}
			slices.Sort(want)
			ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
			defer cancel()
			cmd, err := script(ctx, node, "answers.mjs", append([]string{parser}, urls...)...)
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "ready" {
				cancel()
				t.Fatalf("answers.mjs printed %q: %v\n%s", lines.Text(), cmd.Wait(), stderr.Bytes())
			}
			for i, srv := range srvs {
				fetchAll(ctx, t, srv, want)
				askAll(ctx, t, srv.Of("/").Except(), want)
				room := fmt.Sprint("room ", i)
				join(t, func() error { return srv.All().SocketsJoin(ctx, room) })
				for _, other := range srvs {
					askAll(ctx, t, other.To(room), want)
					if n, err := other.To(room).Count(ctx); err != nil || n != len(want) {
						t.Errorf("Count: got %d, %v, want %d", n, err, len(want))
					}
				}
			}
			askSome(ctx, t, srvs[0], want)
			for i := range 20 {
				if err := srvs[0].To("room 1").Emit(ctx, "last words", i); err != nil {
					t.Fatal(err)
				}
			}
			if err := srvs[0].To("room 1").DisconnectSockets(ctx, true); err != nil {
				t.Fatal(err)
			}
			var names []string
			for lines.Scan() {
				var gone struct {
					Name   string
					Heard  []int
					Reason string
				}
				if err := json.Unmarshal(lines.Bytes(), &gone); err != nil {
					t.Fatalf("answers.mjs printed %q: %v", lines.Bytes(), err)
				}
				names = append(names, gone.Name)
				if len(gone.Heard) != 20 || gone.Heard[19] != 19 || gone.Reason != "io server disconnect" {
					t.Errorf("%s: disconnected by %q, after %v, want all 20 events", gone.Name, gone.Reason, gone.Heard)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("answers.mjs: %v\n%s", err, stderr.Bytes())
			}
			if slices.Sort(names); !slices.Equal(names, want) {
				t.Errorf("disconnected are %q, want %q", names, want)
			}
		})
	}
}

// fetchAll fetches all sockets, which have these names.
func fetchAll(ctx context.Context, t *testing.T, srv *wsserver.Server, want []string) {
	t.Helper()
	sockets, err := srv.All().FetchSockets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sockets {
		var auth struct{ Name string }
		if err := json.Unmarshal(s.Handshake.Auth, &auth); err != nil {
			t.Error(err)
		}
		names = append(names, auth.Name)
	}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("FetchSockets: got %q, want %q", names, want)
	}
}

// askAll asks clients that all answer, each with its name, the length of a text, and bytes with the number of its node behind.
func askAll(ctx context.Context, t *testing.T, b sockets.Broadcast, want []string) {
	t.Helper()
	text := strings.Repeat("what do you think? ", 500) // worth compressing
	responses, err := b.EmitWithAck(ctx, "question", text, []byte{7, 8})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range responses {
		var name string
		var length int
		var data []byte
		if err := r.Decode(&name, &length, &data); err != nil {
			t.Fatal(err)
		}
		if length != len(text) || !bytes.Equal(data, []byte{7, 8, name[0] - '0'}) {
			t.Errorf("%s has answered %d, %v", name, length, data)
		}
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("EmitWithAck: got answers of %q, want %q", names, want)
	}
}

// askSome asks all clients what those that only poll do not answer.
func askSome(ctx context.Context, t *testing.T, srv *wsserver.Server, want []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	responses, err := srv.All().EmitWithAck(ctx, "who are you")
	var partial *cluster.PartialError
	if !errors.As(err, &partial) || partial.Clients != 2 || len(partial.Nodes) > 0 || len(responses) != len(want)-2 {
		t.Errorf("EmitWithAck: got %d answers, %v, want all but 2", len(responses), err)
	}
}
