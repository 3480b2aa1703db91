package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/gobwas/ws"
)

// recorder notes what a Reader hands out.
type recorder struct {
	events []string
	fail   error // returned by Message
}

func (r *recorder) Message(op Opcode, payload []byte) error {
	return r.note(map[Opcode]string{OpText: "text", OpBinary: "binary"}[op], payload, r.fail)
}

func (r *recorder) Control(op Opcode, payload []byte) error {
	if op == OpClose {
		code, reason := ParseClose(payload)
		return r.note(fmt.Sprintf("close %d", code), reason, nil)
	}
	return r.note(map[Opcode]string{OpPing: "ping", OpPong: "pong"}[op], payload, nil)
}

// note keeps a copy and overwrites the payload, which must harm nothing that follows.
func (r *recorder) note(name string, payload []byte, err error) error {
	r.events = append(r.events, fmt.Sprintf("%s %q", name, payload))
	for i := range payload {
		payload[i] = 0xee
	}
	if extra := payload[len(payload):cap(payload)]; len(extra) > 0 {
		extra[0] = 0xee
	}
	return err
}

// feed hands the chunks to a new Reader and returns what came out. The chunks are overwritten once Feed has returned.
func feed(config *ReaderConfig, chunks ...[]byte) ([]string, error) {
	r := Reader{Config: config}
	var rec recorder
	var first error
	for _, chunk := range chunks {
		p := bytes.Clone(chunk)
		if err := r.Feed(p, &rec); err != nil && first == nil {
			first = err
		} else if err != nil {
			rec.events = append(rec.events, "second error: "+err.Error())
		}
		for i := range p {
			p[i] = 0xdd
		}
	}
	return rec.events, first
}

func bytewise(data []byte) [][]byte {
	return slices.Collect(slices.Chunk(data, 1))
}

func randomSplit(rng *rand.Rand, data []byte) (chunks [][]byte) {
	for len(data) > 0 {
		n := 1 + rng.IntN(min(len(data), 1+rng.IntN(20)))
		chunks = append(chunks, data[:n])
		data = data[n:]
	}
	return chunks
}

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// client is a masked frame with the first byte as given and the shortest form of the length.
func client(first byte, payload string) []byte {
	b := AppendMaskedFrame(nil, Opcode(first&0xf), testKey, []byte(payload))
	b[0] = first
	return b
}

// head is a header as given, with testKey where the mask bit is set.
func head(first, second byte, extended ...byte) []byte {
	b := append([]byte{first, second}, extended...)
	if second&0x80 != 0 {
		b = append(b, testKey[:]...)
	}
	return b
}

func masked(payload string) []byte {
	b := []byte(payload)
	ws.Cipher(b, testKey, 0)
	return b
}

type readerCase struct {
	rule   string
	config *ReaderConfig
	input  []byte
	events []string
	err    *ProtocolError
}

