package packet

import (
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// An extraction takes the byte slices out of a value: in a copy, a token stands for each.
// encoding/json writes a token as base64, which is then found in its text. So tags, embedding and
// all other rules of encoding/json need no second implementation. A token cannot be met by chance
// or by intent, as it is random for each extraction.
type extraction struct {
	nonce [24]byte // a multiple of 3, so that its base64 does not depend on what follows
	quote []byte   // the base64 of nonce behind a quotation mark
	found [][]byte // by number of the token
}

// numberSize is how many bytes of a token hold its number: their base64 has no padding either.
const numberSize = 3

func newExtraction() *extraction {
	x := new(extraction)
	_, _ = rand.Read(x.nonce[:]) // never fails
	x.quote = base64.StdEncoding.AppendEncode([]byte{'"'}, x.nonce[:])
	return x
}

// token returns what stands for b.
func (x *extraction) token(b []byte) []byte {
	n := len(x.found)
	x.found = append(x.found, b)
	return append(slices.Clone(x.nonce[:]), byte(n>>16), byte(n>>8), byte(n))
}

// cut splits text around the first token and returns the bytes that it stands for.
func (x *extraction) cut(text []byte) (before, b, after []byte, found bool) {
	before, after, found = bytes.Cut(text, x.quote)
	if !found {
		return text, nil, nil, false
	}
	var number [numberSize]byte
	width := base64.StdEncoding.EncodedLen(numberSize)
	_, _ = base64.StdEncoding.Decode(number[:], after[:width]) // encoding/json has just encoded it
	n := int(number[0])<<16 | int(number[1])<<8 | int(number[2])
	return before, x.found[n], after[width+len(`"`):], true
}

// copy returns a copy of v with tokens, which shares what cannot hold byte slices with v.
func (x *extraction) copy(v reflect.Value, steps int) (reflect.Value, error) {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c, x.edit(c, false, steps)
}

// edit replaces the byte slices in v, a copy, by tokens. What v refers to is copied before it is
// edited. addressable says whether encoding/json will be able to take v's address: it then sees
// methods of the pointer, too. steps says how deep to follow v.
func (x *extraction) edit(v reflect.Value, addressable bool, steps int) error {
	s := looksInto(v, addressable)
	if s == nil {
		return nil
	}
	if steps == 0 {
		return fmt.Errorf("%w, or %v contains itself", ErrDepth, v.Type())
	}
	switch v.Kind() {
	case reflect.Interface:
		c := reflect.New(v.Elem().Type()).Elem()
		c.Set(v.Elem())
		if err := x.edit(c, false, steps-1); err != nil {
			return err
		}
		v.Set(c)
	case reflect.Pointer:
		if !v.CanSet() {
			if holdsBytes(v, addressable, steps) {
				return fmt.Errorf("bytes behind an embedded pointer to %v, which is not exported", v.Type().Elem())
			}
			return nil
		}
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(v.Elem())
		if err := x.edit(c.Elem(), true, steps-1); err != nil {
			return err
		}
		v.Set(c)
	case reflect.Map:
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(it.Value())
			if err := x.edit(e, false, steps-1); err != nil {
				return err
			}
			c.SetMapIndex(it.Key(), e)
		}
		v.Set(c)
	case reflect.Slice:
		if s.bytes {
			return x.editBytes(v)
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		v.Set(c)
		return x.editElements(v, true, steps)
	case reflect.Array:
		return x.editElements(v, addressable, steps)
	case reflect.Struct:
		for _, f := range s.fields {
			if field := v.Field(f.index); !f.omits(field) {
				if err := x.edit(field, addressable, steps-1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (x *extraction) editBytes(v reflect.Value) error {
	if len(x.found) == 1<<(8*numberSize) {
		return ErrAttachments
	}
	v.SetBytes(x.token(v.Bytes()))
	return nil
}

func (x *extraction) editElements(v reflect.Value, addressable bool, steps int) error {
	for i := range v.Len() {
		if err := x.edit(v.Index(i), addressable, steps-1); err != nil {
			return err
		}
	}
	return nil
}

// looksInto returns the shape of v's type if encoding/json looks into v and might find byte slices
// there, otherwise nil.
func looksInto(v reflect.Value, addressable bool) *shape {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return nil
		}
	case reflect.Array, reflect.Struct:
	default:
		return nil
	}
	s := shapeOf(v.Type())
	if !s.holdsBytes || addressable && s.pointerMethods {
		return nil
	}
	return s
}

// holdsBytes reports whether there are byte slices in v that encoding/json would write as base64.
// It says so, too, of what is too deep.
func holdsBytes(v reflect.Value, addressable bool, steps int) bool {
	s := looksInto(v, addressable)
	if s == nil {
		return false
	}
	if s.bytes || steps == 0 {
		return true
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return holdsBytes(v.Elem(), v.Kind() == reflect.Pointer, steps-1)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if holdsBytes(it.Value(), false, steps-1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if holdsBytes(v.Index(i), addressable || v.Kind() == reflect.Slice, steps-1) {
				return true
			}
		}
	case reflect.Struct:
		for _, f := range s.fields {
			if holdsBytes(v.Field(f.index), addressable, steps-1) {
				return true
			}
		}
	}
	return false
}

// A shape is what encoding/json makes of a type, as far as byte slices are concerned.
type shape struct {
	bytes          bool    // it is written as base64
	holdsBytes     bool    // it may hold such slices; false for a type that writes itself
	pointerMethods bool    // it writes itself where it is addressable
	fields         []field // of a struct: those that may hold such slices
}

type field struct {
	index     int
	omitEmpty bool
	omitZero  bool
}

// omits reports whether encoding/json leaves out v, the field's value, though a token in its place
// would be written.
func (f field) omits(v reflect.Value) bool {
	if f.omitEmpty && v.Kind() == reflect.Slice && v.Len() == 0 {
		return true
	}
	if !f.omitZero || !v.CanInterface() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil() {
		return false
	}
	// As in encoding/json, the type of the field decides, not that of what an interface holds.
	if v.Type().Implements(zeroerType) {
		return v.Interface().(zeroer).IsZero()
	}
	z, ok := v.Addr().Interface().(zeroer)
	return ok && z.IsZero()
}

// A zeroer decides for itself whether the option omitzero leaves it out.
type zeroer interface{ IsZero() bool }

var shapes sync.Map // of reflect.Type to *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{
		bytes:          isBytes(t),
		holdsBytes:     reaches(t, classifyBytes, map[reflect.Type]bool{}),
		pointerMethods: t.Kind() != reflect.Pointer && writesItself(reflect.PointerTo(t)),
	}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			f := t.Field(i)
			if !written(f) || !reaches(f.Type, classifyBytes, map[reflect.Type]bool{}) {
				continue
			}
			_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			each := strings.Split(options, ",")
			s.fields = append(s.fields, field{i, slices.Contains(each, "omitempty"), slices.Contains(each, "omitzero")})
		}
	}
	actual, _ := shapes.LoadOrStore(t, s)
	return actual.(*shape)
}

var (
	zeroerType      = reflect.TypeFor[zeroer]()
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func writesItself(t reflect.Type) bool {
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}

// isBytes reports whether encoding/json writes t as base64.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !writesItself(t) && !writesItself(reflect.PointerTo(t.Elem()))
}

// written reports whether encoding/json may write the field, or fields of it.
func written(f reflect.StructField) bool {
	if f.Tag.Get("json") == "-" {
		return false
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.IsExported() || f.Anonymous && t.Kind() == reflect.Struct
}

// classifyBytes is for reaches: where there may be byte slices, and where encoding/json does not
// look.
func classifyBytes(t reflect.Type) (found, stop bool) {
	if writesItself(t) {
		return false, true
	}
	return isBytes(t) || t.Kind() == reflect.Interface, false
}

// reaches reports whether a value of type t may hold one whose type classify finds. classify also
// says where to stop looking.
func reaches(t reflect.Type, classify func(reflect.Type) (found, stop bool), seen map[reflect.Type]bool) bool {
	found, stop := classify(t)
	if found || stop || seen[t] {
		return found
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array:
		return reaches(t.Elem(), classify, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); written(f) && reaches(f.Type, classify, seen) {
				return true
			}
		}
	}
	return false
}
