package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A list that is fetched while somebody who is back takes a seat, and before it is connected, has not
// got it. It is fetched again.
func TestListedWhenBack(t *testing.T) {
	io := wsserver.New(wsserver.Config{Recovery: &wsserver.Recovery{Data: user{}}})
	defer io.Close(context.Background())
	c := newChat(io, nil, nil, slog.Default())
	bob := wstest.Dial(t, io, wstest.Config{})
	bob.EmitWithAck("hello", map[string]string{"name": "Bob"})
	bob.EmitWithAck("join", "lobby")
	parted := make(chan struct{})
	stop := io.Of("/").OnDisconnect(func(context.Context, *wsserver.Socket, error) { close(parted) })
	bob.Abort()
	<-parted
	stop()
	fetched := false
	io.Of("/").OnJoinRoom(func(_ *wsserver.Socket, room string) { fetched = c.people.take(nil)[room] || fetched })
	connected := make(chan struct{})
	io.Of("/").OnConnect(func(context.Context, *wsserver.Socket) error {
		close(connected)
		return nil
	})
	bob.Return(io)
	if !bob.Recovered() {
		t.Fatal("Bob is not recovered")
	}
	<-connected
	if !c.people.take(nil)[roomPrefix+"lobby"] {
		t.Errorf("the list is not fetched again since Bob is connected; before that it was: %v", fetched)
	}
}
