package packet

import (
	"encoding/json"
	"fmt"
)

// Args are the arguments of an Event, its name first, or of an Ack: checked JSON, and the
// attachments that it refers to. A [Decoder] or [Marshal] makes them; the zero value has none. Args
// are never modified, so copies may be used concurrently.
type Args struct {
	json     []byte // an array; nil means "[]"
	elements int
	attached *attached // nil if there are no attachments
}

type attached struct {
	attachments [][]byte
	marks       []mark // the placeholder of each attachment, in the order of the text
}

// ParseArgs returns the Args of a JSON array in which {"_placeholder":true,"num":i} stands for the
// i-th attachment, exactly once for each. It is for codecs. Args keep both slices, which must not
// be modified any more. The limit AttachmentBytes is ignored.
func ParseArgs(text []byte, attachments [][]byte, l *Limits) (Args, error) {
	if len(attachments) > l.attachments() {
		return Args{}, fmt.Errorf("%w: more than %d", ErrAttachments, l.attachments())
	}
	array, elements, marks, err := scanArgs(text, len(attachments), l)
	if err != nil {
		return Args{}, err
	}
	a := Args{json: array, elements: elements}
	if len(attachments) > 0 {
		a.attached = &attached{attachments: attachments, marks: marks}
	}
	return a, nil
}

// Len returns the number of arguments, including an event's name.
func (a Args) Len() int { return a.elements }

// JSON returns the text of the arguments as [ParseArgs] takes it. It must not be modified.
func (a Args) JSON() []byte {
	if a.json == nil {
		return []byte("[]")
	}
	return a.json
}

// Attachments returns the attachments that the placeholders in JSON refer to, by number; nil if
// there are none. They must not be modified.
func (a Args) Attachments() [][]byte {
	if a.attached == nil {
		return nil
	}
	return a.attached.attachments
}

// Placeholder returns where the i-th placeholder is, in the order of the text, not of the
// attachments: JSON()[start:end] stands for Attachments()[num]. There is one for each attachment.
// It is for codecs, such as wsserver/msgpack.
func (a Args) Placeholder(i int) (start, end, num int) {
	m := a.attached.marks[i]
	return m.start, m.end, m.num
}

// Decode converts the arguments into the values that dst points to, as json.Unmarshal does, the
// first argument into dst[0]. Further arguments are ignored, and a nil in dst skips one. If there
// are fewer arguments than dst, or one does not fit, Decode returns an error that wraps
// [ErrArgument] and names the argument by its number, counted from zero; the arguments before it
// have been converted.
//
// An attachment fits where encoding/json takes base64. A []byte receives its bytes, also inside
// structs, slices and maps, and so does an interface, as a []byte. A string, a json.RawMessage and
// a type with its own UnmarshalJSON or UnmarshalText receive base64. (Such a method may be called
// twice if the target also has interfaces.) All bytes are copies.
func (a Args) Decode(dst ...any) error { return a.decode(0, dst) }

// Values converts all arguments into nil, bool, float64, string, []byte, []any and map[string]any.
// It is for passing them on, and takes many times the memory of the text.
func (a Args) Values() ([]any, error) { return a.values(0) }

func (a Args) values(skip int) ([]any, error) {
	n := max(0, a.elements-skip)
	values, dst := make([]any, n), make([]any, n)
	for i := range values {
		dst[i] = &values[i]
	}
	if err := a.decode(skip, dst); err != nil {
		return nil, err
	}
	return values, nil
}

// decode is Decode for the arguments after the first skip ones. Errors count from the first one
// that was not skipped.
func (a Args) decode(skip int, dst []any) error {
	pos := 1
	for i := range skip + len(dst) {
		if i >= a.elements {
			if i < skip {
				continue
			}
			return fmt.Errorf("%w: %d is missing, there are %d", ErrArgument, i-skip, max(a.elements-skip, 0))
		}
		start, end := element(a.json, pos)
		pos = end
		for a.json[pos] != ',' && a.json[pos] != ']' {
			pos++
		}
		pos++
		if i < skip || dst[i-skip] == nil {
			continue
		}
		if err := a.decodeElement(start, end, dst[i-skip]); err != nil {
			return fmt.Errorf("%w: %d: %w", ErrArgument, i-skip, err)
		}
	}
	return nil
}

func (a Args) decodeElement(start, end int, dst any) error {
	text := a.json[start:end]
	if marks := a.marksIn(start, end); len(marks) > 0 {
		if d, ok := dst.(*[]byte); ok && d != nil && marks[0].start == start {
			*d = cloneBytes(a.attached.attachments[marks[0].num])
			return nil
		}
		t := injection{text: text, offset: start, marks: marks, attachments: a.attached.attachments}
		return t.decode(dst)
	}
	switch d := dst.(type) {
	case *string:
		if d != nil && text[0] == '"' {
			*d = unquote(text)
			return nil
		}
	case *json.RawMessage:
		if d != nil {
			*d = append((*d)[:0], text...)
			return nil
		}
	}
	return json.Unmarshal(text, dst)
}

// marksIn returns the placeholders in json[start:end].
func (a Args) marksIn(start, end int) []mark {
	if a.attached == nil {
		return nil
	}
	marks := a.attached.marks
	for len(marks) > 0 && marks[0].start < start {
		marks = marks[1:]
	}
	n := 0
	for n < len(marks) && marks[n].end <= end {
		n++
	}
	return marks[:n]
}

// name returns the first argument as the name of an event; empty if it cannot be one.
func (a Args) name() string {
	if a.elements == 0 {
		return ""
	}
	start, end := element(a.json, 1)
	switch c := a.json[start]; {
	case c == '"':
		return unquote(a.json[start:end])
	case c == '-' || digit(c):
		return numberName(a.json[start:end])
	}
	return ""
}

// checkName reports what keeps the arguments from being those of an event.
func (a Args) checkName() error {
	if a.elements == 0 {
		return fmt.Errorf("%w: none", ErrName)
	}
	start, end := element(a.json, 1)
	switch c := a.json[start]; {
	case c == '"':
		for _, name := range reserved {
			if means(a.json[start:end], name) {
				return ErrReserved
			}
		}
		return nil
	case c == '-' || digit(c):
		return nil
	}
	return fmt.Errorf("%w: neither a string nor a number", ErrName)
}

// cloneBytes copies b into memory of its own. Unlike with bytes.Clone, an empty copy is never nil,
// which JSON would call null.
func cloneBytes(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
