package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// addOwn adds the settings of a program's own struct. An error is a mistake of the program.
func (b *book) addOwn(v reflect.Value, prefix string) error {
	t := v.Type()
	for i := range t.NumField() {
		field := t.Field(i)
		key, named := field.Tag.Lookup("key")
		if !field.IsExported() {
			if named {
				return fmt.Errorf("config: field %s of Own has a key, and is not exported", field.Name)
			}
			continue
		}
		u := unitOf(field.Type)
		if field.Type.Kind() == reflect.Struct && u == nil {
			below := prefix
			if named {
				below += key + "."
			}
			if err := b.addOwn(v.Field(i), below); err != nil {
				return err
			}
			continue
		}
		if !named {
			continue
		}
		s := &setting{row: row{key: prefix + key, help: field.Tag.Get("help"), zero: field.Tag.Get("default"), traits: own | signed},
			group: b.name, unit: u, value: v.Field(i), zeroOK: true,
			least: field.Tag.Get("min"), most: field.Tag.Get("max")}
		for name, t := range map[string]trait{"secret": secret, "required": need, "common": common, "file": file} {
			if text, ok := field.Tag.Lookup(name); ok {
				if on, err := strconv.ParseBool(text); err != nil {
					return fmt.Errorf("config: field %s of Own: tag %s: want true", field.Name, name)
				} else if on {
					s.traits |= t
				}
			}
		}
		if choices := field.Tag.Get("choices"); choices != "" {
			s.choices = strings.Split(choices, ",")
		}
		if err := b.addField(s, field.Name); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) addField(s *setting, field string) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("config: field %s of Own: %s", field, fmt.Sprintf(format, args...))
	}
	switch {
	case s.unit == nil:
		return fail("%v cannot be given as text: want a basic type, a duration, config.Bytes, a list, or an encoding.TextUnmarshaler", s.value.Type())
	case !validKey(s.key):
		return fail("key %q: want small letters, digits, '-' and '.'", s.key)
	case s.is(secret) && s.unit != plainTexts:
		return fail("a secret is a string")
	}
	for _, key := range []string{s.key, s.key + "-file"} {
		if b.byKey[key] != nil && (key == s.key || s.is(secret)) {
			return fail("there is a setting %q already", key)
		}
	}
	for _, bound := range []string{s.least, s.most} {
		if bound != "" {
			if err := s.unit.parse(bound, reflect.New(s.value.Type()).Elem()); err != nil {
				return fail("the bound %q: %v", bound, err)
			}
		}
	}
	if s.zero != "" && s.value.IsZero() {
		if err := s.read(s.zero); err != nil {
			return fail("its default %q: %v", s.zero, err)
		}
	}
	b.add(s)
	return nil
}

func validKey(key string) bool {
	for part := range strings.SplitSeq(key, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' || strings.ContainsFunc(part, func(r rune) bool {
			return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
		}) {
			return false
		}
	}
	return true
}