func readerCases() []readerCase {
	cat := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	small := &ReaderConfig{MaxMessage: 10}
	fromServer := &ReaderConfig{Client: true}
	k256, k64 := strings.Repeat("x", 256), strings.Repeat("y", 1<<16)
	return append(deflateCases(), []readerCase{
		{"5.7 masked text", nil, []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []string{`text "Hello"`}, nil},
		{"5.7 masked pong", nil, []byte{0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []string{`pong "Hello"`}, nil},
		{"5.7 unmasked text", fromServer, []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}, []string{`text "Hello"`}, nil},
		{"5.7 fragmented text", fromServer, []byte{0x01, 0x03, 'H', 'e', 'l', 0x80, 0x02, 'l', 'o'}, []string{`text "Hello"`}, nil},
		{"5.7 unmasked ping", fromServer, []byte{0x89, 0x05, 'H', 'e', 'l', 'l', 'o'}, []string{`ping "Hello"`}, nil},
		{"5.7 256 bytes", fromServer, cat([]byte{0x82, 0x7e, 0x01, 0x00}, []byte(k256)), []string{fmt.Sprintf("binary %q", k256)}, nil},
		{"5.7 64 KiB", fromServer, cat([]byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, []byte(k64)), []string{fmt.Sprintf("binary %q", k64)}, nil},

		{"5.1 client frame without mask", nil, []byte{0x81, 0x02, 'h', 'i'}, nil, errNotMasked},
		{"5.1 client ping without mask", nil, []byte{0x89, 0x00}, nil, errNotMasked},
		{"5.1 server frame with mask", fromServer, client(0x81, "hi"), nil, errMasked},
		{"5.1 message before the breach", nil, cat(client(0x81, "one"), []byte{0x81, 0x00}), []string{`text "one"`}, errNotMasked},

		{"5.2 RSV1", nil, client(0xc1, "a"), nil, errRSV},
		{"5.2 RSV2", nil, client(0xa1, "a"), nil, errRSV},
		{"5.2 RSV3", nil, client(0x91, "a"), nil, errRSV},
		{"5.2 RSV on a ping", nil, client(0xc9, ""), nil, errRSV},
		{"5.2 RSV on a continuation", nil, cat(client(0x01, "a"), client(0xc0, "b")), nil, errRSV},
		{"5.2 opcode 3", nil, client(0x83, ""), nil, errOpcode},
		{"5.2 opcode 7", nil, client(0x87, ""), nil, errOpcode},
		{"5.2 opcode 11", nil, client(0x8b, ""), nil, errOpcode},
		{"5.2 opcode 15", nil, client(0x8f, ""), nil, errOpcode},
		{"5.2 reserved opcode inside fragments", nil, cat(client(0x01, "a"), client(0x83, "b")), nil, errOpcode},
		{"5.2 breach known from two bytes", nil, []byte{0x83, 0x80}, nil, errOpcode},
		{"5.2 length with MSB", nil, head(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1), nil, errLengthMSB},
		{"5.2 length of ones", nil, head(0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255), nil, errLengthMSB},
		{"5.2 length with MSB, known before the mask", nil, []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1}, nil, errLengthMSB},
		{"5.2 length longer than need be, 16 bits", nil, cat(head(0x82, 0xfe, 0, 3), masked("abc")), []string{`binary "abc"`}, nil},
		{"5.2 length longer than need be, 64 bits", nil, cat(head(0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 3), masked("abc")), []string{`text "abc"`}, nil},
		{"5.2 length 125", nil, client(0x82, k256[:125]), []string{fmt.Sprintf("binary %q", k256[:125])}, nil},
		{"5.2 length 126", nil, client(0x82, k256[:126]), []string{fmt.Sprintf("binary %q", k256[:126])}, nil},
		{"5.2 length 65535", nil, client(0x82, k64[:65535]), []string{fmt.Sprintf("binary %q", k64[:65535])}, nil},
		{"5.2 length 65536", nil, client(0x82, k64), []string{fmt.Sprintf("binary %q", k64)}, nil},
		{"5.2 empty text", nil, client(0x81, ""), []string{`text ""`}, nil},
		{"5.2 empty binary", nil, client(0x82, ""), []string{`binary ""`}, nil},
		{"5.3 mask of zeros", nil, []byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}, []string{`text "hi"`}, nil},
		{"5.2 three messages at once", nil, cat(client(0x81, "a"), client(0x82, "bcd"), client(0x81, "")), []string{`text "a"`, `binary "bcd"`, `text ""`}, nil},

		{"5.4 two fragments", nil, cat(client(0x01, "ab"), client(0x80, "cd")), []string{`text "abcd"`}, nil},
		{"5.4 binary fragments", nil, cat(client(0x02, "a"), client(0x00, "b"), client(0x00, ""), client(0x80, "c")), []string{`binary "abc"`}, nil},
		{"5.4 empty first fragment", nil, cat(client(0x01, ""), client(0x80, "cd")), []string{`text "cd"`}, nil},
		{"5.4 empty last fragment", nil, cat(client(0x01, "ab"), client(0x80, "")), []string{`text "ab"`}, nil},
		{"5.4 nothing but empty fragments", nil, cat(client(0x01, ""), client(0x00, ""), client(0x80, "")), []string{`text ""`}, nil},
		{"5.4 control frames between fragments", nil,
			cat(client(0x01, "ab"), client(0x89, "p1"), client(0x00, "cd"), client(0x8a, "p2"), client(0x80, "ef"), client(0x81, "next")),
			[]string{`ping "p1"`, `pong "p2"`, `text "abcdef"`, `text "next"`}, nil},
		{"5.4 control frame after an empty fragment", nil, cat(client(0x02, ""), client(0x89, "p1"), client(0x80, "x")), []string{`ping "p1"`, `binary "x"`}, nil},
		{"5.4 text message after binary fragments", nil, cat(client(0x02, "\xff"), client(0x80, "\xff"), client(0x01, "\xff"), client(0x80, "")), []string{`binary "\xff\xff"`}, errText},
		{"5.4 continuation of nothing", nil, client(0x80, "a"), nil, errContinuation},
		{"5.4 continuation of nothing, not final", nil, client(0x00, "a"), nil, errContinuation},
		{"5.4 continuation after the last fragment", nil, cat(client(0x01, "a"), client(0x80, "b"), client(0x80, "c")), []string{`text "ab"`}, errContinuation},
		{"5.4 text inside fragments", nil, cat(client(0x01, "a"), client(0x81, "b")), nil, errInterleaved},
		{"5.4 binary inside fragments", nil, cat(client(0x02, "a"), client(0x00, "b"), client(0x02, "c")), nil, errInterleaved},

		{"5.5 ping of 125 bytes", nil, client(0x89, k256[:125]), []string{fmt.Sprintf("ping %q", k256[:125])}, nil},
		{"5.5 ping of 126 bytes", nil, client(0x89, k256[:126]), nil, errControlLength},
		{"5.5 ping with a 64-bit length", nil, head(0x89, 0xff, 0, 0, 0, 0, 0, 0, 0, 1), nil, errControlLength},
		{"5.5 close of 126 bytes", nil, client(0x88, "\x03\xe8"+k256[:124]), nil, errControlLength},
		{"5.5 ping in fragments", nil, client(0x09, "a"), nil, errControlFin},
		{"5.5 close in fragments", nil, client(0x08, ""), nil, errControlFin},
		{"5.5.2 empty ping", nil, client(0x89, ""), []string{`ping ""`}, nil},
		{"5.5.3 pong nobody asked for", nil, client(0x8a, ""), []string{`pong ""`}, nil},
		{"10.4 ping is not part of a message", small, cat(client(0x89, k256[:100]), client(0x01, "12345"), client(0x89, k256[:100]), client(0x80, "67890")),
			[]string{fmt.Sprintf("ping %q", k256[:100]), fmt.Sprintf("ping %q", k256[:100]), `text "1234567890"`}, nil},

		{"5.5.1 close without a code", nil, client(0x88, ""), []string{`close 1005 ""`}, nil},
		{"5.5.1 close with a reason", nil, client(0x88, "\x03\xe8bye"), []string{`close 1000 "bye"`}, nil},
		{"5.5.1 close with the longest reason", nil, client(0x88, "\x03\xe9"+k256[:123]), []string{fmt.Sprintf("close 1001 %q", k256[:123])}, nil},
		{"5.5.1 close of one byte", nil, client(0x88, "\x03"), nil, errCloseLength},
		{"5.5.1 close reason not UTF-8", nil, client(0x88, "\x03\xe8\xce\xba\xed\xa0\x80"), nil, errCloseReason},
		{"5.5.1 data after close", nil, cat(client(0x88, ""), client(0x81, "late"), []byte{0xff, 0xff}), []string{`close 1005 ""`}, nil},
		{"5.5.1 close between fragments", nil, cat(client(0x01, "a"), client(0x88, "\x03\xe8"), client(0x80, "b")), []string{`close 1000 ""`}, nil},
		{"7.1.7 data after a breach", nil, cat(client(0x83, ""), client(0x81, "late")), nil, errOpcode},

		{"8.1 UTF-8", nil, client(0x81, "κόσμε€😀"), []string{`text "κόσμε€😀"`}, nil},
		{"8.1 UTF-8 across fragments", nil, cat(client(0x01, "\xf0\x9f"), client(0x89, "\xff"), client(0x00, "\x98"), client(0x80, "\x80")), []string{`ping "\xff"`, `text "😀"`}, nil},
		{"8.1 stray byte", nil, client(0x81, "a\xffb"), nil, errText},
		{"8.1 surrogate", nil, client(0x81, "\xed\xa0\x80"), nil, errText},
		{"8.1 overlong", nil, client(0x81, "\xc0\xaf"), nil, errText},
		{"8.1 above U+10FFFF", nil, client(0x81, "\xf4\x90\x80\x80"), nil, errText},
		{"8.1 cut character", nil, client(0x81, "\xe2\x82"), nil, errText},
		{"8.1 cut character at the last fragment", nil, cat(client(0x01, "ok"), client(0x80, "\xe2\x82")), nil, errText},
		{"8.1 binary need not be UTF-8", nil, client(0x82, "\xff\xfe"), []string{`binary "\xff\xfe"`}, nil},

		{"10.4 at the limit", small, client(0x81, "1234567890"), []string{`text "1234567890"`}, nil},
		{"10.4 over the limit", small, client(0x81, "1234567890a"), nil, errTooBig},
		{"10.4 over the limit, nothing but the length arrived", small, []byte{0x82, 0xfe, 0, 11}, nil, errTooBig},
		{"10.4 2^62 bytes announced", nil, head(0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0), nil, errTooBig},
		{"10.4 fragments at the limit", small, cat(client(0x01, "12345"), client(0x00, "678"), client(0x80, "90")), []string{`text "1234567890"`}, nil},
		{"10.4 fragments over the limit", small, cat(client(0x01, "12345"), client(0x00, "67890"), client(0x80, "a")), nil, errTooBig},
		{"10.4 fragment of 2^63-1 bytes", small, cat(client(0x01, "12345"), head(0x80, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255)), nil, errTooBig},
		{"10.4 each message by itself", small, cat(client(0x81, "1234567890"), client(0x01, "12345"), client(0x80, "67890"), client(0x81, "1234567890")),
			[]string{`text "1234567890"`, `text "1234567890"`, `text "1234567890"`}, nil},
		{"10.4 default limit", nil, head(0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x41), nil, errTooBig},

		{"incomplete header", nil, []byte{0x81, 0xfe, 0}, nil, nil},
		{"incomplete payload", nil, client(0x81, "hello")[:9], nil, nil},
		{"incomplete message", nil, client(0x01, "hello"), nil, nil},
		{"nothing", nil, nil, nil, nil},
	}...)
}

