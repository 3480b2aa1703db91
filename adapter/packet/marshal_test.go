package packet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func TestMarshalPlain(t *testing.T) {
	type tagged struct {
		A    int            `json:"a"`
		B    string         `json:",omitempty"`
		C    int            `json:"-"`
		D    [3]byte        `json:"d"`
		Time time.Time      `json:"t"`
		E    map[string]any `json:"e"`
	}
	ip := net.IPv4(1, 2, 3, 4)
	for _, tt := range []struct {
		args []any
		want string
	}{
		{nil, `[]`},
		{[]any{"a", 1, -5, 1.5, true, nil, int64(math.MaxInt64)}, `["a",1,-5,1.5,true,null,9223372036854775807]`},
		{[]any{`<a href="x">&</a>`, "é\u2028\n\\"}, `["<a href=\"x\">&</a>","é\u2028\n\\"]`},
		{[]any{map[string]any{"h": "<&>", "a": []any{1, nil, map[string]int{"x": 1}}}}, `[{"a":[1,null,{"x":1}],"h":"<&>"}]`},
		{[]any{[]byte(nil), namedBytes(nil), (*[]byte)(nil), [][]byte{nil}}, `[null,null,null,[null]]`},
		{[]any{json.RawMessage(`{"a":[1, "<"]}`), json.Number("1.50"), ip, &ip, netip.MustParseAddr("::1")}, `[{"a":[1,"<"]},1.50,"1.2.3.4","1.2.3.4","::1"]`},
		{[]any{tagged{A: 1, C: 2, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}, `[{"a":1,"d":[0,0,0],"t":"2026-01-02T03:04:05Z","e":null}]`},
		{[]any{[2]byte{1, 2}, []int8{1}}, `[[1,2],[1]]`},
		{[]any{map[string]any{"_placeholder": true, "num": 0}}, `[{"_placeholder":true,"num":0}]`},
	} {
		a, err := Marshal(tt.args...)
		if err != nil || string(a.JSON()) != tt.want || a.Len() != len(tt.args) || a.Attachments() != nil {
			t.Errorf("%v: got %s with %d attachments, error %v, want %s", tt.args, a.JSON(), len(a.Attachments()), err, tt.want)
		}
	}
}

// A Go string that is no UTF-8 must not reach a text message, however encoding/json writes the replacement.
func TestMarshalInvalidUTF8(t *testing.T) {
	var got string
	if err := mustMarshal(t, "a\xffb").Decode(&got); err != nil || got != "a\ufffdb" {
		t.Errorf("got %q, error %v, want %q", got, err, "a\ufffdb")
	}
}

// Types whose values hold bytes in every way that encoding/json follows, or does not follow.
type (
	byteLike   byte
	ownByte    byte
	ownBytes   []byte // writes itself
	ownPointer struct{ B []byte }
	ownStruct  struct{ B []byte }
	family     struct {
		B      []byte
		Parent *family `json:"-"`
	}
	zeroBytes  []byte
	zeroStruct struct{ B []byte }
	loop       struct {
		B    []byte
		Next *loop
	}
	hidden     struct{ H []byte }
	everything struct {
		Plain   []byte `json:"plain"`
		Skipped []byte `json:"-"`
		//lint:ignore SA5008 encoding/json writes this field, under the name "-".
		Dash      []byte `json:"-,"`
		Empty     []byte `json:"empty,omitempty"`
		Zero      []byte `json:"zero,omitzero"`
		ZeroNamed zeroBytes
		ZeroOmit  zeroBytes  `json:",omitzero"`
		ZeroIn    zeroStruct `json:",omitzero"`
		Like      []byteLike
		OwnElem   []ownByte
		Own       ownBytes
		OwnPtr    ownPointer
		Iface     any
		Array     [2][]byte
		private   []byte
		hidden
		*Loop
	}
	Loop struct{ L []byte }
)

func (ownByte) MarshalText() ([]byte, error)       { return []byte("own"), nil }
func (b ownBytes) MarshalJSON() ([]byte, error)    { return fmt.Appendf(nil, `"own %s"`, []byte(b)), nil }
func (p *ownPointer) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"pointer %s"`, p.B), nil }
func (s ownStruct) MarshalText() ([]byte, error)   { return fmt.Appendf(nil, `struct %s`, s.B), nil }
func (z zeroBytes) IsZero() bool                   { return len(z) == 0 }
func (z *zeroStruct) IsZero() bool                 { return len(z.B) == 0 }

func TestMarshalBytes(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	pb := b("p")
	ancestor := &family{B: b("x")}
	ancestor.Parent = ancestor // encoding/json does not follow it
	for _, tt := range []struct {
		arg         any
		want        string // # stands for the next placeholder
		attachments string
	}{
		{b("x"), `#`, "x"},
		{b(""), `#`, ""},
		{namedBytes("x"), `#`, "x"},
		{[]byteLike{'x'}, `#`, "x"},
		{&pb, `#`, "p"},
		{[]any{b("x"), []any{b("y")}, "s"}, `[#,[#],"s"]`, "x|y"},
		{map[string]any{"b": b("x"), "a": map[int][]byte{2: b("y"), 1: nil}}, `{"a":{"1":null,"2":#},"b":#}`, "y|x"},
		{[][]byte{b("x"), nil, b("y")}, `[#,null,#]`, "x|y"},
		{[1]any{b("x")}, `[#]`, "x"},
		{&loop{B: b("1"), Next: &loop{B: b("2")}}, `{"B":#,"Next":{"B":#,"Next":null}}`, "1|2"},
		{[]*[]byte{&pb, &pb}, `[#,#]`, "p|p"},
		{struct{ A, B any }{b("x"), json.RawMessage(`"eA=="`)}, `{"A":#,"B":"eA=="}`, "x"},
		{struct{ E error }{bytesError{b("x")}}, `{"E":{"B":#}}`, "x"},
		{[]ownPointer{{b("x")}}, `["pointer x"]`, ""},
		{map[string]ownPointer{"a": {b("x")}}, `{"a":{"B":#}}`, "x"},
		{ownPointer{b("x")}, `{"B":#}`, "x"},
		{&ownPointer{b("x")}, `"pointer x"`, ""},
		{[]any{ownStruct{b("x")}, &ownStruct{b("y")}, b("z")}, `["struct x","struct y",#]`, "z"},
		{ancestor, `{"B":#}`, "x"},
		{struct {
			*hidden
			B []byte
		}{&hidden{}, b("x")}, `{"H":null,"B":#}`, "x"},
		{struct {
			A any         `json:",omitzero"`
			P *zeroStruct `json:",omitzero"`
			N *zeroStruct `json:",omitzero"`
			Q *zeroStruct `json:",omitzero"`
			Z zeroer      `json:",omitzero"`
		}{A: zeroBytes{}, P: &zeroStruct{b("")}, Q: &zeroStruct{b("x")}, Z: zeroBytes{}}, `{"A":#,"Q":{"B":#}}`, "|x"},
		{struct {
			A []byte
			O ownPointer
		}{b("x"), ownPointer{b("y")}}, `{"A":#,"O":{"B":#}}`, "x|y"},
		{&struct {
			A []byte
			O ownPointer
		}{b("x"), ownPointer{b("y")}}, `{"A":#,"O":"pointer y"}`, "x"},
		{[]any{ownBytes("x"), []ownByte{1}, b("y")}, `["own x",["own"],#]`, "y"},
		{everything{}, `{"plain":null,"-":null,"ZeroNamed":null,"Like":null,"OwnElem":null,"Own":"own ","OwnPtr":{"B":null},"Iface":null,"Array":[null,null],"H":null}`, ""},
		{everything{Plain: b("1"), Skipped: b("no"), Dash: b("2"), Empty: b(""), Zero: b(""), ZeroNamed: zeroBytes{}, ZeroOmit: zeroBytes{}, ZeroIn: zeroStruct{b("")}, Like: []byteLike{'5'},
			OwnElem: []ownByte{1}, Own: ownBytes("it"), OwnPtr: ownPointer{b("6")}, Iface: b("7"), Array: [2][]byte{nil, b("8")}, private: b("no"), hidden: hidden{b("9")}, Loop: &Loop{b("10")}},
			`{"plain":#,"-":#,"zero":#,"ZeroNamed":#,"Like":#,"OwnElem":["own"],"Own":"own it","OwnPtr":{"B":#},"Iface":#,"Array":[null,#],"H":#,"L":#}`, "1|2|||5|6|7|8|9|10"},
		{&everything{Empty: b("1"), ZeroOmit: zeroBytes("2"), ZeroIn: zeroStruct{b("3")}, OwnPtr: ownPointer{b("it")}},
			`{"plain":null,"-":null,"empty":#,"ZeroNamed":null,"ZeroOmit":#,"ZeroIn":{"B":#},"Like":null,"OwnElem":null,"Own":"own ","OwnPtr":"pointer it","Iface":null,"Array":[null,null],"H":null}`, "1|2|3"},
		{struct {
			Shadowed
			B []byte
		}{Shadowed{b("no")}, b("x")}, `{"B":#}`, "x"},
	} {
		before := fmt.Sprintf("%+v", tt.arg)
		a, err := (&Limits{Attachments: 20}).Marshal("first", tt.arg)
		if err != nil {
			t.Errorf("%#v: %v", tt.arg, err)
			continue
		}
		want := `["first",` + tt.want + `]`
		for n := 0; strings.Contains(want, "#"); n++ {
			want = strings.Replace(want, "#", fmt.Sprintf(`{"_placeholder":true,"num":%d}`, n), 1)
		}
		var got []string
		for _, b := range a.Attachments() {
			got = append(got, string(b))
		}
		if string(a.JSON()) != want || strings.Join(got, "|") != tt.attachments {
			t.Errorf("%#v:\n got %s with %q\nwant %s with %q", tt.arg, a.JSON(), got, want, tt.attachments)
		}
		kit.Equal(t, fmt.Sprintf("%+v", tt.arg), before, "the caller's value")
	}
}

