package engineio

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A parcel is a packet of a payload as the tests compare it.
type parcel struct {
	binary bool
	packet string
}

func (p parcel) String() string {
	if p.binary {
		return fmt.Sprintf("binary %q", p.packet)
	}
	return fmt.Sprintf("text %q", p.packet)
}

// decodeAll decodes a copy of payload. It looks at the packets after the last one has been decoded, so that one that runs into another
// shows.
func decodeAll(payload []byte) ([]parcel, error) {
	var binaries []bool
	var packets [][]byte
	err := DecodePayload(bytes.Clone(payload), func(binary bool, packet []byte) error {
		binaries = append(binaries, binary)
		packets = append(packets, packet)
		return nil
	})
	var parcels []parcel
	for i, packet := range packets {
		parcels = append(parcels, parcel{binaries[i], string(packet)})
	}
	return parcels, err
}

func TestPayload(t *testing.T) {
	for _, test := range []struct {
		rule    string // of Engine.IO 4, "Packet encoding", "HTTP long-polling"
		payload string
		want    []parcel
	}{
		{"the example of text", "4hello\x1e2\x1e4world", []parcel{{false, "4hello"}, {false, "2"}, {false, "4world"}}},
		{"the example of binary", "4hello\x1ebAQIDBA==", []parcel{{false, "4hello"}, {true, "\x01\x02\x03\x04"}}},
		{"one packet", "4", []parcel{{false, "4"}}},
		{"binary alone", "bAQID", []parcel{{true, "\x01\x02\x03"}}},
		{"binary first", "bAQID\x1e4a", []parcel{{true, "\x01\x02\x03"}, {false, "4a"}}},
		{"binary after binary", "bAA==\x1ebAQI=\x1ebAwQF", []parcel{{true, "\x00"}, {true, "\x01\x02"}, {true, "\x03\x04\x05"}}},
		{"empty binary", "b", []parcel{{true, ""}}},
		{"empty binaries", "b\x1eb", []parcel{{true, ""}, {true, ""}}},
		{"binary that contains the separator", "bHg==", []parcel{{true, "\x1e"}}},
		{"binary that looks like a close packet", "bMQ==", []parcel{{true, "1"}}},
		{"b behind a type is text", "4bAQID", []parcel{{false, "4bAQID"}}},
		{"UTF-8", "4€\U0001f600", []parcel{{false, "4€\U0001f600"}}},
		{"a line break is text", "4a\r\nb", []parcel{{false, "4a\r\nb"}}},
		{"types are not looked at", "0\x1e9x\x1eB", []parcel{{false, "0"}, {false, "9x"}, {false, "B"}}},
		{"both characters of standard base64 that others replace", "b+/+/", []parcel{{true, "\xfb\xff\xbf"}}},
	} {
		got, err := decodeAll([]byte(test.payload))
		kit.Check(t, err == nil && slices.Equal(got, test.want),
			"%s: got %v, %v, want %v", test.rule, got, err, test.want)
		var payload []byte
		for _, p := range test.want {
			payload = AppendPacket(payload, p.binary, []byte(p.packet))
		}
		kit.Want(t, string(payload), test.payload, test.rule, "encoded as")
	}
}

func TestPayloadMalformed(t *testing.T) {
	for _, test := range []struct {
		rule    string // of Engine.IO 4, "Packet encoding", "HTTP long-polling", unless it names another
		payload string
		want    []parcel
	}{
		{"empty payload", "", nil},
		{"separator alone", "\x1e", nil},
		{"empty packet first", "\x1e4a", nil},
		{"empty packet in the middle", "4a\x1e\x1e4b", []parcel{{false, "4a"}}},
		{"empty packet last", "4a\x1e", []parcel{{false, "4a"}}},
		{"no UTF-8 in the first packet", "4\xff", nil},
		{"no UTF-8 in the last packet: none is handed out", "4a\x1e4\xc3", nil},
		{"character cut by a separator", "4\xe2\x82\x1e4\xac", nil},
		{"surrogate", "4\xed\xa0\x80", nil},
		{"no base64", "4a\x1eb!!!\x1e4b", []parcel{{false, "4a"}}},
		{"RFC 4648 section 4: no padding", "bAQ", nil},
		{"RFC 4648 section 4: half the padding", "bAQ=", nil},
		{"RFC 4648 section 4: padding alone", "b====", nil},
		{"RFC 4648 section 4: too much padding", "bAQID====", nil},
		{"RFC 4648 section 4: padding inside", "bAQ==AQ==", nil},
		{"RFC 4648 section 4: one character", "bA", nil},
		{"RFC 4648 section 5: base64url", "b-_-_", nil},
		{"RFC 4648 section 3.3: line break inside", "bAQ\nID", nil},
		{"RFC 4648 section 3.3: line break behind", "bAQID\r\n", nil},
		{"RFC 4648 section 3.3: line break between padding", "bAQ=\n=", nil},
		{"RFC 4648 section 3.3: line break alone", "b\n", nil},
		{"RFC 4648 section 3.3: blank", "bAQ ID", nil},
		{"RFC 4648 section 3.5: bits behind one byte", "bAR==", nil},
		{"RFC 4648 section 3.5: bits behind two bytes", "bAQJ=", nil},
		{"the fault is in a long packet", "b" + strings.Repeat("AAAA", 100) + "A\nAAA", nil},
	} {
		got, err := decodeAll([]byte(test.payload))
		kit.Check(t, errors.Is(err, ErrParse) && slices.Equal(got, test.want),
			"%s: got %v, %v, want %v and a parse error", test.rule, got, err, test.want)
	}
}

