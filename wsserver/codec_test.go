package wsserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// binaryCodec writes every packet as one binary message: the default codec's messages as a blob. It knows no text.
type binaryCodec struct{ packet.JSON }

func (c binaryCodec) Encode(p *packet.Packet) (packet.Encoded, error) {
	e, err := c.JSON.Encode(p)
	if err != nil {
		return packet.Encoded{}, err
	}
	return packet.Encoded{Attachments: [][]byte{e.AppendBlob([]byte("B"))}}, nil
}

func (c binaryCodec) NewDecoder(l *packet.Limits) packet.Decoder {
	return &binaryDecoder{c.JSON.NewDecoder(l)}
}

type binaryDecoder struct{ json packet.Decoder }

var errText = errors.New("binaryCodec: a text")

func (d *binaryDecoder) Text([]byte) (*packet.Packet, error) { return nil, errText }

func (d *binaryDecoder) Binary(msg []byte) (*packet.Packet, error) {
	blob, ok := strings.CutPrefix(string(msg), "B")
	if !ok {
		return nil, packet.ErrType
	}
	e, err := packet.ParseBlob([]byte(blob), nil)
	if err != nil {
		return nil, err
	}
	p, err := d.json.Text(e.Text)
	for _, a := range e.Attachments {
		if err == nil {
			p, err = d.json.Binary(a)
		}
	}
	return p, err
}

// TestCodec: all that a server sends and receives goes through Config.Codec, on one node and on several (Socket.IO 5, "Packet encoding").
func TestCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var srvs [2]*wsserver.Server
		for i := range srvs {
			srvs[i] = newServer(t, wsserver.Config{Adapter: memory, Codec: binaryCodec{}})
			kit.OK(t, srvs[i].Ready(t.Context()))
		}
		admin := srvs[0].Of("/admin")
		admin.Use(func(context.Context, *wsserver.Socket) error { return errors.New("no") })
		var seen []string
		srvs[0].Of("/").OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) {
			var b []byte
			if err := e.Decode(&b); err != nil {
				t.Error(err)
			}
			seen = append(seen, e.Name()+string(b))
		})
		gone := farewells(srvs[0].Of("/"))
		c := wstest.Dial(t, srvs[0], wstest.Config{Codec: binaryCodec{}, Auth: map[string]int{"a": 1}})
		if got := string(c.EmitWithAck("echo", 1, []byte("two")).JSON()); got != `[1,{"_placeholder":true,"num":0}]` {
			t.Errorf("echo: got %s", got)
		}
		s := socketOf(t, srvs[0], c)
		kit.Want(t, string(s.Handshake().Auth), `{"a":1}`, "auth")
		s.Emit(t.Context(), "x", []byte("1"))
		srvs[0].Emit(t.Context(), "y", []byte("2"))
		srvs[1].Emit(t.Context(), "z", []byte("3"))
		wantEvents(t, "the client", c, `["x",{"_placeholder":true,"num":0}]`, `["y",{"_placeholder":true,"num":0}]`, `["z",{"_placeholder":true,"num":0}]`)
		kit.Want(t, strings.Join(seen, " "), "x1 y2 z3", "OnAnyOutgoing")
		s.Disconnect()
		<-c.Disconnected()
		next(t, gone)

		raw := wsrig.Dial(t, srvs[0], wsrig.Config{})
		raw.Read() // the open packet is Engine.IO's: always text
		for _, test := range []struct{ send, want string }{
			{"0", `0{"sid":`},
			{"0/admin,", `4/admin,{"message":"no"}`},
			{"0/unknown,", `4/unknown,{"message":"Invalid namespace"}`},
		} {
			raw.SendBinary(packet.Encoded{Text: []byte(test.send)}.AppendBlob([]byte("B")))
			got := raw.Read()
			blob, ok := strings.CutPrefix(got, "bB")
			e, err := packet.ParseBlob([]byte(blob), nil)
			kit.Check(t, ok && err == nil && strings.HasPrefix(string(e.Text), test.want),
				"%s: got %q, %v, want one binary message of %s", test.send, got, err, test.want)
		}
		raw.Send(`42["x"]`) // a text is the codec's error
		if f := next(t, gone); !errors.Is(f.reason, wsserver.ErrParse) || !errors.Is(f.reason, errText) {
			t.Errorf("a text: got %v, want the codec's error", f.reason)
		}
	})
}

// TestMessagePack: the codec of socket.io-msgpack-parser does for a server what the default one does.
func TestMessagePack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Codec: msgpack.Codec{}})
		var seen []string
		srv.Of("/").OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) {
			var arg struct{ Data []byte }
			if err := e.Decode(&arg); err != nil {
				t.Error(err)
			}
			seen = append(seen, e.Name()+string(arg.Data))
		})
		c := wstest.Dial(t, srv, wstest.Config{Codec: msgpack.Codec{}})
		var b []byte
		if err := c.EmitWithAck("echo", []byte("binary"), "text").Decode(&b); err != nil || string(b) != "binary" {
			t.Errorf("echo: got %q, %v", b, err)
		}
		s := socketOf(t, srv, c)
		for _, emit := range []func(context.Context, string, ...any) error{s.Emit, srv.Emit} {
			kit.OK(t, emit(t.Context(), "x", map[string]any{"data": []byte{'1'}}))
			var arg struct{ Data []byte }
			if err := c.Next("x").Decode(&arg); err != nil || string(arg.Data) != "1" {
				t.Errorf("got %q, %v", arg.Data, err)
			}
		}
		kit.Want(t, strings.Join(seen, " "), "x1 x1", "OnAnyOutgoing")
		if _, refusal := c.Try("/unknown", nil); string(refusal) != `{"message":"Invalid namespace"}` {
			t.Errorf("refused: got %s", refusal)
		}
	})
}

// TestForeignCodec: a broadcast of a node with another codec cannot be understood. OnAnyOutgoing is not told, and the log is, once.
func TestForeignCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var log kit.Log
		srv := newServer(t, wsserver.Config{Adapter: memory, Logger: log.Logger()})
		foreign := newServer(t, wsserver.Config{Adapter: memory, Codec: binaryCodec{}, Logger: kit.Silent})
		for _, s := range []*wsserver.Server{srv, foreign} {
			kit.OK(t, s.Ready(t.Context()))
		}
		srv.Of("/").OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) { t.Errorf("told of %s", e.Name()) })
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Read()
		c.Send("40")
		c.Read()
		for range 10 {
			foreign.Emit(t.Context(), "x")
			c.Read()
		}
		kit.Want(t, strings.Count(log.String(), "same codec"), 1, "times logged")
	})
}