type bytesError struct{ B []byte }

func (bytesError) Error() string { return "" }

type Shadowed struct{ B []byte }

func TestMarshalCopies(t *testing.T) {
	b, nested := []byte("abc"), []any{[]byte("def")}
	a := mustMarshal(t, b, nested)
	b[0], nested[0].([]byte)[0] = 'X', 'X'
	if got := a.Attachments(); string(got[0]) != "abc" || string(got[1]) != "def" {
		t.Errorf("got %q, want abc and def as they were", got)
	}
}

// Values are not written to, also not for a moment, so they may be marshalled concurrently. The race detector sees it.
func TestMarshalConcurrently(t *testing.T) {
	v := map[string]any{"a": []any{&loop{B: []byte("x"), Next: &loop{B: []byte("y")}}}, "b": everything{Plain: []byte("z"), Loop: &Loop{[]byte("l")}}}
	want := string(mustMarshal(t, v).JSON())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if a, err := Marshal(v); err != nil || string(a.JSON()) != want {
					t.Errorf("got %s, error %v, want %s", a.JSON(), err, want)
				}
			}
		})
	}
	wg.Wait()
}

type unmarshalable struct{}

func (unmarshalable) MarshalJSON() ([]byte, error) { return nil, errUnmarshalable }

var errUnmarshalable = errors.New("will not")

