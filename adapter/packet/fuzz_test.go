package packet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/belfry-io/belfry/test/kit"
)

// FuzzDecoder holds the decoder to: it does not panic, and what it accepts is encoded and decoded again to the same.
func FuzzDecoder(f *testing.F) {
	for _, tt := range golden {
		f.Add([]byte(tt.text), []byte(strings.Join(tt.attachments, "|")), []byte("second"))
	}
	f.Add([]byte(`2["x",{"a":[1,-2.5e3,"\u00e9\n",null,true]}]`), []byte{}, []byte{})
	f.Add([]byte(`52-/a,7["x",{"_placeholder":true,"num":1},[{"num":0,"_placeholder":true}]]`), []byte("a"), []byte("b"))
	f.Fuzz(func(t *testing.T, text, first, second []byte) {
		p := decodeAll(JSON{}.NewDecoder(nil), Encoded{Text: text, Attachments: [][]byte{first, second}})
		if p == nil {
			return
		}
		if p.Namespace == "" || p.Namespace[0] != '/' {
			t.Errorf("namespace %q", p.Namespace)
		}
		if Reserved(p.Event()) {
			t.Errorf("reserved name %q", p.Event())
		}
		e, err := JSON{}.Encode(p)
		kit.OK(t, err, text, "cannot be encoded again")
		if !utf8.Valid(e.Text) {
			t.Errorf("%q is no UTF-8", e.Text)
		}
		again := decodeAll(JSON{}.NewDecoder(nil), e)
		if !reflect.DeepEqual(again, p) {
			t.Fatalf("decoded again:\n got %+v\nwant %+v", again, p)
		}
		values := make([]any, p.Args.Len())
		targets := make([]any, p.Args.Len())
		for i := range values {
			targets[i] = &values[i]
		}
		kit.OK(t, p.Args.Decode(targets...), text, "cannot become Go values")
		if p.Args.Attachments() == nil && p.Args.Len() > 0 {
			var want []any
			if err := json.Unmarshal(p.Args.JSON(), &want); err != nil || !reflect.DeepEqual(values, want) {
				t.Errorf("%q: got %#v, encoding/json has %#v, error %v", text, values, want, err)
			}
		}
		if p.Type != Event || p.HasID {
			return
		}
		withID, err := JSON{}.WithID(e, 7)
		kit.OK(t, err, e.Text, "takes no id")
		p.ID, p.HasID = 7, true
		if got := decodeAll(JSON{}.NewDecoder(nil), withID); !reflect.DeepEqual(got, p) {
			t.Errorf("with an id:\n got %+v\nwant %+v", got, p)
		}
	})
}

// decodeAll hands the messages to d, no more attachments than it awaits, and returns the packet, or nil.
func decodeAll(d Decoder, e Encoded) *Packet {
	p, err := d.Text(e.Text)
	for _, a := range e.Attachments {
		if p != nil || err != nil {
			break
		}
		p, err = d.Binary(a)
	}
	if err != nil {
		return nil
	}
	return p
}

// FuzzScan holds the scanner to the judgement of encoding/json.
func FuzzScan(f *testing.F) {
	for _, tt := range golden {
		f.Add([]byte(tt.want.Payload))
	}
	f.Add([]byte(` {"a" : [ -0.1E+1 , "\\\"\u12aF/" , false ] , "":{} } `))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := scanValue(text, nil)
		if errors.Is(err, ErrDepth) || err != nil && strings.Contains(err.Error(), "out of range") {
			return
		}
		if want := json.Valid(text) && utf8.Valid(text); (err == nil) != want {
			t.Errorf("%q: got error %v, encoding/json finds it valid: %v", text, err, want)
		}
	})
}

// FuzzBlob holds ParseBlob to: it does not panic, and what it accepts AppendBlob writes the same.
func FuzzBlob(f *testing.F) {
	for _, tt := range golden {
		e := Encoded{Text: []byte(tt.text)}
		for _, a := range tt.attachments {
			e.Attachments = append(e.Attachments, []byte(a))
		}
		f.Add(e.AppendBlob(nil))
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		e, err := ParseBlob(blob, nil)
		if err != nil {
			return
		}
		if len(e.Attachments) > 10 {
			t.Errorf("%d attachments", len(e.Attachments))
		}
		if got := e.AppendBlob(nil); !bytes.Equal(got, blob) || e.BlobSize() != len(blob) {
			t.Errorf("got %x of %d bytes, want %x", got, e.BlobSize(), blob)
		}
		if _, err := (JSON{}).WithID(e, 1); err == nil && len(e.Text) == 0 {
			t.Error("an empty text has got an id")
		}
	})
}

