package transport

import (
	"bytes"
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendFrame(t *testing.T) {
	k256, k64 := bytes.Repeat([]byte("x"), 256), bytes.Repeat([]byte("y"), 1<<16)
	tests := []struct {
		rule string
		got  []byte
		want []byte
	}{
		{"5.7 text", AppendFrame(nil, OpText, []byte("Hello")), []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}},
		{"5.7 masked text", AppendMaskedFrame(nil, OpText, testKey, []byte("Hello")), []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}},
		{"5.7 ping", AppendFrame(nil, OpPing, []byte("Hello")), []byte{0x89, 0x05, 'H', 'e', 'l', 'l', 'o'}},
		{"5.7 256 bytes", AppendFrame(nil, OpBinary, k256), slices.Concat([]byte{0x82, 0x7e, 0x01, 0x00}, k256)},
		{"5.7 64 KiB", AppendFrame(nil, OpBinary, k64), slices.Concat([]byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, k64)},
		{"5.2 125 bytes", AppendFrame(nil, OpText, k256[:125]), slices.Concat([]byte{0x81, 125}, k256[:125])},
		{"5.2 126 bytes", AppendFrame(nil, OpText, k256[:126]), slices.Concat([]byte{0x81, 126, 0, 126}, k256[:126])},
		{"5.2 65535 bytes", AppendFrame(nil, OpText, k64[:65535]), slices.Concat([]byte{0x81, 126, 255, 255}, k64[:65535])},
		{"5.2 nothing", AppendFrame(nil, OpBinary, nil), []byte{0x82, 0}},
		{"5.2 behind what is there", AppendFrame([]byte("abc"), OpText, []byte("d")), []byte("abc\x81\x01d")},
		{"5.2 header alone", append(AppendHeader(nil, OpText, 2), "4a"...), []byte("\x81\x024a")},
		{"5.5.1 close", AppendClose(nil, CloseNormal, "bye"), []byte("\x88\x05\x03\xe8bye")},
		{"5.5.1 close without a reason", AppendClose(nil, CloseGoingAway, ""), []byte("\x88\x02\x03\xe9")},
		{"7.4.1 close without a code", AppendClose(nil, CloseNoStatus, "bye"), []byte("\x88\x00")},
		{"7.4.2 close code not in use", AppendClose(nil, 0, "bye"), []byte("\x88\x00")},
		{"5.5.1 close reason not UTF-8", AppendClose(nil, CloseNormal, "\xff"), []byte("\x88\x02\x03\xe8")},
	}
	for _, test := range tests {
		kit.Check(t, bytes.Equal(test.got, test.want),
			"%s: got %.40x, want %.40x", test.rule, test.got, test.want)
	}
}

func TestAppendCloseReason(t *testing.T) {
	for n := range 140 {
		for _, char := range []string{"a", "é", "€", "😀"} {
			reason := strings.Repeat("a", n%len(char)) + strings.Repeat(char, n)
			b := AppendClose(nil, CloseNormal, reason)
			_, got := ParseClose(b[2:])
			if len(b) > 2+maxControl || int(b[1]) != len(b)-2 || !utf8.Valid(got) || !strings.HasPrefix(reason, string(got)) {
				t.Errorf("reason %q: got %q", reason, b)
			}
			if missing := len(reason) - len(got); missing > 0 && len(got)+len(char) <= maxControl-2 {
				t.Errorf("reason %q: got %q, which is shorter than it need be", reason, got)
			}
			if _, err := feed(&ReaderConfig{Client: true}, b); err != nil {
				t.Errorf("reason %q: got %v from a Reader", reason, err)
			}
		}
	}
}

func TestFrameSize(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 1000, 65535, 65536, 1_000_000} {
		if got := len(AppendFrame(nil, OpBinary, make([]byte, n))); got != FrameSize(n) {
			t.Errorf("payload of %d: got a frame of %d, FrameSize says %d", n, got, FrameSize(n))
		}
	}
}

func TestAppendFrameAllocations(t *testing.T) {
	for _, n := range []int{0, 5, 125, 126, 4000, 65536} {
		payload := make([]byte, n)
		if got := testing.AllocsPerRun(50, func() { AppendFrame(nil, OpText, payload) }); got > 1 {
			t.Errorf("payload of %d: got %v allocations, want 1", n, got)
		}
		room := make([]byte, 0, FrameSize(n))
		kit.Want(t, testing.AllocsPerRun(50, func() { AppendFrame(room, OpText, payload) }), 0,
			"payload of", n, "with room for it allocations")
	}
}

func TestMessages(t *testing.T) {
	type message struct {
		op      Opcode
		payload string
	}
	walk := func(frames []byte) (got []message) {
		for op, payload := range Messages(frames) {
			kit.Want(t, cap(payload), len(payload),
				"payload of", len(payload), "has room for : an append would overwrite what follows")
			got = append(got, message{op, string(payload)})
		}
		return got
	}
	want := []message{{OpText, "4hello"}, {OpBinary, ""}, {OpBinary, strings.Repeat("x", 125)}, {OpBinary, strings.Repeat("y", 126)},
		{OpText, strings.Repeat("z", 1<<16)}, {OpPing, "p"}, {OpBinary, "\x81\x01"}}
	var frames []byte
	for _, m := range want {
		frames = AppendFrame(frames, m.op, []byte(m.payload))
	}
	kit.WantList(t, walk(frames), want)
	if got := walk(nil); got != nil {
		t.Errorf("of nothing got %q", got)
	}
	var first []byte
	for _, payload := range Messages(frames) {
		first = payload
		break
	}
	kit.Check(t, string(first) == "4hello" && &first[0] == &frames[2],
		"the first payload is %q, want one that is part of the frames", first)

	good := AppendFrame(nil, OpText, []byte("good"))
	for _, test := range []struct {
		what string
		bad  []byte
	}{
		{"masked", AppendMaskedFrame(nil, OpText, testKey, []byte("bad"))},
		{"not final", []byte{0x01, 1, 'a'}},
		{"continuation", []byte{0x80, 1, 'a'}},
		{"RSV1", []byte{0xc1, 1, 'a'}},
		{"RSV3", []byte{0x91, 1, 'a'}},
		{"reserved opcode", []byte{0x83, 1, 'a'}},
		{"header cut", []byte{0x82}},
		{"16 bits of length cut", []byte{0x82, 126, 0}},
		{"64 bits of length cut", []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0}},
		{"length longer than need be", []byte{0x82, 126, 0, 1, 'a'}},
		{"payload cut", []byte{0x82, 2, 'a'}},
		{"length over all bounds", []byte{0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255, 'a'}},
	} {
		kit.WantList(t, walk(slices.Concat(good, test.bad)), []message{{OpText, "good"}},
			test.what, "(the message before it alone)")
	}
}

func BenchmarkMessages(b *testing.B) {
	frames := AppendFrame(nil, OpText, make([]byte, 200))
	for range 3 {
		frames = AppendFrame(frames, OpBinary, make([]byte, 1000))
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range Messages(frames) {
			n++
		}
		if n != 4 {
			b.Fatalf("got %d messages, want 4", n)
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range []int{16, 128, 4096} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			payload := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				AppendFrame(nil, OpText, payload)
			}
		})
	}
}
