package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// A centrifugeClient is a connection in centrifuge's protocol: JSON, any number of lines a message of
// WebSocket, each a reply to the command of that id, or a push.
type centrifugeClient struct {
	t    *testing.T
	conn net.Conn
	id   uint32
	got  []string // data of publications, with the channel
}

type centrifugeReply struct {
	ID    uint32
	Error json.RawMessage
	RPC   struct{ Data json.RawMessage }
	Push  *struct {
		Channel string
		Pub     struct{ Data json.RawMessage }
	}
}

func dialCentrifuge(t *testing.T, address string) *centrifugeClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, early, _, err := ws.Dial(ctx, "ws://"+address+"/connection/websocket")
	if err != nil {
		t.Fatal(err)
	}
	if early != nil {
		t.Fatal("the server speaks first")
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // only a failure reaches it
		t.Fatal(err)
	}
	c := &centrifugeClient{t: t, conn: conn}
	c.call("connect", `{}`)
	return c
}

// call sends a command, and returns the reply to it.
func (c *centrifugeClient) call(command, args string) centrifugeReply {
	c.t.Helper()
	c.id++
	text := fmt.Sprintf(`{"id":%d,%q:%s}`, c.id, command, args)
	if err := wsutil.WriteClientText(c.conn, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
	var answer *centrifugeReply
	for answer == nil {
		for _, r := range c.read() {
			if r.ID == c.id {
				answer = &r
			}
		}
	}
	if answer.Error != nil {
		c.t.Fatalf("%s: got the error %s", text, answer.Error)
	}
	return *answer
}

// read reads one message, and keeps the publications in it.
func (c *centrifugeClient) read() (replies []centrifugeReply) {
	c.t.Helper()
	data, err := wsutil.ReadServerText(c.conn)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if bytes.Equal(bytes.TrimSpace(line), []byte("{}")) { // a ping
			if err := wsutil.WriteClientText(c.conn, line); err != nil {
				c.t.Fatal(err)
			}
			continue
		}
		var r centrifugeReply
		if err := json.Unmarshal(line, &r); err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		if r.Push != nil {
			c.got = append(c.got, r.Push.Channel+": "+string(r.Push.Pub.Data))
		}
		replies = append(replies, r)
	}
	return replies
}

// checkCentrifuge checks the application of centrifuge's servers on all nodes of a cluster: two clients a
// node in a channel, one of each in another; everybody publishes to both.
func checkCentrifuge(t *testing.T, p peerProgram, nodes ...string) {
	t.Helper()
	var all []*centrifugeClient
	for _, address := range nodes {
		for n := range 2 {
			c := dialCentrifuge(t, address)
			c.call("subscribe", `{"channel":"all"}`)
			if n == 0 {
				c.call("subscribe", `{"channel":"some"}`)
			}
			all = append(all, c)
		}
	}
	large, err := json.Marshal(bytes.Repeat([]byte("x"), 300_000))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{`"text"`, `{"of":["object",null]}`, string(large)} {
		got := all[0].call("rpc", `{"method":"echo","data":`+data+`}`).RPC.Data
		if string(got) != data {
			t.Errorf("echo: sent %.100s, got %.100s", data, got)
		}
	}
	var everybody, some []string
	for i, c := range all {
		for _, channel := range []string{"some", "all"} {
			data := fmt.Sprintf(`"%s from %d"`, channel, i)
			c.call("publish", fmt.Sprintf(`{"channel":%q,"data":%s}`, channel, data))
			some = append(some, channel+": "+data)
			if channel == "all" {
				everybody = append(everybody, channel+": "+data)
			}
		}
	}
	for i, c := range all {
		want := everybody
		if i%2 == 0 {
			want = some
		}
		for len(c.got) < len(want) {
			c.read()
		}
		slices.Sort(c.got)
		if want = slices.Sorted(slices.Values(want)); !slices.Equal(c.got, want) {
			t.Errorf("%s, client %d: got %q, want %q", p.Name, i, c.got, want)
		}
	}
}