func TestMarshalRefuses(t *testing.T) {
	selfSlice := []any{nil}
	selfSlice[0] = selfSlice
	selfMap := map[string]any{}
	selfMap["a"] = selfMap
	selfLoop := &loop{B: []byte("x")}
	selfLoop.Next = selfLoop
	var selfPointer any
	selfPointer = &selfPointer
	type plainLoop struct{ Next *plainLoop }
	plain := &plainLoop{}
	plain.Next = plain
	wide := make([]any, 2)
	wide[0], wide[1] = wide, wide
	var deep any = []byte("x")
	for range 1000 {
		deep = []any{deep}
	}
	var deeper any = 1
	for range 1001 {
		deeper = map[string]any{"a": deeper}
	}
	eleven := make([]any, 11)
	for i := range eleven {
		eleven[i] = []byte{}
	}
	for _, tt := range []struct {
		name string
		args []any
		want error
	}{
		{"slice in itself", []any{selfSlice}, ErrDepth},
		{"map in itself", []any{selfMap}, ErrDepth},
		{"struct in itself", []any{selfLoop}, ErrDepth},
		{"pointer to itself", []any{selfPointer}, ErrDepth},
		{"twice in itself", []any{wide}, ErrDepth},
		{"struct without bytes in itself", []any{plain}, ErrArgument},
		{"deep with bytes", []any{deep}, ErrDepth},
		{"deep", []any{deeper}, ErrDepth},
		{"many", make([]any, 1001), ErrArguments},
		{"many attachments", eleven, ErrAttachments},
		{"channel", []any{1, make(chan int)}, ErrArgument},
		{"function with bytes", []any{[]any{[]byte{}, func() {}}}, ErrArgument},
		{"not a number", []any{math.NaN()}, ErrArgument},
		{"no float64", []any{json.Number("1e999")}, ErrJSON},
		{"own error", []any{"x", unmarshalable{}}, errUnmarshalable},
		{"own error beside bytes", []any{[]any{unmarshalable{}, []byte{}}}, errUnmarshalable},
		{"raw message that is no JSON", []any{json.RawMessage("{")}, ErrArgument},
		{"raw message that is no UTF-8", []any{json.RawMessage("\"\xff\"")}, ErrUTF8},
		{"forged placeholder", []any{[]byte{}, map[string]any{"_placeholder": true, "num": 0}}, ErrPlaceholder},
		{"forged placeholder out of range", []any{json.RawMessage(`{"_placeholder":true,"num":5}`), []byte{}}, ErrPlaceholder},
		{"embedded pointer to what is not exported", []any{struct{ *hidden }{&hidden{[]byte{}}}}, ErrArgument},
	} {
		a, err := Marshal(tt.args...)
		if !errors.Is(err, tt.want) || a.Len() != 0 {
			t.Errorf("%s: got %.80s, error %v, want %v", tt.name, a.JSON(), err, tt.want)
		}
	}
	if a, err := Marshal(struct{ *hidden }{&hidden{}}); err != nil || string(a.JSON()) != `[{"H":null}]` {
		t.Errorf("embedded pointer without bytes: got %s, error %v", a.JSON(), err)
	}
	if _, err := Marshal("x", 1, make(chan int)); err == nil || !strings.Contains(err.Error(), "converted: 2: ") {
		t.Errorf("got %v, want an error that names argument 2", err)
	}
	if _, err := MarshalEvent("x", 1, make(chan int)); err == nil || !strings.Contains(err.Error(), "converted: 1: ") {
		t.Errorf("got %v, want an error that names argument 1", err)
	}
	limits := &Limits{Attachments: 11, Arguments: 2000, Depth: 5000}
	for name, args := range map[string][]any{"deep with bytes": {deep}, "deep": {deeper}, "many": make([]any, 1001), "many attachments": eleven} {
		if _, err := limits.Marshal(args...); err != nil {
			t.Errorf("%s within wider limits: %v", name, err)
		}
	}
}

