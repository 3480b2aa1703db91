package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// A mark is where a placeholder stands in the text of arguments, and the attachment that it stands
// for.
type mark struct {
	start, end int // text[start:end] is the placeholder's object
	num        int
}

// A scanner checks a JSON text (RFC 8259) in one pass. It is stricter than the RFC where JavaScript
// and Go would read different things: a number that no float64 holds is refused. The text must be
// valid UTF-8.
type scanner struct {
	text     []byte
	pos      int
	depth    int    // limit of open arrays and objects, without that of the arguments
	announce int    // attachments of the packet; 0 makes placeholders plain data
	marks    []mark // the placeholders found, in the order of the text
	seen     []bool // by attachment: there is a placeholder for it
}

// scanArgs checks that text is a JSON array within limits, in which each of the attachments has
// exactly one placeholder. It returns the array without what surrounds it, its number of elements
// and its placeholders.
func scanArgs(text []byte, attachments int, l *Limits) (array []byte, elements int, marks []mark, err error) {
	if !utf8.Valid(text) {
		return nil, 0, nil, ErrUTF8
	}
	if len(text) == 0 || text[0] != '[' {
		return nil, 0, nil, fmt.Errorf("%w: not an array", ErrPayload)
	}
	s := scanner{text: text, depth: l.depth(), announce: attachments}
	if attachments > len(text)/len(shortestPlaceholder) { // nothing is allocated for what a number in front of the text claims
		return nil, 0, nil, fmt.Errorf("%w: not for all attachments", ErrPlaceholder)
	}
	if attachments > 0 {
		s.seen = make([]bool, attachments)
		s.marks = make([]mark, 0, attachments)
	}
	elements, err = s.array(0, l.arguments())
	if err != nil {
		return nil, 0, nil, err
	}
	array = text[:s.pos]
	if err := s.end(); err != nil {
		return nil, 0, nil, err
	}
	if len(s.marks) != attachments {
		return nil, 0, nil, fmt.Errorf("%w: %d of %d attachments have one", ErrPlaceholder, len(s.marks), attachments)
	}
	return array, elements, s.marks, nil
}

const shortestPlaceholder = `{"_placeholder":true,"num":0}`

// scanValue checks that text is one JSON value within limits.
func scanValue(text []byte, l *Limits) error {
	if !utf8.Valid(text) {
		return ErrUTF8
	}
	s := scanner{text: text, depth: l.depth()}
	if err := s.value(1); err != nil {
		return err
	}
	return s.end()
}

func (s *scanner) invalid() error { return fmt.Errorf("%w: byte %d", ErrJSON, s.pos) }

