package packet

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"sync"
)

// An injection decodes one argument that refers to attachments. encoding/json reads base64 in place
// of the placeholders, which is right for every target but an interface, where a string would come
// out. So a first run finds out which attachments meet an interface; for those a token is read, and
// then replaced by the bytes. A token cannot be in the text already, as it is random.
type injection struct {
	text        []byte
	offset      int // of text in the text that marks refer to
	marks       []mark
	attachments [][]byte
}

func (t *injection) decode(dst any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || !holdsInterface(v.Type().Elem()) {
		return json.Unmarshal(t.substitute(func(n int) string { return t.base64(n) }), dst)
	}
	nonce := rand.Text()
	token := func(n int) string { return nonce + strconv.Itoa(n) }
	bytes := make(map[string][]byte, len(t.marks))
	for _, m := range t.marks {
		bytes[token(m.num)] = t.attachments[m.num]
	}

	trial := reflect.New(v.Type().Elem())
	_ = json.Unmarshal(t.substitute(token), trial.Interface()) // what is wrong, the second run finds too
	met := placement{bytes: bytes, placed: map[string]bool{}, visited: map[visit]bool{}}
	met.place(trial)

	text := t.substitute(func(n int) string {
		if met.placed[token(n)] {
			return token(n)
		}
		return t.base64(n)
	})
	if err := json.Unmarshal(text, dst); err != nil {
		return err
	}
	final := placement{bytes: bytes, placed: map[string]bool{}, visited: map[visit]bool{}}
	final.place(v)
	if len(final.placed) != len(met.placed) {
		return errUnplaced
	}
	return nil
}

func (t *injection) base64(n int) string { return base64.StdEncoding.EncodeToString(t.attachments[n]) }

// substitute returns the text with a JSON string for each placeholder. with returns the string for
// the attachment n; it needs no escapes.
func (t *injection) substitute(with func(n int) string) []byte {
	var out []byte
	rest := 0
	for _, m := range t.marks {
		out = append(out, t.text[rest:m.start-t.offset]...)
		out = append(out, '"')
		out = append(out, with(m.num)...)
		out = append(out, '"')
		rest = m.end - t.offset
	}
	return append(out, t.text[rest:]...)
}

var errUnplaced = errors.New("attachment for an interface that holds a pointer")

// A placement replaces the tokens that encoding/json has stored in interfaces by bytes.
type placement struct {
	bytes   map[string][]byte // by token
	placed  map[string]bool
	visited map[visit]bool // the target may have been filled by its owner, with cycles
}

type visit struct {
	at     uintptr
	length int
	typ    reflect.Type
}

func (p *placement) place(v reflect.Value) {
	if !holdsInterface(v.Type()) {
		return // a type that reads itself keeps what it has read
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return
		}
		key := visit{at: v.Pointer(), typ: v.Type()}
		if v.Kind() == reflect.Slice {
			key.length = v.Len()
		}
		if p.visited[key] {
			return
		}
		p.visited[key] = true
	}
	switch v.Kind() {
	case reflect.Interface:
		p.placeInterface(v)
	case reflect.Pointer:
		p.place(v.Elem())
	case reflect.Map:
		p.placeMap(v)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			p.place(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if written(v.Type().Field(i)) {
				p.place(v.Field(i))
			}
		}
	}
}

func (p *placement) placeInterface(v reflect.Value) {
	if v.IsNil() || !v.CanSet() {
		return
	}
	s, ok := v.Interface().(string)
	if !ok {
		p.place(v.Elem())
		return
	}
	if b, ok := p.bytes[s]; ok && v.NumMethod() == 0 {
		p.placed[s] = true
		v.Set(reflect.ValueOf(cloneBytes(b)))
	}
}

func (p *placement) placeMap(v reflect.Value) {
	for it := v.MapRange(); it.Next(); {
		e := reflect.New(v.Type().Elem()).Elem()
		e.Set(it.Value())
		before := len(p.placed)
		if p.place(e); len(p.placed) > before {
			v.SetMapIndex(it.Key(), e)
		}
	}
}

var interfaceHolders sync.Map // of reflect.Type to bool

// holdsInterface reports whether encoding/json may store into an interface inside a value of type
// t.
func holdsInterface(t reflect.Type) bool {
	if holds, ok := interfaceHolders.Load(t); ok {
		return holds.(bool)
	}
	holds := reaches(t, classifyInterface, map[reflect.Type]bool{})
	interfaceHolders.Store(t, holds)
	return holds
}

// classifyInterface is for reaches: interfaces, except where the type reads itself.
func classifyInterface(t reflect.Type) (found, stop bool) {
	if t.Kind() == reflect.Interface {
		return true, true
	}
	p := reflect.PointerTo(t)
	return false, p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}
