package test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestRefusedByBroker checks what a server, an emitter and a service say that lack a permission, and that the server serves its own clients all the same.
func TestRefusedByBroker(t *testing.T) {
	t.Parallel()
	denying := func(name, publish, subscribe string) *natsserver.User {
		return &natsserver.User{Username: name, Password: "p", Permissions: &natsserver.Permissions{
			Publish:   &natsserver.SubjectPermission{Deny: []string{publish}},
			Subscribe: &natsserver.SubjectPermission{Deny: []string{subscribe}},
		}}
	}
	broker := natstest.Start(t, embedded.Config{Options: &natsserver.Options{Users: []*natsserver.User{
		denying("speechless", "belfry.v1.rbelfry.c", "elsewhere"),
		denying("deaf", "elsewhere", "belfry.v1.rbelfry.n.>"),
		denying("roomless", "elsewhere", "belfry.v1.rbelfry.r.>"),
	}}})
	silent := slog.New(slog.DiscardHandler)
	const wait = 30 * time.Second
	for user, permission := range map[string]string{
		"speechless": "publish to belfry.v1.rbelfry.c",
		"deaf":       "subscribe to belfry.v1.rbelfry.n.r",
		"roomless":   "subscribe to belfry.v1.rbelfry.r.r=2F.r=FF",
	} {
		t.Run(user, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			check := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, adapter.ErrRefused) || !strings.Contains(err.Error(), permission) {
					t.Errorf("%s: %v, want a refusal that names the permission to %s", what, err, permission)
				}
			}
			a := natsadapter.New(natsadapter.Config{URL: broker.URL(), Logger: silent, Options: []nats.Option{nats.UserInfo(user, "p")}})

			srv := wsserver.New(wsserver.Config{Adapter: a, Logger: silent})
			joined := make(chan error, 1)
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				err := s.Join(ctx, "lobby")
				joined <- err
				return err
			})
			check("Ready of the server", srv.Ready(ctx))
			client := wstest.Dial(t, srv, wstest.Config{})
			check("Join of a socket", <-joined)
			check("Emit of the server", srv.To("lobby").Emit(ctx, "news"))
			if got := client.Next("news").String(); got != `["news"]` { // the own clients are served, and in their rooms
				t.Errorf("the client got %s", got)
			}
			_, err := srv.All().FetchSockets(ctx)
			check("FetchSockets", err)
			check("SocketsJoin", srv.All().SocketsJoin(ctx, "tower"))
			if status := srv.Stats().Adapter.State.Status; status != adapter.Refused {
				t.Errorf("the state is %v, want %v", status, adapter.Refused)
			}
			if err := srv.Close(ctx); err != nil {
				t.Errorf("Close of the server: %v", err) // nothing waits to be sent
			}

			e := emitter.New(emitter.Config{Adapter: a, Logger: silent})
			defer e.Close(ctx)
			s, err := service.Start(ctx, service.Config{Adapter: a, Logger: silent})
			if err == nil {
				defer s.Close(ctx)
			}
			if user == "roomless" { // they need no rooms
				if err := errors.Join(e.Ready(ctx), e.Emit(ctx, "news"), err); err != nil {
					t.Errorf("an emitter and a service: %v", err)
				}
				return
			}
			check("Ready of the emitter", e.Ready(ctx))
			check("Emit of the emitter", e.Emit(ctx, "news"))
			_, err2 := e.All().Count(ctx)
			check("Count of the emitter", err2)
			check("Start of the service", err)
		})
	}
}