// next skips white space and returns the byte that follows, or 0, which is no part of JSON, at the
// end.
func (s *scanner) next() byte {
	for ; s.pos < len(s.text); s.pos++ {
		if c := s.text[s.pos]; !space(c) {
			return c
		}
	}
	return 0
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (s *scanner) end() error {
	if s.next(); s.pos != len(s.text) {
		return s.invalid()
	}
	return nil
}

// value checks the value that begins at the next byte. depth is how many arrays and objects are
// open if the value is one, without that of the arguments.
func (s *scanner) value(depth int) error {
	switch c := s.next(); {
	case c == '"':
		return s.string()
	case c == '{':
		return s.object(depth)
	case c == '[':
		_, err := s.array(depth, math.MaxInt)
		return err
	case c == '-' || digit(c):
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.invalid()
}

func (s *scanner) array(depth, limit int) (elements int, err error) {
	if depth > s.depth {
		return 0, ErrDepth
	}
	s.pos++
	if s.next() == ']' {
		s.pos++
		return 0, nil
	}
	for {
		if elements == limit {
			return 0, ErrArguments
		}
		if err := s.value(depth + 1); err != nil {
			return 0, err
		}
		elements++
		switch s.next() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return elements, nil
		default:
			return 0, s.invalid()
		}
	}
}

func (s *scanner) object(depth int) error {
	if depth > s.depth {
		return ErrDepth
	}
	start := s.pos
	s.pos++
	if s.next() == '}' {
		s.pos++
		return nil
	}
	members, num, placeholder := 0, -1, false
	for {
		if s.next() != '"' {
			return s.invalid()
		}
		key := s.pos
		if err := s.string(); err != nil {
			return err
		}
		name := s.text[key:s.pos]
		if s.next() != ':' {
			return s.invalid()
		}
		s.pos++
		s.next()
		from := s.pos
		if err := s.value(depth + 1); err != nil {
			return err
		}
		members++
		if s.announce > 0 {
			value := s.text[from:s.pos]
			switch {
			case means(name, "_placeholder"):
				placeholder = placeholder || string(value) == "true"
			case means(name, "num"):
				num = index(value)
			}
		}
		switch s.next() {
		case ',':
			s.pos++
			continue
		case '}':
			s.pos++
		default:
			return s.invalid()
		}
		break
	}
	if !placeholder {
		return nil
	}
	// A JavaScript peer takes any object with a true _placeholder for one, so what has more or
	// fewer members is no plain data either.
	if members != 2 || num < 0 || num >= s.announce || s.seen[num] {
		return ErrPlaceholder
	}
	s.seen[num] = true
	s.marks = append(s.marks, mark{start, s.pos, num})
	return nil
}

// means reports whether a valid JSON string, however it is written, means name.
func means(quoted []byte, name string) bool {
	const longestEscape = len(`\u005f`)
	if raw := quoted[1 : len(quoted)-1]; bytes.IndexByte(raw, '\\') < 0 || len(raw) > longestEscape*len(name) {
		return string(raw) == name
	}
	return unquote(quoted) == name
}

// unquote is the string that a valid JSON string means.
func unquote(quoted []byte) string {
	if raw := quoted[1 : len(quoted)-1]; bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // a valid JSON string always becomes a Go string
	return s
}

// index is the number that text writes in plain digits, or -1.
func index(text []byte) int {
	const longest = 9
	if len(text) == 0 || len(text) > longest || text[0] == '0' && len(text) > 1 {
		return -1
	}
	n := 0
	for _, c := range text {
		if !digit(c) {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func (s *scanner) string() error {
	s.pos++
	for s.pos < len(s.text) {
		if s.pos += Plain(s.text[s.pos:]); s.pos == len(s.text) {
			break
		}
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return nil
		case '\\':
			if err := s.escape(); err != nil {
				return err
			}
		default:
			return s.invalid()
		}
	}
	return s.invalid()
}

func (s *scanner) escape() error {
	s.pos++
	if s.pos == len(s.text) {
		return s.invalid()
	}
	switch s.text[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if s.pos == len(s.text) || !hexDigit(s.text[s.pos]) {
				return s.invalid()
			}
			s.pos++
		}
		return nil
	}
	return s.invalid()
}

func hexDigit(c byte) bool { return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func digit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		return s.invalid()
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) number() error {
	start, exponent := s.pos, false
	if s.at() == '-' {
		s.pos++
	}
	if s.at() == '0' {
		s.pos++
	} else if !s.digits() {
		return s.invalid()
	}
	if s.at() == '.' {
		s.pos++
		if !s.digits() {
			return s.invalid()
		}
	}
	if s.at()|0x20 == 'e' {
		exponent = true
		s.pos++
		if c := s.at(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.invalid()
		}
	}
	const certainlyFinite = 308 // digits
	if exponent || s.pos-start > certainlyFinite {
		if _, err := strconv.ParseFloat(string(s.text[start:s.pos]), 64); err != nil {
			return fmt.Errorf("%w: number out of range at byte %d", ErrJSON, start)
		}
	}
	return nil
}

// at is the current byte, or 0 at the end.
func (s *scanner) at() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// digits skips digits and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.pos
	for digit(s.at()) {
		s.pos++
	}
	return s.pos > start
}