func TestReader(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, test := range readerCases() {
		t.Run(test.rule, func(t *testing.T) {
			check := func(how string, chunks ...[]byte) {
				t.Helper()
				events, err := feed(test.config, chunks...)
				kit.WantList(t, events, test.events, how)
				if got, _ := errors.AsType[*ProtocolError](err); got != test.err {
					t.Errorf("%s: got error %v, want %v", how, err, test.err)
				}
			}
			check("whole", test.input)
			check("byte by byte", bytewise(test.input)...)
			for range 20 {
				check(fmt.Sprintf("random split, seed %d", seed), randomSplit(rng, test.input)...)
			}
		})
	}
}

func TestReaderCloseCodes(t *testing.T) {
	// RFC 6455 section 7.4, with the codes registered since.
	valid := func(code int) bool {
		switch code {
		case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014:
			return true
		}
		return 3000 <= code && code <= 4999
	}
	for code := range 1 << 16 {
		payload := binary.BigEndian.AppendUint16(nil, uint16(code))
		events, err := feed(nil, client(0x88, string(payload)))
		if valid(code) && (err != nil || len(events) != 1 || events[0] != fmt.Sprintf("close %d \"\"", code)) {
			t.Errorf("code %d: got %q, %v, want it reported", code, events, err)
		}
		if !valid(code) && err != errCloseCode {
			t.Errorf("code %d: got error %v, want %v", code, err, errCloseCode)
		}
	}
}

