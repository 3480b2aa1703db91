package transport

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// squeeze compresses a message as a peer may.
func squeeze(payload string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression)
	io.WriteString(w, payload)
	w.Flush()
	return strings.TrimSuffix(b.String(), flushed)
}

func deflateCases() []readerCase {
	cat := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	on := &ReaderConfig{Deflate: true}
	small := &ReaderConfig{Deflate: true, MaxMessage: 100}
	fromServer := &ReaderConfig{Deflate: true, Client: true}
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00" // RFC 7692 section 7.2.3.1
	const final = "\xf3\x48\xcd\xc9\xc9\x07\x00" // the same in a final block
	long := strings.Repeat("hello, ", 1000)
	return []readerCase{
		{"7692 7.2.3.1 one block", fromServer, []byte("\xc1\x07" + hello), []string{`text "Hello"`}, nil},
		{"7692 7.2.3.1 two fragments", fromServer, []byte("\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"), []string{`text "Hello"`}, nil},
		{"7692 7.2.3.2 window of the message before, which is not kept", fromServer, []byte("\xc1\x07" + hello + "\xc1\x05\xf2\x00\x11\x00\x00"), []string{`text "Hello"`}, errInflate},
		{"7692 7.2.3.3 block without compression", fromServer, []byte("\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), []string{`text "Hello"`}, nil},
		{"7692 7.2.3.4 final block", fromServer, []byte("\xc1\x08" + final + "\x00"), []string{`text "Hello"`}, nil},
		{"7692 7.2.3.5 two blocks", fromServer, []byte("\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{`text "Hello"`}, nil},
		{"7692 7.2.3.6 empty message", fromServer, []byte("\xc1\x01\x00"), []string{`text ""`}, nil},
		{"7692 7.2.1 final block and no more", on, client(0xc1, final), []string{`text "Hello"`}, nil},
		{"7692 7.2.1 final empty block, tail cut off", on, client(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x01"), []string{`text "Hello"`}, nil},
		{"7692 7.2.1 blocks after a final one share its window", on, client(0xc1, final+"\xf2\x00\x11\x00\x00"), []string{`text "HelloHello"`}, nil},
		{"7692 7.2.1 many final blocks", on, client(0xc2, strings.Repeat("\x03\x00", maxStreams-1)+"\x00"), []string{`binary ""`}, nil},
		{"7692 7.2.1 too many final blocks", on, client(0xc2, strings.Repeat("\x03\x00", maxStreams)+"\x00"), nil, errInflate},
		{"7692 7.2.2 tail that was not removed", on, client(0xc1, hello+flushed), nil, errInflate},
		{"7692 7.2.2 nothing but the tail", on, client(0xc1, "\x00"+flushed), nil, errInflate},
		{"7692 7.2.2 no byte at all", on, client(0xc1, ""), nil, errInflate},
		{"7692 7.2.2 reserved block type", on, client(0xc1, "\x06"), nil, errInflate},
		{"7692 7.2.2 block with a wrong length", on, client(0xc1, "\x00\x05\x00\x05\x00Hello\x00"), nil, errInflate},
		{"7692 7.2.2 block cut off", on, client(0xc2, "\x00\x20\x00\xdf\xffHello"), nil, errInflate},
		{"7692 7.2.2 final block that takes the tail", on, client(0xc2, "\x01\x06\x00\xf9\xff"), nil, errInflate},
		{"7692 7.2.2 distance before the start", on, client(0xc2, "\xf2\x00\x11\x00\x00"), nil, errInflate},

		{"7692 6.1 compressed and plain messages by turns", on, cat(client(0xc1, hello), client(0x81, "plain"), client(0xc2, squeeze(long)), client(0x82, hello)),
			[]string{`text "Hello"`, `text "plain"`, fmt.Sprintf("binary %q", long), fmt.Sprintf("binary %q", hello)}, nil},
		{"7692 6.1 fragments, then plain ones", on, cat(client(0x42, hello[:3]), client(0x80, hello[3:]), client(0x01, "pla"), client(0x80, "in")), []string{`binary "Hello"`, `text "plain"`}, nil},
		{"7692 6.1 plain fragments, then compressed ones", on, cat(client(0x02, "pla"), client(0x80, "in"), client(0x41, hello[:3]), client(0x80, hello[3:])), []string{`binary "plain"`, `text "Hello"`}, nil},
		{"7692 6.1 control frames between fragments", on, cat(client(0x41, hello[:1]), client(0x89, "p1"), client(0x00, hello[1:4]), client(0x8a, "p2"), client(0x80, hello[4:])),
			[]string{`ping "p1"`, `pong "p2"`, `text "Hello"`}, nil},
		{"7692 6.1 empty fragments", on, cat(client(0x41, ""), client(0x00, hello), client(0x80, "")), []string{`text "Hello"`}, nil},
		{"7692 6.1 close inside a message", on, cat(client(0x41, hello[:3]), client(0x88, "\x03\xe8")), []string{`close 1000 ""`}, nil},
		{"7692 6.1 RSV1 on a continuation", on, cat(client(0x41, hello[:3]), client(0xc0, hello[3:])), nil, errRSV},
		{"7692 6.1 RSV1 on a continuation of a plain message", on, cat(client(0x01, "a"), client(0xc0, hello)), nil, errRSV},
		{"7692 6.1 RSV1 on a ping", on, client(0xc9, ""), nil, errRSV},
		{"7692 6.1 RSV1 on a close", on, client(0xc8, ""), nil, errRSV},
		{"7692 6.1 RSV2 beside RSV1", on, client(0xe1, hello), nil, errRSV},
		{"7692 6.1 RSV2 alone", on, client(0xa1, hello), nil, errRSV},
		{"7692 6.1 RSV3 beside RSV1", on, client(0xd1, hello), nil, errRSV},
		{"7692 6.1 RSV1 on a reserved opcode", on, client(0xc3, hello), nil, errRSV},
		{"7692 6.1 compressed message inside fragments", on, cat(client(0x41, hello[:3]), client(0xc1, hello)), nil, errInterleaved},
		{"7692 6.1 RSV1 without negotiation", nil, client(0xc1, hello), nil, errRSV},
		{"7692 6.1 RSV1 without negotiation, on the first fragment", nil, client(0x41, hello), nil, errRSV},

		{"8.1 UTF-8 across compressed fragments", on, cat(client(0x41, squeeze("κόσμε€😀")[:5]), client(0x80, squeeze("κόσμε€😀")[5:])), []string{`text "κόσμε€😀"`}, nil},
		{"8.1 not UTF-8, compressed", on, client(0xc1, squeeze("a\xffb")), nil, errText},
		{"8.1 not UTF-8, compressed, binary", on, client(0xc2, squeeze("a\xffb")), []string{`binary "a\xffb"`}, nil},

		{"10.4 no limit", &ReaderConfig{Deflate: true, MaxMessage: math.MaxInt}, client(0xc1, hello), []string{`text "Hello"`}, nil},
		{"10.4 inflated to the limit", small, client(0xc2, squeeze(long[:100])), []string{fmt.Sprintf("binary %q", long[:100])}, nil},
		{"10.4 inflated over the limit", small, client(0xc2, squeeze(long[:101])), nil, errTooBig},
		{"10.4 inflated over the limit by a second stream", small, client(0xc2, "\x01\x5f\x00\xa0\xff"+strings.Repeat("x", 95)+final), nil, errTooBig},
		{"10.4 inflated far over the limit", small, client(0xc1, squeeze(long)), nil, errTooBig},
		{"10.4 each compressed message by itself", small, cat(client(0xc2, squeeze(long[:100])), client(0xc2, squeeze(long[:100]))),
			[]string{fmt.Sprintf("binary %q", long[:100]), fmt.Sprintf("binary %q", long[:100])}, nil},
		{"10.4 compressed frame over the limit", small, []byte{0xc2, 0xfe, 0, 101}, nil, errTooBig},
		{"10.4 compressed fragments over the limit", small, cat(client(0x42, strings.Repeat("\x02", 60)), []byte{0x80, 0x80 | 41}), nil, errTooBig},
	}
}

// bomb is a message that inflates to size zeros, or a little more.
func bomb(size int) []byte {
	const block = 1 << 20
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(make([]byte, min(size, block)))
	w.Flush()
	one := b.Bytes()
	return bytes.TrimSuffix(bytes.Repeat(one, (size+block-1)/block), []byte(flushed))
}

// TestInflateBomb bounds what inflating a message takes, by the limit and by what it comes to.
func TestInflateBomb(t *testing.T) {
	allocated := func(config *ReaderConfig, frames ...[]byte) (bytes uint64, messages int, err error) {
		var before, after runtime.MemStats
		r, h := Reader{Config: config}, new(null)
		runtime.ReadMemStats(&before)
		for _, frame := range frames {
			err = r.Feed(frame, h)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, h.messages, err
	}
	const slack = 512 << 10 // the flate package's own, for two readers, and what the runtime does meanwhile
	for _, size := range []int{1 << 20, 1 << 25, 1 << 30} {
		for _, limit := range []int{1000, 1_000_000, 4_000_000} {
			payload := bomb(size)
			if size <= limit || len(payload) > limit {
				continue
			}
			config := &ReaderConfig{Deflate: true, MaxMessage: limit}
			whole := AppendMaskedFrame(nil, OpBinary, testKey, payload)
			whole[0] |= bitRSV1
			got, messages, err := allocated(config, whole)
			if err != errTooBig || messages != 0 || got > uint64(3*limit)+slack {
				t.Errorf("%d bytes for %d with a limit of %d: got %v, %d messages and %d bytes allocated", len(payload), size, limit, err, messages, got)
			}
			first, last := client(0x42, string(payload[:7])), client(0x80, string(payload[7:]))
			if _, messages, err := allocated(config, first, last); err != errTooBig || messages != 0 {
				t.Errorf("%d bytes for %d in fragments, with a limit of %d: got %v and %d messages", len(payload), size, limit, err, messages)
			}
		}
	}
	got, messages, err := allocated(&ReaderConfig{Deflate: true, MaxMessage: 1 << 30}, client(0xc1, squeeze("Hello")))
	if err != nil || messages != 1 || got > slack {
		t.Errorf("a short message with a great limit: got %v, %d messages and %d bytes allocated", err, messages, got)
	}
}

// TestInflatersArePooled: what inflates is used again, and between messages a Reader keeps nothing.
func TestInflatersArePooled(t *testing.T) {
	input := client(0xc2, squeeze(strings.Repeat("hello, ", 4000)))
	p, r, h := make([]byte, len(input)), Reader{Config: &ReaderConfig{Deflate: true}}, new(null)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const messages = 200
	for range messages {
		copy(p, input)
		kit.OK(t, r.Feed(p, h))
	}
	runtime.ReadMemStats(&after)
	// One that is new takes 100 KiB, half of them for its buffer. With the race detector a sync.Pool forgets a quarter of what it is given.
	if got := (after.TotalAlloc - before.TotalAlloc) / messages; got > 40<<10 {
		t.Errorf("got %d bytes allocated for a message, want 40 KiB at most", got)
	}
	if r.buf != nil {
		t.Errorf("got a buffer of %d, want none", cap(r.buf))
	}

	in := inflaters.Get().(*inflater)
	if _, err := in.inflate(bomb(4*maxPooled), 1<<21); err != nil || len(in.buf) <= maxPooled {
		t.Errorf("got a buffer of %d, %v", len(in.buf), err)
	}
	if in.free(); in.buf != nil {
		t.Errorf("got a pooled buffer of %d", cap(in.buf))
	}
	d := deflaters.Get().(*deflater)
	d.deflate([]byte(noise(2 * maxPooled)))
	d.out = make([]byte, 2*maxPooled)
	if d.free(); d.buf.Cap() > maxPooled || cap(d.out) > maxPooled {
		t.Errorf("got pooled buffers of %d and %d", d.buf.Cap(), cap(d.out))
	}
}

type wireMessage struct {
	op      Opcode
	payload string
}

// frameOf is a frame of these messages.
func frameOf(messages ...wireMessage) *outbox.Frame {
	f := new(outbox.Frame)
	for _, m := range messages {
		f.Bytes = AppendFrame(f.Bytes, m.op, []byte(m.payload))
	}
	return f
}

// received is what a client makes of f, as recorder notes it.
func received(t *testing.T, f *outbox.Frame, deflate bool) []string {
	t.Helper()
	events, err := feed(&ReaderConfig{Client: true, Deflate: deflate, MaxMessage: 1 << 28}, f.Bytes)
	kit.OK(t, err, "a client")
	return events
}

// compressed says of each message in f whether it is.
func compressed(f *outbox.Frame) (flags []bool) {
	for b := f.Bytes; len(b) > 0; {
		length, start := parseLength(b)
		flags = append(flags, b[0]&bitRSV1 != 0)
		b = b[start+int(length):]
	}
	return flags
}

func noise(n int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

func TestDeflate(t *testing.T) {
	text := strings.Repeat(`{"user":"ada","online":true},`, 100)
	for _, test := range []struct {
		rule     string
		messages []wireMessage
		want     []bool // nil if the frame itself is to be sent
	}{
		{"long text", []wireMessage{{OpText, text}}, []bool{true}},
		{"long binary", []wireMessage{{OpBinary, text}}, []bool{true}},
		{"longest", []wireMessage{{OpBinary, strings.Repeat(text, 100)}}, []bool{true}},
		{"at the threshold", []wireMessage{{OpText, text[:1024]}}, []bool{true}},
		{"under the threshold", []wireMessage{{OpText, text[:1023]}}, nil},
		{"short messages that are long together", []wireMessage{{OpText, text[:600]}, {OpBinary, text[:600]}}, nil},
		{"does not become smaller", []wireMessage{{OpBinary, noise(5000)}}, nil},
		{"empty", []wireMessage{{OpText, ""}}, nil},
		{"text and attachments", []wireMessage{{OpText, "451-[]"}, {OpBinary, text}, {OpBinary, noise(2000)}, {OpBinary, text + "2"}, {OpBinary, "end"}}, []bool{false, true, false, true, false}},
		{"compressed first", []wireMessage{{OpText, text}, {OpBinary, "short"}}, []bool{true, false}},
		{"long control frame", []wireMessage{{OpPing, text[:125]}}, nil},
		{"control frames", []wireMessage{{OpPing, "p"}, {OpText, text}, {OpPong, "q"}}, []bool{false, true, false}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			for _, volatile := range []bool{false, true} {
				f := frameOf(test.messages...)
				f.Volatile = volatile
				before := bytes.Clone(f.Bytes)
				threshold := 1024
				if test.messages[0].op.control() {
					threshold = 100
				}
				got := deflatedFrame(f, threshold)
				deflatedFrame(frameOf(wireMessage{OpBinary, strings.Repeat("something else", 100)}), 1) // must leave got alone
				kit.Require(t, bytes.Equal(f.Bytes, before), "the frame was modified")
				if test.want == nil {
					if got != f {
						t.Errorf("got a frame with compressed messages %v, want the same one", compressed(got))
					}
					continue
				}
				if flags := compressed(got); !slices.Equal(flags, test.want) || got.Volatile != volatile || len(got.Bytes) >= len(f.Bytes) {
					t.Errorf("got compressed messages %v, volatile %t, %d of %d bytes; want %v, volatile %t", flags, got.Volatile, len(got.Bytes), len(f.Bytes), test.want, volatile)
				}
				kit.WantList(t, received(t, got, true), received(t, f, false), "a client received")
			}
		})
	}
}

// TestDeflateAgainstGobwas: each end reads what the other writes.
func TestDeflateAgainstGobwas(t *testing.T) {
	for _, payload := range []string{"a", "Hello", strings.Repeat("abc", 1000), noise(3000) + strings.Repeat("x", 70_000), strings.Repeat(noise(20_000), 3)} {
		if f := deflatedFrame(frameOf(wireMessage{OpBinary, payload}), 1); len(payload) > 100 {
			source := bytes.NewReader(f.Bytes)
			hdr, err := ws.ReadHeader(source)
			kit.Require(t, err == nil && hdr.Rsv1() && hdr.Length == int64(source.Len()),
				"gobwas read %+v, %v", hdr, err)
			frame, err := wsflate.DecompressFrame(ws.Frame{Header: hdr, Payload: f.Bytes[len(f.Bytes)-source.Len():]})
			kit.Check(t, err == nil && string(frame.Payload) == payload,
				"gobwas inflated %.40q, %v, want %.40q", frame.Payload, err, payload)
		}
		frame := kit.Must(wsflate.CompressFrame(ws.NewBinaryFrame([]byte(payload))))(t)
		frame = ws.MaskFrameInPlaceWith(frame, testKey)
		input := ws.MustCompileFrame(frame)
		if events, err := feed(&ReaderConfig{Deflate: true}, input); err != nil || !slices.Equal(events, []string{fmt.Sprintf("binary %q", payload)}) {
			t.Errorf("from gobwas got %.60q, %v, want %.40q", events, err, payload)
		}
	}
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 14} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			var text strings.Builder
			for i := 0; text.Len() < size; i++ {
				fmt.Fprintf(&text, `{"id":%d,"name":"user-%x","online":%t},`, i*i, i*0x9e3779b1, i%3 == 0)
			}
			f := frameOf(wireMessage{OpText, text.String()})
			small := 0
			b.SetBytes(int64(len(f.Bytes)))
			b.ReportAllocs()
			for b.Loop() {
				small = len(deflatedFrame(f, 1024).Bytes)
			}
			b.ReportMetric(float64(len(f.Bytes))/float64(small), "ratio")
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 14} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			input := client(0xc2, squeeze(strings.Repeat(noise(50), size/50)))
			p, r, h := make([]byte, len(input)), Reader{Config: &ReaderConfig{Deflate: true}}, new(null)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				copy(p, input)
				kit.OK(b, r.Feed(p, h))
			}
		})
	}
}