func TestDecodePayloadStops(t *testing.T) {
	stop := errors.New("stop")
	var got []string
	err := DecodePayload([]byte("4a\x1e4b\x1e4c\x1e"), func(_ bool, packet []byte) error {
		got = append(got, string(packet))
		if len(got) == 2 {
			return stop
		}
		return nil
	})
	kit.Check(t, err == stop && slices.Equal(got, []string{"4a", "4b"}),
		"got %q, %v, want two packets and the error of the second", got, err)
}

// TestDecodePayloadOwned checks that each may do with its packet what it likes.
func TestDecodePayloadOwned(t *testing.T) {
	var got []string
	err := DecodePayload([]byte("4a\x1ebAQIDBA==\x1eb\x1e4b"), func(_ bool, packet []byte) error {
		got = append(got, string(packet))
		clear(packet)
		clear(append(packet, "overwritten"...))
		return nil
	})
	if want := []string{"4a", "\x01\x02\x03\x04", "", "4b"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestAppendPacketAppends(t *testing.T) {
	kit.Want(t, string(AppendPacket([]byte("0{}"), true, nil)), "0{}\x1eb",
		"(the payload, a separator and a binary packet)")
}

// manyPackets is a payload of n bytes with as many packets as possible.
func manyPackets(n int) []byte { return []byte(strings.Repeat("4\x1e", n/2)[:n-1]) }

// TestDecodePayloadMany takes the most packets that a payload of the usual limit has room for. Were each to cost the length of the
// payload, the test would take minutes.
func TestDecodePayloadMany(t *testing.T) {
	payload := manyPackets(1_000_000)
	packets := 0
	each := func(bool, []byte) error { packets++; return nil }
	allocs := testing.AllocsPerRun(1, func() {
		packets = 0
		kit.OK(t, DecodePayload(payload, each))
	})
	if packets != 500_000 || allocs != 0 {
		t.Errorf("got %d packets with %v allocations, want 500000 and none", packets, allocs)
	}
}

// FuzzDecodePayload checks that a payload that is accepted is the only encoding of its packets, and that of one that is refused no more is
// handed out than stands in front of the fault.
func FuzzDecodePayload(f *testing.F) {
	f.Add([]byte("4hello\x1e2\x1e4world"))
	f.Add([]byte("4hello\x1ebAQIDBA==\x1eb"))
	f.Add([]byte("4a\x1eb!!!\x1e4b"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		parcels, err := decodeAll(payload)
		var again []byte
		for _, p := range parcels {
			again = AppendPacket(again, p.binary, []byte(p.packet))
		}
		switch {
		case err == nil && !bytes.Equal(again, payload):
			t.Errorf("%q was accepted, but its packets are %q", payload, again)
		case err != nil && !errors.Is(err, ErrParse):
			t.Errorf("%q: got %v, want a parse error", payload, err)
		case err != nil && !bytes.HasPrefix(payload, again):
			t.Errorf("%q: got %q before the error, which is not in front of it", payload, again)
		case err != nil && !utf8.Valid(payload) && len(parcels) > 0:
			t.Errorf("%q: got %v although it is not UTF-8", payload, parcels)
		}
	})
}

// FuzzAppendPacket checks that what is encoded is decoded to the same packets, and that base64 is that of the standard library.
func FuzzAppendPacket(f *testing.F) {
	f.Add("hello", []byte{1, 2, 3, 4}, true)
	f.Add("", []byte{}, false)
	f.Add("b€", []byte("\x1e\x1e"), true)
	f.Fuzz(func(t *testing.T, text string, data []byte, binaryFirst bool) {
		if !utf8.ValidString(text) || strings.Contains(text, "\x1e") {
			return
		}
		want := []parcel{{false, "4" + text}, {true, string(data)}, {false, "4" + text}, {true, string(data)}}
		if binaryFirst {
			want = want[1:]
		}
		var payload []byte
		for _, p := range want {
			payload = AppendPacket(payload, p.binary, []byte(p.packet))
		}
		got, err := decodeAll(payload)
		kit.Check(t, err == nil && slices.Equal(got, want),
			"%q: got %v, %v, want %v", payload, got, err, want)
		kit.Check(t, bytes.HasSuffix(payload, []byte("\x1eb"+base64.StdEncoding.EncodeToString(data))),
			"got %q, want %q at the end, in base64", payload, data)
	})
}

func BenchmarkDecodePayload(b *testing.B) {
	var binary []byte
	for len(binary) < 900_000 {
		binary = AppendPacket(binary, true, bytes.Repeat([]byte{7}, 1000))
	}
	for _, bench := range []struct {
		name    string
		payload []byte
	}{
		{"many", manyPackets(1_000_000)},
		{"text", AppendPacket(nil, false, bytes.Repeat([]byte("4"), 1_000_000))},
		{"binary", binary},
	} {
		b.Run(bench.name, func(b *testing.B) {
			each := func(bool, []byte) error { return nil }
			payload := make([]byte, len(bench.payload))
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				copy(payload, bench.payload)
				kit.OK(b, DecodePayload(payload, each))
			}
		})
	}
}