// TestReaderErrorCodes holds the close codes to RFC 6455 section 7.4.1.
func TestReaderErrorCodes(t *testing.T) {
	want := map[*ProtocolError]CloseCode{errText: 1007, errCloseReason: 1007, errInflate: 1007, errTooBig: 1009, errEmptyFlood: 1008, errControlFlood: 1008}
	for _, test := range readerCases() {
		if test.err != nil && test.err.Code != cmpOr(want[test.err], 1002) {
			t.Errorf("%s: got code %d, want %d", test.rule, test.err.Code, cmpOr(want[test.err], 1002))
		}
	}
	for err, code := range want {
		kit.Want(t, err.Code, code, err, "code")
	}
}

func cmpOr(a, b CloseCode) CloseCode {
	if a != 0 {
		return a
	}
	return b
}

func TestReaderHandlerError(t *testing.T) {
	boom := errors.New("boom")
	for _, input := range [][]byte{client(0x81, "a"), slices.Concat(client(0x01, "a"), client(0x80, "b"))} {
		rec := recorder{fail: boom}
		var r Reader
		kit.Want(t, r.Feed(slices.Concat(input, client(0x81, "late")), &rec), boom, "error")
		if err := r.Feed(client(0x81, "later"), &rec); err != nil || len(rec.events) != 1 {
			t.Errorf("after the error: got %v and %q, want nil and one event", err, rec.events)
		}
	}
}

func TestReaderPartial(t *testing.T) {
	input := slices.Concat(client(0x01, "ab"), client(0x89, "p"), client(0x80, "cd"))
	for n := range len(input) + 1 {
		var r Reader
		kit.OK(t, r.Feed(bytes.Clone(input[:n]), new(recorder)))
		kit.Want(t, r.Partial(), n > 0 && n < len(input),
			"after", n, "of", len(input), "bytes: got Partial")
	}
	var r Reader
	if err := r.Feed(append(client(0x01, "ab"), client(0x83, "")...), new(recorder)); err == nil || r.Partial() {
		t.Errorf("after a breach: got %v and Partial %v, want an error and false", err, r.Partial())
	}
}
