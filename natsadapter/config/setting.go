package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// A row describes a setting in a table.
type row struct {
	key     string
	field   string // of values, such as "Server.Limits.MaxPayload"
	help    string
	zero    string // the default, as text; for a number or a duration of wsserver.Config, what zero means
	traits  trait
	choices []string
	least   string // with most, the bounds of a number; empty for none
	check   func(text string) error // of each text, before it is read; an error is a mistake
}

type trait uint

const (
	common trait = 1 << iota // in the first part of the help
	secret                   // never printed; "<key>-file" names a file that has it
	live                     // changed by a reload
	size                     // an int that is bytes
	file                     // the path of a file, which must be there
	need                     // must be given
	signed                   // may be below zero
	own                      // of the program's own struct
)

// A setting is one value that an operator can give.
type setting struct {
	row
	group  string
	unit   *unit
	value  reflect.Value // settable
	def    string        // the default as text: the program's, or row.zero
	zeroOK bool          // zero is a value like others, and does not mean the default
	twin   *setting      // of a secret: the file that has it
	most   string
}

func (s *setting) is(t trait) bool { return s.traits&t != 0 }

// A book is all settings of a program.
type book struct {
	name     string // the program's
	settings []*setting
	byKey    map[string]*setting
}

func (b *book) add(s *setting) {
	b.settings = append(b.settings, s)
	b.byKey[s.key] = s
	if s.is(secret) {
		s.twin = &setting{group: s.group, unit: plainTexts, value: reflect.New(reflect.TypeFor[string]()).Elem(), zeroOK: true,
			row: row{key: s.key + "-file", help: "a file that has " + s.key, traits: file}}
		b.settings = append(b.settings, s.twin)
		b.byKey[s.twin.key] = s.twin
	}
}

// variable returns the environment variable of a key.
func (b *book) variable(key string) string { return variable(b.name) + "_" + variable(key) }

func variable(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		if 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, text)
}

func (b *book) keys() []string {
	keys := make([]string, len(b.settings))
	for i, s := range b.settings {
		keys[i] = s.key
	}
	return keys
}

// read gives the setting the value of text.
func (s *setting) read(text string) error {
	texts := []string{text}
	if s.unit.list {
		texts = slices.DeleteFunc(strings.Split(text, ","), func(t string) bool { return strings.TrimSpace(t) == "" })
	}
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if s.choices != nil && !slices.Contains(s.choices, text) {
			problem := quote(text)
			if near := nearest(text, s.choices); near != "" {
				problem += " (" + near + "?)"
			}
			return wrong(orList(s.choices), "%s", problem)
		}
		if s.check != nil {
			if err := s.check(text); err != nil {
				return err
			}
		}
	}
	if !s.unit.list && s.unit != plainTexts {
		text = strings.TrimSpace(text)
		if text == "" {
			return wrong(cmp.Or(s.def, "a value"), "the value is empty")
		}
	}
	v := reflect.New(s.value.Type()).Elem()
	if err := s.unit.parse(text, v); err != nil {
		return err
	}
	if err := s.bounds(v, text); err != nil {
		return err
	}
	s.value.Set(v)
	return nil
}

// bounds returns what is wrong with the number v.
func (s *setting) bounds(v reflect.Value, text string) error {
	if s.unit != numbers && s.unit != sizes && s.unit != durations && s.unit != decimals {
		return nil
	}
	n := number(v)
	if n < 0 && !s.is(signed) && s.least == "" {
		return wrong("0 or more", "%s is negative", quote(text))
	}
	if n == 0 && !s.zeroOK {
		return wrong("more than 0, or nothing for the default of "+s.def, "0 is no value of this setting")
	}
	for _, bound := range []struct {
		text string
		sign float64
		word string
	}{{s.least, -1, "at least"}, {s.most, 1, "at most"}} {
		if bound.text == "" || n == 0 && s.zero == unbounded {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if err := s.unit.parse(bound.text, limit); err == nil && (n-number(limit))*bound.sign > 0 {
			return wrong(bound.word+" "+bound.text, "%s is out of range", quote(text))
		}
	}
	return nil
}

func number(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return v.Float()
}

// text returns the setting's value for the help or a comparison. It may be a secret.
func (s *setting) text() string {
	if s.value.IsZero() {
		return ""
	}
	return s.unit.print(s.value)
}

func orList(texts []string) string {
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " or " + texts[len(texts)-1]
}
