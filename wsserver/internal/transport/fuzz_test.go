package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const fuzzMaxMessage = 1000

func addReaderCases(f *testing.F, add func(input []byte)) {
	for _, test := range readerCases() {
		if len(test.input) <= 4*fuzzMaxMessage {
			add(test.input)
		}
	}
}

// FuzzReaderSplits checks that it does not matter how the bytes are cut.
func FuzzReaderSplits(f *testing.F) {
	addReaderCases(f, func(input []byte) { f.Add(uint64(1), false, false, input) })
	addReaderCases(f, func(input []byte) { f.Add(uint64(1), false, true, input) })
	f.Add(uint64(1), true, false, []byte{0x01, 0x03, 'H', 'e', 'l', 0x80, 0x02, 'l', 'o'})
	f.Add(uint64(1), true, true, []byte{0x41, 0x03, 0xf2, 0x48, 0xcd, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00})
	f.Fuzz(func(t *testing.T, seed uint64, client, deflate bool, input []byte) {
		config := &ReaderConfig{MaxMessage: fuzzMaxMessage, Client: client, Deflate: deflate}
		events, err := feed(config, input)
		for _, event := range events {
			if len(event) > 4*fuzzMaxMessage+len(`binary ""`) { // a byte may be quoted with four
				t.Fatalf("got an event of %d bytes, with messages of %d at most", len(event), fuzzMaxMessage)
			}
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		for _, chunks := range [][][]byte{bytewise(input), randomSplit(rng, input)} {
			gotEvents, gotErr := feed(config, chunks...)
			if err == errControlFlood || gotErr == errControlFlood {
				t.Skip("depends on the clock")
			}
			kit.Require(t, slices.Equal(gotEvents, events) && gotErr == err,
				"in %d parts got %q, %v; whole got %q, %v", len(chunks), gotEvents, gotErr, events, err)
		}
	})
}

var (
	errPeerClosed = errors.New("close frame received")
	errPeerClose  = errors.New("bad close frame")
)

// gobwas decodes input with the library's reader and its rules. An io.EOF of any kind means that input ends too early.
func gobwas(input []byte) (events []string, err error) {
	var rec recorder
	control := func(hdr ws.Header, body io.Reader) error {
		payload, err := io.ReadAll(body)
		if err == nil && int64(len(payload)) < hdr.Length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if hdr.OpCode == ws.OpClose {
			if len(payload) == 1 {
				return errPeerClose
			}
			if len(payload) > 0 {
				if err := ws.CheckCloseFrameData(ws.ParseCloseFrameData(payload)); err != nil {
					return err
				}
			}
			rec.Control(OpClose, payload)
			return errPeerClosed
		}
		return rec.Control(Opcode(hdr.OpCode), payload)
	}
	r := wsutil.Reader{Source: bytes.NewReader(input), State: ws.StateServerSide, MaxMessageSize: fuzzMaxMessage, OnIntermediate: control}
	for {
		hdr, err := r.NextFrame()
		if err != nil {
			return rec.events, err
		}
		if hdr.OpCode.IsControl() {
			err = control(hdr, &r)
		} else {
			var payload []byte
			payload, err = io.ReadAll(&r)
			if err == nil && hdr.OpCode == ws.OpText && !utf8.Valid(payload) {
				err = wsutil.ErrInvalidUTF8 // its own check does not wait for the end of the message
			}
			if err == nil {
				err = rec.Message(Opcode(hdr.OpCode), payload)
			}
		}
		if err != nil {
			return rec.events, err
		}
	}
}

// agree compares what Reader makes of input with what gobwas makes of it, and says where they differ without a known reason.
func agree(input []byte) error {
	events, err := feed(&ReaderConfig{MaxMessage: fuzzMaxMessage}, input)
	theirs, theirErr := gobwas(input)
	if err != nil && (theirErr == io.EOF || theirErr == io.ErrUnexpectedEOF) {
		// Reader refuses a header before its end where that is known; gobwas reads it to the end first.
		theirs, theirErr = gobwas(slices.Concat(input, make([]byte, maxHeader)))
	}
	differ := fmt.Errorf("got %q (%v), gobwas %q (%v)", events, err, theirs, theirErr)
	if theirErr == io.EOF || theirErr == io.ErrUnexpectedEOF || theirErr == errPeerClosed {
		theirErr = nil
	}

	// These rules gobwas does not have: bounds, a control frame's length in 7 bits, close codes above 4999.
	if err == errEmptyFlood || err == errControlFlood || err == errControlLength || err == errCloseCode {
		if len(theirs) < len(events) || !slices.Equal(events, theirs[:len(events)]) {
			return differ
		}
		return nil
	}
	// Close codes registered after RFC 6455 are unknown to gobwas.
	if n := len(events); theirErr == ws.ErrProtocolStatusCodeUnknown && n == len(theirs)+1 {
		var code int
		if fmt.Sscanf(events[n-1], "close %d", &code); 1012 <= code && code <= 1014 {
			events, theirErr = events[:n-1], nil
		}
	}
	if !slices.Equal(events, theirs) || (err != nil) != (theirErr != nil) {
		return differ
	}
	return nil
}

func FuzzReaderAgainstGobwas(f *testing.F) {
	addReaderCases(f, func(input []byte) { f.Add(input) })
	for _, code := range []string{"\x03\xf4", "\x03\xf6", "\x13\x88", "\xff\xff", "\x0b\xb8", "\x03\xef"} {
		f.Add(client(0x88, code))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if err := agree(input); err != nil {
			t.Fatalf("%v\ninput %x", err, input)
		}
	})
}