// FuzzMarshal holds values to come back as they were sent.
func FuzzMarshal(f *testing.F) {
	f.Add([]byte("\x07\x03\x05\x04abc\x06\x02\x04x\x05yz"))
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		seed := make([]byte, 60)
		for i := range seed {
			seed[i] = byte(random.IntN(10))
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		roundTrip(t, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		})
	})
}

func TestMarshalRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 5000 {
		roundTrip(t, random.IntN)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// roundTrip makes values of the choices and sends them: Marshal, Encode, a blob, a decoder, Decode.
func roundTrip(t *testing.T, choose func(n int) int) {
	t.Helper()
	g := generator{choose: choose, budget: 40}
	args := make([]any, choose(5))
	for i := range args {
		args[i] = g.value(0)
	}
	limits := &Limits{Attachments: 50}
	a, err := limits.Marshal(args...)
	attachments, placeholders := count(args)
	if forged := placeholders > 0 && attachments > 0; err != nil {
		if !forged || !errors.Is(err, ErrPlaceholder) {
			t.Fatalf("Marshal(%#v): %v", args, err)
		}
		return
	} else if forged {
		t.Fatalf("Marshal(%#v): a forged placeholder got through: %s", args, a.JSON())
	}
	kit.Equal(t, a.Len(), len(args), "arguments")
	kit.Equal(t, len(a.Attachments()), attachments, "attachments")
	e, err := JSON{}.Encode(&Packet{Type: Ack, HasID: true, ID: uint64(choose(100)), Args: a})
	kit.OK(t, err, "Encode")
	e, err = ParseBlob(e.AppendBlob(nil), limits)
	kit.OK(t, err, "ParseBlob")
	p := decodeAll(JSON{}.NewDecoder(limits), e)
	if p == nil {
		t.Fatalf("%q is refused", e.Text)
	}
	got := make([]any, len(args))
	targets := make([]any, len(args))
	for i := range got {
		targets[i] = &got[i]
	}
	kit.OK(t, p.Decode(targets...), "Decode", e.Text)
	if !reflect.DeepEqual(got, args) {
		t.Errorf("%s:\n got %#v\nwant %#v", e.Text, got, args)
	}
}

// A generator makes values that decode to themselves.
type generator struct {
	choose func(n int) int
	budget int // values that may still be made
}

func (g *generator) value(depth int) any {
	kinds := 8
	if g.budget--; depth > 6 || g.budget < 0 {
		kinds = 6
	}
	switch g.choose(kinds) {
	case 0:
		return nil
	case 1:
		return g.choose(2) == 1
	case 2:
		return float64(g.choose(256)) / 16 * float64(g.choose(1000)-500)
	case 3:
		return strings.Repeat(generated[g.choose(len(generated))], g.choose(3)) + generated[g.choose(len(generated))]
	case 4, 5:
		b := make([]byte, g.choose(70))
		for i := range b {
			b[i] = byte(g.choose(256))
		}
		return b
	case 6:
		list := make([]any, g.choose(5))
		for i := range list {
			list[i] = g.value(depth + 1)
		}
		return list
	}
	m := map[string]any{}
	for range g.choose(5) {
		m[generated[g.choose(len(generated))]] = g.value(depth + 1)
	}
	return m
}

// generated are strings that JSON, HTML, UTF-8 or this package treat in a special way.
var generated = []string{"", "a", `"`, `\`, "<script>&", "\n\x00\x1f", "é", "\u2028\u2029", "😀", "\ufffd", "_placeholder", "num", "connect", `{"_placeholder":true,"num":0}`, "AAAA"}

// count returns how many byte slices are in v, and how many maps that a peer would take for placeholders.
func count(v any) (slices, forged int) {
	switch v := v.(type) {
	case []byte:
		return 1, 0
	case []any:
		for _, e := range v {
			s, f := count(e)
			slices, forged = slices+s, forged+f
		}
	case map[string]any:
		if v["_placeholder"] == true {
			forged = 1
		}
		for _, e := range v {
			s, f := count(e)
			slices, forged = slices+s, forged+f
		}
	}
	return slices, forged
}

// Lengths in a blob are compared with what is there before anything is allocated for them.
func TestParseBlobAllocatesLittle(t *testing.T) {
	blob := binary.AppendUvarint(nil, 10)
	for range 11 {
		blob = binary.AppendUvarint(blob, 1<<40)
	}
	got := testing.AllocsPerRun(10, func() {
		if _, err := ParseBlob(blob, nil); err == nil {
			t.Fatal("lengths beyond the blob are accepted")
		}
	})
	const ofError = 6 // fmt keeps what it needs in pools, of which the race detector empties some
	if got > ofError {
		t.Errorf("got %v allocations, want those of the error alone", got)
	}
}
