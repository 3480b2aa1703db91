package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

func TestBlob(t *testing.T) {
	long := []byte(strings.Repeat("x", 300))
	for _, e := range []Encoded{
		{Text: []byte(`2["x"]`)},
		{Text: long, Attachments: [][]byte{{}, long, []byte("b")}},
		{Text: []byte{}, Attachments: [][]byte{[]byte("all in one, as other codecs write it")}},
		{Text: []byte("t"), Attachments: make([][]byte, 10)},
	} {
		for i, a := range e.Attachments {
			if a == nil {
				e.Attachments[i] = []byte{}
			}
		}
		blob := e.AppendBlob([]byte("before"))[len("before"):]
		kit.Equal(t, e.BlobSize(), len(blob), "BlobSize of", e.Text)
		got, err := ParseBlob(blob, nil)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got %q, error %v, want %q", got, err, e)
		}
		for n := range blob {
			if _, err := ParseBlob(blob[:n], nil); !errors.Is(err, ErrBlob) {
				t.Errorf("first %d of %d bytes: got error %v, want %v", n, len(blob), err, ErrBlob)
			}
		}
		if _, err := ParseBlob(append(blob, 0), nil); !errors.Is(err, ErrBlob) {
			t.Errorf("one byte too many: got error %v, want %v", err, ErrBlob)
		}
	}
}

func TestParseBlobRefuses(t *testing.T) {
	varints := func(numbers ...uint64) []byte {
		var b []byte
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	for name, blob := range map[string][]byte{
		"empty":                      nil,
		"too many attachments":       append(varints(11, 0), make([]byte, 11)...),
		"attachments without bound":  varints(math.MaxUint64, 0),
		"text without bound":         varints(0, math.MaxUint64),
		"lengths that add up to one": append(varints(1, math.MaxUint64, 2), 'x'),
		"number in a longer form":    {0x80, 0x00, 0x00},
		"length in a longer form":    {0x00, 0x81, 0x00, 'x'},
		"number without end":         bytes.Repeat([]byte{0xff}, 20),
	} {
		if e, err := ParseBlob(blob, nil); !errors.Is(err, ErrBlob) {
			t.Errorf("%s: got %q, error %v, want %v", name, e, err, ErrBlob)
		}
	}
	e := Encoded{Attachments: make([][]byte, 11)}
	if _, err := ParseBlob(e.AppendBlob(nil), &Limits{Attachments: 11}); err != nil {
		t.Errorf("11 attachments within a limit of 11: %v", err)
	}
}

// A broadcast is encoded once and becomes on every node what it would have been with the node's ack id from the start.
func TestBlobWithID(t *testing.T) {
	for _, tt := range golden {
		p, err := decode(nil, tt.text, tt.attachments...)
		kit.OK(t, err, tt.text)
		if p.Type != Event {
			continue
		}
		origin := *p
		origin.ID, origin.HasID = 0, false
		e, err := JSON{}.Encode(&origin)
		kit.OK(t, err, tt.text)
		arrived, err := ParseBlob(e.AppendBlob(nil), nil)
		kit.OK(t, err, tt.text)
		p.ID, p.HasID = 123, true
		want, err := JSON{}.Encode(p)
		kit.OK(t, err, tt.text)
		if got, err := (JSON{}).WithID(arrived, 123); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, error %v, want %q", got, err, want)
		}
	}
}
