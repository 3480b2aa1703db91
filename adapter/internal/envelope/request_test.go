package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// pages pins the content of answers and arguments, as golden does for messages.
var pages = []struct {
	name   string
	hex    string
	encode func() []byte
	decode func([]byte) (any, error)
	want   any
}{
	{"members", "0161 02 0161 03c3bc00 021234" + "0162 00 00",
		func() []byte {
			first := MemberInfo{ID: "a", Rooms: []string{"a", "ü\x00"}, Data: []byte{0x12, 0x34}}
			second := MemberInfo{ID: "b"}
			return second.Append(first.Append(nil))
		},
		func(b []byte) (any, error) { return MemberInfos(b) },
		[]MemberInfo{{ID: "a", Rooms: []string{"a", "ü\x00"}, Data: []byte{0x12, 0x34}}, {ID: "b", Data: []byte{}}}},
	{"replies", "0161 021234" + "0162 00",
		func() []byte {
			first, second := MemberAck{Member: "a", Payload: []byte{0x12, 0x34}}, MemberAck{Member: "b"}
			return second.Append(first.Append(nil))
		},
		func(b []byte) (any, error) { return MemberAcks(b) },
		[]MemberAck{{Member: "a", Payload: []byte{0x12, 0x34}}, {Member: "b", Payload: []byte{}}}},
	{"strings", "0161 00 026263",
		func() []byte { return AppendString(AppendString(AppendString(nil, "a"), ""), "bc") },
		func(b []byte) (any, error) { return Strings(b) },
		[]string{"a", "", "bc"}},
	{"nothing", "",
		func() []byte { return nil },
		func(b []byte) (any, error) { return Strings(b) },
		[]string(nil)},
	{"a number", "ac02",
		func() []byte { return AppendNumber(nil, 300) },
		func(b []byte) (any, error) { return Number(b) },
		uint64(300)},
	{"a page", "ac02 01 00 00",
		func() []byte { return (&AnswerHeader{Page: 300, More: true}).Append(nil) },
		func(b []byte) (any, error) { return DecodeAnswerHeader(b) },
		AnswerHeader{Page: 300, More: true}},
	{"a failure", "00 00 03 026e6f",
		func() []byte { return (&AnswerHeader{Status: Failed, Text: "no"}).Append(nil) },
		func(b []byte) (any, error) { return DecodeAnswerHeader(b) },
		AnswerHeader{Status: Failed, Text: "no"}},
}

func TestPages(t *testing.T) {
	for _, p := range pages {
		want, err := hex.DecodeString(strings.ReplaceAll(p.hex, " ", ""))
		kit.OK(t, err)
		if got := p.encode(); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded %x, want %x", p.name, got, want)
		}
		if got, err := p.decode(want); err != nil || !reflect.DeepEqual(got, p.want) {
			t.Errorf("%s: decoded %+v, %v; want %+v", p.name, got, err, p.want)
		}
		if len(want) > 0 {
			if got, err := p.decode(want[:len(want)-1]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: decoded %+v, %v without its last byte; want ErrMalformed", p.name, got, err)
			}
		}
		if got, err := p.decode([]byte(strings.Repeat("\xff", 9))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: decoded a number without an end as %+v, %v; want ErrMalformed", p.name, got, err)
		}
	}
}

// FuzzPages reads any bytes as each of the contents: what is understood can be said again, and is understood alike.
func FuzzPages(f *testing.F) {
	for _, p := range pages {
		f.Add(p.encode())
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		check := func(again []byte, first any, decode func([]byte) (any, error)) {
			t.Helper()
			if second, err := decode(again); err != nil || !reflect.DeepEqual(first, second) {
				t.Fatalf("%x\nbecame %x:\n%+v\n%+v, %v", page, again, first, second, err)
			}
		}
		if members, err := MemberInfos(page); err == nil {
			var again []byte
			for _, m := range members {
				again = m.Append(again)
			}
			check(again, members, func(b []byte) (any, error) { return MemberInfos(b) })
		}
		if replies, err := MemberAcks(page); err == nil {
			var again []byte
			for _, r := range replies {
				again = r.Append(again)
			}
			check(again, replies, func(b []byte) (any, error) { return MemberAcks(b) })
		}
		if list, err := Strings(page); err == nil {
			var again []byte
			for _, s := range list {
				again = AppendString(again, s)
			}
			check(again, list, func(b []byte) (any, error) { return Strings(b) })
		}
		if a, err := DecodeAnswerHeader(page); err == nil {
			check(a.Append(nil), a, func(b []byte) (any, error) { return DecodeAnswerHeader(b) })
		}
		if n, err := Number(page); err == nil {
			check(AppendNumber(nil, n), n, func(b []byte) (any, error) { return Number(b) })
		}
	})
}
