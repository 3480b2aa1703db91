package packet

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/belfry-io/belfry/test/kit"
)

func TestWithLast(t *testing.T) {
	const placeholder = `{"_placeholder":true,"num":0}`
	for _, tt := range []struct {
		text        string
		attachments int
		last        string
		want        string
		err         error
	}{
		{`2["x"]`, 0, "QFtz3a1k", `2["x","QFtz3a1k"]`, nil},
		{`2["x",1]`, 0, "", `2["x",1,""]`, nil},
		{`2["x",[[]]]`, 0, "s", `2["x",[[]],"s"]`, nil},
		{`2["x", "]" ]`, 0, `"\`, `2["x", "]" ,"\"\\"]`, nil},
		{`2/admin,["x","/a,1["]`, 0, "é😀", `2/admin,["x","/a,1[","é😀"]`, nil},
		{`51-["x",` + placeholder + `]`, 1, "s", `51-["x",` + placeholder + `,"s"]`, nil},
		{`51-/a,["x",` + placeholder + `]`, 1, placeholder,
			`51-/a,["x",` + placeholder + `,"{\"_placeholder\":true,\"num\":0}"]`, nil},
		{`2["x"]`, 0, "\xff", ``, ErrUTF8},
		{`21["x"]`, 0, "s", ``, ErrPayload},
		{`2[]`, 0, "s", ``, ErrPayload},
		{`2[ ]`, 0, "s", ``, ErrPayload},
		{`2[`, 0, "s", ``, ErrPayload},
		{`2["x"`, 0, "s", ``, ErrPayload},
		{`2]`, 0, "s", ``, ErrPayload},
		{`2/a`, 0, "s", ``, ErrPayload},
		{``, 0, "s", ``, ErrType},
		{`3["x"]`, 0, "s", ``, ErrType},
		{`2["x"]`, 1, "s", ``, ErrAttachments},
		{`51-["x"]`, 0, "s", ``, ErrAttachments},
	} {
		e := Encoded{Text: []byte(tt.text), Attachments: make([][]byte, tt.attachments)}
		got, err := JSON{}.WithLast(nil, e, []byte(tt.last))
		if !errors.Is(err, tt.err) || string(got.Text) != tt.want {
			t.Errorf("%s and %q: got %s, error %v, want %s, error %v", tt.text, tt.last, got.Text, err, tt.want, tt.err)
		}
		kit.Check(t, err != nil || len(got.Attachments) == tt.attachments, "%s: other attachments", tt.text)
		kit.Equal(t, string(e.Text), tt.text, tt.text, "with", tt.last)
	}
}

func TestEndsInString(t *testing.T) {
	const placeholder = `{"_placeholder":true,"num":0}`
	for text, want := range map[string]bool{
		`2["x"]`: true, `2/a,["x"]`: true, `2[1]`: false,
		`2["x",1]`: false, `2["x",null]`: false, `2["x",{"a":"b"}]`: false, `2["x",["b"]]`: false, `2["x",[]]`: false,
		`2["x",""]`: true, `2["x","\""]`: true, `2["x","\\"]`: true, `2["x","]"]`: true, "2[\"x\",\"]\" \n]": true, `2["x",{"a":"]"} ]`: false,
		`51-["x",` + placeholder + `]`: false, `51-["x",` + placeholder + `,"b"]`: true,
		`27["x"]`: false, `3["x"]`: false, `0{"sid":"x"}`: false, `4"x"`: false, ``: false, `2`: false, `2[`: false, `2[]`: false, `2["`: false, `2"x"]`: false,
	} {
		e := Encoded{Text: []byte(text)}
		if strings.Contains(text, placeholder) {
			e.Attachments = make([][]byte, 1)
		}
		kit.Equal(t, JSON{}.EndsInString(e), want, text)
	}
}

// FuzzLast holds WithLast to: the packet has one more argument, and what it was made of is as it
// was; and EndsInString to what the last argument is.
func FuzzLast(f *testing.F) {
	for _, tt := range golden {
		f.Add([]byte(tt.text), []byte(strings.Join(tt.attachments, "|")), "QFtz3a1k")
	}
	f.Add([]byte(`2/a,["x",[["\\"]," ] \"" ] , "\"" ]`), []byte{}, "\"\\\x00\u2028<&>")
	f.Add([]byte(`52-["x",[{"_placeholder":true,"num":1}],{"_placeholder":true,"num":0}]`), []byte("a"), `{"_placeholder":true,"num":0}`)
	f.Fuzz(func(t *testing.T, text, attachment []byte, last string) {
		p := decodeAll(JSON{}.NewDecoder(nil), Encoded{Text: text, Attachments: [][]byte{attachment, attachment}})
		if p == nil {
			_, _ = JSON{}.WithLast(nil, Encoded{Text: text}, []byte(last)) // neither panics
			_ = JSON{}.EndsInString(Encoded{Text: text})
			return
		}
		e := kit.Must(JSON{}.Encode(p))(t)
		kept := bytes.Clone(e.Text)
		got, err := JSON{}.WithLast(nil, e, []byte(last))
		kit.Require(t, bytes.Equal(e.Text, kept), "the encoded packet has been modified")
		if p.Type != Event || p.HasID || !utf8.ValidString(last) {
			kit.Check(t, err != nil, "%s takes %q", text, last)
			return
		}
		kit.OK(t, err, text)
		kit.Check(t, JSON{}.EndsInString(got), "%s does not end in a string", got.Text)
		values := kit.Must(p.Args.Values())(t)
		_, isString := values[len(values)-1].(string)
		kit.Equal(t, JSON{}.EndsInString(e), isString, string(e.Text))
		limits := Limits{Arguments: 1001}
		again := decodeAll(JSON{}.NewDecoder(&limits), got)
		kit.Require(t, again != nil, "%s is refused", got.Text)
		if all := kit.Must(again.Args.Values())(t); !reflect.DeepEqual(all, append(values, last)) {
			t.Errorf("%s and %q: got %#v", text, last, all)
		}
		p.Args, again.Args = Args{}, Args{}
		if !reflect.DeepEqual(again, p) {
			t.Errorf("%s: got another packet, %+v", text, again)
		}
	})
}

// WithLast copies the message once, however long it is.
func TestWithLastCopiesOnce(t *testing.T) {
	big := kit.Must(json.Marshal(strings.Repeat("a", 1<<20)))(t)
	e := Encoded{Text: append(append([]byte(`2["x",`), big...), ']')}
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := (JSON{}).WithLast(nil, e, []byte("QFtz3a1k")); err != nil || !(JSON{}).EndsInString(e) {
			t.Fatal("the event is refused:", err)
		}
	})
	kit.Equal(t, allocs, 1.0, "allocations")
}