// TestReaderAgainstGobwas compares the two over streams of frames that are mostly right, which mutated bytes seldom are.
func TestReaderAgainstGobwas(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	payloads := []string{"", "a", "κόσμε", "\xe2\x82", "\xac", "\xff", "\x03\xe8", "\x03\xe8bye", "\x03\xed", string(make([]byte, 126)), string(make([]byte, 600))}
	firsts := []byte{0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x00, 0x80}
	rare := []byte{0x88, 0x83, 0xc1, 0x09, 0x08, 0x8f}
	for range 20_000 {
		var input []byte
		for range 1 + rng.IntN(8) {
			first := firsts[rng.IntN(len(firsts))]
			if rng.IntN(15) == 0 {
				first = rare[rng.IntN(len(rare))]
			}
			frame := client(first, payloads[rng.IntN(len(payloads))])
			if rng.IntN(40) == 0 {
				frame[rng.IntN(len(frame))] ^= 1 << rng.IntN(8)
			}
			input = append(input, frame...)
		}
		if rng.IntN(4) == 0 {
			input = input[:rng.IntN(len(input)+1)]
		}
		if err := agree(input); err != nil {
			t.Fatalf("seed %d: %v\ninput %x", seed, err, input)
		}
	}
}

// FuzzAppendFrame checks that what is written is read back, by this package and by gobwas.
func FuzzAppendFrame(f *testing.F) {
	f.Add(uint8(OpText), []byte("hello"), []byte{1, 2, 3, 4})
	f.Add(uint8(OpBinary), make([]byte, 126), []byte{0, 0, 0, 0})
	f.Add(uint8(OpPing), []byte("p"), []byte{0xff, 0, 0xff, 0})
	f.Add(uint8(OpBinary), make([]byte, 1<<16), []byte{0xff, 0, 0xff, 0})
	f.Fuzz(func(t *testing.T, opcode uint8, payload, mask []byte) {
		op := Opcode(opcode & 0xf)
		if op != OpText && op != OpBinary && op != OpPing && op != OpPong || len(mask) < 4 {
			t.Skip()
		}
		if op.control() && len(payload) > maxControl || op == OpText && !utf8.Valid(payload) || len(payload) > defaultMaxMessage {
			t.Skip()
		}
		key := [4]byte(mask)
		plain, masked := AppendFrame(nil, op, payload), AppendMaskedFrame(nil, op, key, payload)
		for _, test := range []struct {
			config *ReaderConfig
			frame  []byte
		}{{&ReaderConfig{Client: true}, plain}, {nil, masked}} {
			var want recorder
			if op.control() {
				want.Control(op, bytes.Clone(payload))
			} else {
				want.Message(op, bytes.Clone(payload))
			}
			if got, err := feed(test.config, test.frame); err != nil || !slices.Equal(got, want.events) {
				t.Errorf("got %.100q, %v, want %.100q", got, err, want.events)
			}
			body := bytes.NewReader(test.frame)
			hdr := kit.Must(ws.ReadHeader(body))(t, "gobwas")
			rest := test.frame[len(test.frame)-body.Len():]
			if hdr.Masked {
				ws.Cipher(rest, hdr.Mask, 0)
			}
			if Opcode(hdr.OpCode) != op || !hdr.Fin || hdr.Rsv != 0 || hdr.Length != int64(len(payload)) || !bytes.Equal(rest, payload) {
				t.Errorf("gobwas read %+v and %.40x, want opcode %d and %.40x", hdr, rest, op, payload)
			}
		}
	})
}
