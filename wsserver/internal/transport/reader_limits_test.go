package transport

import (
	"bytes"
	"errors"
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// TestReaderFragments feeds more fragments than a limit on fragments as such would let pass: Autobahn 9.3 and 9.4 do.
func TestReaderFragments(t *testing.T) {
	const n = 100_000
	input := client(0x01, "a")
	for range n - 2 {
		input = append(input, client(0x00, "a")...)
	}
	input = append(input, client(0x80, "a")...)
	events, err := feed(nil, input)
	if want := []string{fmt.Sprintf("text %q", strings.Repeat("a", n))}; err != nil || !slices.Equal(events, want) {
		t.Errorf("got %.50q, %v, want a text of %d bytes", events, err, n)
	}
}

func TestReaderEmptyFragmentFlood(t *testing.T) {
	message := func(empty int) (b []byte) {
		b = client(0x02, "")
		for range empty - 1 {
			b = append(b, client(0x00, "")...)
		}
		return append(b, client(0x80, "x")...)
	}
	most := message(maxEmptyFragments)
	events, err := feed(nil, slices.Concat(most, most, most))
	if want := []string{`binary "x"`, `binary "x"`, `binary "x"`}; err != nil || !slices.Equal(events, want) {
		t.Errorf("at the bound: got %q, %v, want %q", events, err, want)
	}
	if events, err := feed(nil, message(maxEmptyFragments+1)); err != errEmptyFlood || len(events) > 0 {
		t.Errorf("over the bound: got %q, %v, want %v", events, err, errEmptyFlood)
	}
}

func TestReaderControlFlood(t *testing.T) {
	pings := func(n int) []byte { return bytes.Repeat(client(0x89, ""), n) }
	synctest.Test(t, func(t *testing.T) {
		var r Reader
		feed := func(what string, n int, want error) {
			t.Helper()
			if err := r.Feed(pings(n), new(recorder)); !errors.Is(err, want) {
				t.Fatalf("%s: got %v, want %v", what, err, want)
			}
		}
		feed("a burst", maxControlBurst, nil)
		time.Sleep(time.Hour)
		feed("a burst after a rest", maxControlBurst, nil)
		for range 1000 {
			time.Sleep(50 * time.Millisecond)
			feed("the rate for ever", controlRate/20, nil)
		}
		time.Sleep(time.Second)
		feed("a second's worth", controlRate, nil)
		feed("one more", 1, errControlFlood)

		r = Reader{}
		var err error
		sent := 0
		for ; err == nil && sent < 10_000; sent++ {
			time.Sleep(time.Millisecond / 10)
			err = r.Feed(pings(1), new(recorder))
		}
		kit.Check(t, err == errControlFlood && sent <= maxControlBurst*2,
			"10,000 pings a second: got %v after %d, want %v", err, sent, errControlFlood)

		// Pings between messages, and pings while messages flow, are counted alike.
		r = Reader{}
		for range maxControlBurst {
			kit.OK(t, r.Feed(slices.Concat(client(0x81, "m"), pings(1)), new(recorder)))
		}
		if err := r.Feed(slices.Concat(client(0x81, "m"), pings(1)), new(recorder)); err != errControlFlood {
			t.Errorf("pings between messages: got %v, want %v", err, errControlFlood)
		}
	})
}

func TestReaderMemory(t *testing.T) {
	if got := unsafe.Sizeof(Reader{}); got > 64 {
		t.Errorf("got %d bytes for a Reader, want 64 at most", got)
	}
	var r Reader
	r.Config = &ReaderConfig{MaxMessage: 1 << 30}
	rec := new(recorder)

	r.Feed(head(0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0), rec)
	if r.buf != nil {
		t.Errorf("1 GiB announced, nothing arrived: got a buffer of %d, want none", cap(r.buf))
	}
	for arrived := 0; arrived < 100_000; {
		n := 1 + arrived/3
		r.Feed(make([]byte, n), rec)
		if arrived += n; cap(r.buf) > max(2*arrived, minBuffer) {
			t.Fatalf("1 GiB announced, %d bytes arrived: got a buffer of %d", arrived, cap(r.buf))
		}
	}

	r = Reader{}
	frame := client(0x82, strings.Repeat("x", 999_999))
	for len(frame) > 0 {
		n := min(len(frame), 16_384)
		r.Feed(bytes.Clone(frame[:n]), rec)
		if frame = frame[n:]; cap(r.buf) > 1_000_000 {
			t.Fatalf("got a buffer of %d for a message of 999,999", cap(r.buf))
		}
	}
	if r.buf != nil || len(rec.events) != 1 {
		t.Errorf("message complete: got a buffer of %d and %d messages, want none and 1", cap(r.buf), len(rec.events))
	}

	r.Feed(client(0x89, "ping")[:8], rec)
	r.Feed(client(0x89, "ping")[8:], rec)
	if r.buf != nil {
		t.Errorf("ping complete: got a buffer of %d, want none", cap(r.buf))
	}
	r.Feed(client(0x02, "abc"), rec)
	r.Feed(client(0x88, ""), rec)
	if r.buf != nil {
		t.Errorf("closed: got a buffer of %d, want none", cap(r.buf))
	}
}

// null is a Handler that does nothing.
type null struct{ messages int }

func (n *null) Message(Opcode, []byte) error { n.messages++; return nil }
func (n *null) Control(Opcode, []byte) error { return nil }

func TestReaderAllocations(t *testing.T) {
	var r Reader
	h := new(null)
	input := slices.Concat(
		AppendMaskedFrame(nil, OpText, testKey, bytes.Repeat([]byte("a"), 128)),
		AppendMaskedFrame(nil, OpBinary, testKey, bytes.Repeat([]byte("b"), 20_000)))
	p := make([]byte, len(input))
	got := testing.AllocsPerRun(100, func() {
		copy(p, input)
		kit.OK(t, r.Feed(p, h))
	})
	if got != 0 || h.messages == 0 {
		t.Errorf("got %v allocations for whole messages, want 0", got)
	}
	got = testing.AllocsPerRun(100, func() {
		kit.OK(t, r.Feed(p[:0], h))
		if err := (&Reader{}).Feed([]byte{0x83, 0x80}, h); err == nil {
			t.Fatal("got no error for a reserved opcode")
		}
	})
	if got > 2 { // the Reader and its input
		t.Errorf("got %v allocations for a bad frame, want 2 at most", got)
	}
}

func BenchmarkReaderFeed(b *testing.B) {
	for _, size := range []int{16, 128, 4096} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			input := AppendMaskedFrame(nil, OpText, testKey, bytes.Repeat([]byte("a"), size))
			p := make([]byte, len(input))
			var r Reader
			h := new(null)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				copy(p, input)
				kit.OK(b, r.Feed(p, h))
			}
		})
	}
	b.Run("128B in two parts", func(b *testing.B) {
		input := AppendMaskedFrame(nil, OpText, testKey, bytes.Repeat([]byte("a"), 128))
		p := make([]byte, len(input))
		var r Reader
		h := new(null)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			copy(p, input)
			kit.OK(b, errors.Join(r.Feed(p[:50], h), r.Feed(p[50:], h)))
		}
	})
}
