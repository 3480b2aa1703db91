package msgpack

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// An event with one more argument is what Encode writes for it, for all forms in which MessagePack
// writes the length of an array.
func TestWithLast(t *testing.T) {
	for _, namespace := range []string{"", "/admin", "/" + strings.Repeat("n", 300)} {
		for _, n := range []int{1, 2, 14, 15, 16, 65_534, 65_535, 65_536} {
			for _, last := range []string{"", "QFtz3a1k", strings.Repeat("é", 200), strings.Repeat("😀\"", 20_000)} {
				values := make([]any, n)
				for i := range values {
					values[i] = i
				}
				values[0] = []any{"x", []byte("bytes")}
				limits := packet.Limits{Arguments: 1 << 20}
				encode := func(values ...any) packet.Encoded {
					args := kit.Must(limits.Marshal(append([]any{"ask"}, values...)...))(t)
					return kit.Must(Codec{}.Encode(&packet.Packet{Type: packet.Event, Namespace: namespace, Args: args}))(t)
				}
				e := encode(values[:n-1]...)
				kept := bytes.Clone(e.Attachments[0])
				got, err := Codec{}.WithLast(nil, e, []byte(last))
				if want := encode(append(values[:n-1], last)...); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%d arguments and %d bytes: error %v, or not what Encode writes", n, len(last), err)
				}
				kit.Require(t, bytes.Equal(e.Attachments[0], kept), "the encoded packet has been modified")
			}
		}
	}
}

func TestWithLastRefuses(t *testing.T) {
	for msg, want := range map[string]error{
		"\x84" + event + "\x91\xa1x\xa2id\x01":       packet.ErrPayload,
		"\x84" + ack + "\x91\xa1x\xa2id\x01":         packet.ErrType,
		"\x83" + event + "\x90":                      packet.ErrPayload,
		"\x83" + event + "\x80":                      packet.ErrPayload,
		"\x83" + event + "\xdd\xff\xff\xff\xff\xa1x": packet.ErrPayload,
		"\x83" + event + "\xdc\x00":                  ErrMessage,
		"\x83\xa4type\x02\xa3nsp\xa5/":               ErrMessage,
		"":                                           ErrMessage,
	} {
		e := packet.Encoded{Attachments: [][]byte{[]byte(msg)}}
		if got, err := (Codec{}).WithLast(nil, e, []byte("s")); !errors.Is(err, want) {
			t.Errorf("%q: got %x, %v, want %v", msg, got.Attachments, err, want)
		}
		kit.Check(t, !Codec{}.EndsInString(e), "%q ends in a string", msg)
	}
	fine := packet.Encoded{Attachments: [][]byte{[]byte("\x83" + event + "\x91\xa1x")}}
	if _, err := (Codec{}).WithLast(nil, fine, []byte("\xff")); !errors.Is(err, packet.ErrUTF8) {
		t.Errorf("invalid UTF-8: got error %v", err)
	}
	if _, err := (Codec{}).WithLast(nil, packet.Encoded{Text: []byte(`2["x"]`)}, []byte("s")); !errors.Is(err, ErrText) {
		t.Errorf("a text: got error %v", err)
	}
}

func TestEndsInString(t *testing.T) {
	for _, tt := range []struct {
		args []any
		want bool
	}{
		{nil, true}, {[]any{1}, false}, {[]any{"s"}, true}, {[]any{""}, true}, {[]any{strings.Repeat("s", 70_000)}, true},
		{[]any{"s", nil}, false}, {[]any{[]any{"s"}}, false}, {[]any{map[string]any{"a": "s"}}, false},
		{[]any{[]byte("bytes")}, false}, {[]any{[]byte("bytes"), []any{[]any{1.5, "s"}, true}, "s"}, true},
	} {
		for _, c := range codecs {
			t.Run(fmt.Sprintf("%s of %T", c.name, tt.args), func(t *testing.T) {
				args := kit.Must(packet.MarshalEvent("x", tt.args...))(t)
				p := &packet.Packet{Type: packet.Event, Namespace: "/a", Args: args}
				e := kit.Must(c.codec.Encode(p))(t)
				kit.Equal(t, c.codec.EndsInString(e), tt.want, string(args.JSON()))
				with := kit.Must(c.codec.WithLast(nil, e, []byte("s")))(t)
				kit.Check(t, c.codec.EndsInString(with), "%s does not end in a string", args.JSON())
				p.HasID = true
				e = kit.Must(c.codec.Encode(p))(t)
				kit.Check(t, !c.codec.EndsInString(e), "%s with an id ends in a string", args.JSON())
			})
		}
	}
}

// FuzzLast holds WithLast to: the packet has one more argument; and EndsInString to what the last
// argument is.
func FuzzLast(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.message(f), "QFtz3a1k")
	}
	f.Add([]byte("\x83"+event+"\x93\xa1x\x92\xc4\x01a\x91\x90\x80"), "\"\\\x00\u2028")
	f.Fuzz(func(t *testing.T, msg []byte, last string) {
		raw := packet.Encoded{Attachments: [][]byte{msg}}
		_, _ = Codec{}.WithLast(nil, raw, []byte(last)) // neither panics
		_ = Codec{}.EndsInString(raw)
		p, err := Codec{}.NewDecoder(nil).Binary(msg)
		if err != nil {
			return
		}
		e := kit.Must(Codec{}.Encode(p))(t)
		got, err := Codec{}.WithLast(nil, e, []byte(last))
		if p.Type != packet.Event || p.HasID || !utf8.ValidString(last) {
			kit.Check(t, err != nil, "%s takes %q", show(p), last)
			return
		}
		kit.OK(t, err, show(p))
		kit.Check(t, Codec{}.EndsInString(got), "%x does not end in a string", got.Attachments)
		values := kit.Must(p.Args.Values())(t)
		_, isString := values[len(values)-1].(string)
		kit.Equal(t, Codec{}.EndsInString(e), isString, show(p))
		again := kit.Must(Codec{}.NewDecoder(&packet.Limits{Arguments: 1001}).Binary(got.Attachments[0]))(t)
		if all := kit.Must(again.Args.Values())(t); !reflect.DeepEqual(all, append(values, last)) {
			t.Errorf("%s and %q: got %#v", show(p), last, all)
		}
		p.Args, again.Args = packet.Args{}, packet.Args{}
		if !reflect.DeepEqual(again, p) {
			t.Errorf("got another packet: %s", show(again))
		}
	})
}

// WithLast copies the message once, however long it is.
func TestWithLastCopiesOnce(t *testing.T) {
	args := kit.Must(packet.MarshalEvent("x", strings.Repeat("a", 1<<20), make([]byte, 1<<20), "s"))(t)
	e := kit.Must(Codec{}.Encode(&packet.Packet{Type: packet.Event, Namespace: "/", Args: args}))(t)
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := (Codec{}).WithLast(nil, e, []byte("QFtz3a1k")); err != nil || !(Codec{}).EndsInString(e) {
			t.Fatal("the event is refused:", err)
		}
	})
	kit.Equal(t, allocs, 2.0, "allocations: the copy, and the list of one attachment")
}