func TestMarshalEvent(t *testing.T) {
	for _, name := range reserved {
		if _, err := MarshalEvent(name, 1); !errors.Is(err, ErrReserved) {
			t.Errorf("%s: got %v, want %v", name, err, ErrReserved)
		}
	}
	a, err := MarshalEvent("a\"<\n", []byte("x"))
	if err != nil || string(a.JSON()) != `["a\"<\n",{"_placeholder":true,"num":0}]` || a.Len() != 2 {
		t.Errorf("got %s, error %v", a.JSON(), err)
	}
}

// What the same pooled marshaler has written before, and where it failed, leaves no trace.
func TestMarshalAfterFailure(t *testing.T) {
	large := strings.Repeat("x", 100_000) // beyond what the pool keeps
	for range 10 {
		if _, err := Marshal([]byte("left"), "x", make(chan int)); err == nil {
			t.Fatal("a channel was marshalled")
		}
		if a := mustMarshal(t, large); a.Len() != 1 || len(a.JSON()) != len(large)+len(`[""]`) {
			t.Fatalf("got %d arguments in %d bytes", a.Len(), len(a.JSON()))
		}
		if a := mustMarshal(t, 1, []byte("right")); string(a.JSON()) != `[1,{"_placeholder":true,"num":0}]` || len(a.Attachments()) != 1 || string(a.Attachments()[0]) != "right" {
			t.Fatalf("got %s with %q", a.JSON(), a.Attachments())
		}
	}
}

func TestMarshalRoundTripTyped(t *testing.T) {
	data := []byte("pointer")
	want := mixed{Bytes: []byte("a"), Named: namedBytes{}, Pointer: &data, List: [][]byte{nil, []byte("b")}, Map: map[string][]byte{"k": []byte("c")}, Any: []byte("d"),
		Anys: []any{1.0, "s", []byte("e")}, Tree: map[string]any{"t": []any{[]byte("f")}}, Deep: []map[int]*struct{ A [1]any }{{7: {A: [1]any{[]byte("g")}}}},
		Text: "text", Raw: json.RawMessage(`[1]`), Quoted: "1", Checked: "abcd", At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), embedded: embedded{[]byte("i")}}
	var got mixed
	kit.OK(t, mustMarshal(t, json.RawMessage("0"), want).Decode(nil, &got))
	want.Quoted = `"1"`
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
