package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/belfry-io/belfry/wsserver"
)

// A loaded is a program's settings, read once.
type loaded struct {
	book   *book
	values *values
	own    reflect.Value // a copy of the program's struct; invalid without one
	given  map[string]given
	embeds bool // the program has a NATS server
}

// define returns the settings of p with the values that the program's code gives them.
func define(p Program) (*loaded, error) {
	if !validKey(strings.ToLower(p.Name)) || strings.Contains(p.Name, ".") {
		return nil, fmt.Errorf("config: Program.Name is %q: want letters, digits and dashes", p.Name)
	}
	v := newValues(p)
	l := &loaded{values: v, embeds: p.Embedded != nil, book: &book{name: p.Name, byKey: make(map[string]*setting)}}
	for _, table := range tables {
		for _, row := range table.rows {
			if strings.HasPrefix(row.key, "log.") && p.Server.Logger != nil {
				continue
			}
			value := fieldOf(reflect.ValueOf(v).Elem(), row.field)
			s := &setting{row: row, group: table.name, unit: unitOf(value.Type()), value: value, zeroOK: row.zero == "" || row.zero == unbounded}
			if s.is(size) {
				s.unit = sizes
			}
			l.book.add(s)
		}
	}
	if p.Own != nil {
		own := reflect.ValueOf(p.Own)
		if own.Kind() != reflect.Pointer || own.IsNil() || own.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("config: Program.Own is a %T: want a pointer to a struct", p.Own)
		}
		l.own = reflect.New(own.Type().Elem()).Elem()
		l.own.Set(own.Elem())
		if err := l.book.addOwn(l.own, ""); err != nil {
			return nil, err
		}
	}
	for _, s := range l.book.settings {
		switch {
		case s.is(secret) && !s.value.IsZero() && s.value.String() != s.zero:
			s.def = "set by the program"
		case !s.is(secret):
			s.def = s.text()
		}
		s.def = cmp.Or(s.def, s.zero)
		if s.def == "" && s.unit == bools {
			s.def = "false"
		}
	}
	return l, nil
}

// load reads all of p's settings.
func load(p Program) (*loaded, error) {
	l, err := define(p)
	if err != nil {
		return nil, err
	}
	g := &giving{book: l.book, texts: make(map[string]given)}
	g.flags(p.Args)
	if g.help {
		return nil, &HelpError{Help: help(p, l.book)}
	}
	if g.version {
		return nil, &HelpError{Help: p.Name + " " + cmp.Or(p.Version, wsserver.Version()) + "\n"}
	}
	environ := p.Environ
	if environ == nil {
		environ = os.Environ()
	}
	g.environ(environ)
	if g.file.text != "" {
		g.readConfig()
	}
	l.given = g.texts
	l.read(g, l.book.byKey["adapter"])
	l.adapterParams(g)
	for _, s := range l.book.settings {
		if s.key != "adapter" && s.key != "adapter-file" {
			l.read(g, s)
		}
	}
	if len(g.errs) == 0 {
		l.check(g)
	}
	return l, errors.Join(g.errs...)
}

// read reads what was given for s.
func (l *loaded) read(g *giving, s *setting) {
	if s.twin != nil {
		l.readSecret(g, s)
		return
	}
	text, ok := l.given[s.key]
	if !ok {
		if s.is(need) && s.value.IsZero() {
			g.wrong(&KeyError{Key: s.key, Problem: "not set", Want: l.ways(s)})
		}
		return
	}
	err := s.read(text.text)
	if err == nil && s.is(file) && text.text != "" {
		_, err = readFile(text.text)
	}
	if err != nil {
		g.wrong(keyed(err, s.key, text.source))
	}
}

// readSecret reads a secret, or the file that has it. What is wrong is told without the text.
func (l *loaded) readSecret(g *giving, s *setting) {
	text, given := l.given[s.key]
	path, inFile := l.given[s.twin.key]
	switch {
	case given && inFile && text.rank == path.rank:
		g.wrong(&KeyError{Key: s.key, Source: text.source, Problem: "given twice, also by " + path.source, Want: "one of them"})
		return
	case given && inFile && text.rank > path.rank:
		delete(l.given, s.twin.key)
	case inFile:
		content, err := readFile(path.text)
		if err == nil && len(strings.TrimSpace(string(content))) == 0 {
			err = wrong(s.key+" in it", "file %s is empty", quoteName(path.text))
		}
		if err != nil {
			g.wrong(keyed(err, s.twin.key, path.source))
			return
		}
		s.twin.value.SetString(path.text)
		text, given = givenBy(strings.TrimRight(string(content), "\r\n"), path), true
		l.given[s.key] = text
	}
	switch {
	case given && text.text == "":
		g.wrong(&KeyError{Key: s.key, Source: text.source, Problem: "it is empty", Want: l.ways(s)})
	case given:
		s.value.SetString(text.text)
	case s.is(need) && s.value.IsZero():
		g.wrong(&KeyError{Key: s.key, Problem: "not set", Want: l.ways(s)})
	}
}

func givenBy(text string, by given) given {
	by.text = text
	return by
}

// ways names the ways to give s.
func (l *loaded) ways(s *setting) string {
	key := s.key
	if s.twin != nil {
		key = s.twin.key
	}
	return fmt.Sprintf("-%s, %s, or %s in the file", key, l.book.variable(key), key)
}

// source is who has given a key.
func (l *loaded) source(key string) string { return l.given[key].source }

// keyed is the function of this name, for a key that was given.
func (l *loaded) keyed(err error, key string) error { return keyed(err, key, l.source(key)) }

// wrong returns an error of a key that was given.
func (l *loaded) wrong(key, want, format string, args ...any) error {
	return l.keyed(wrong(want, format, args...), key)
}

// check notes what is wrong with settings together.
func (l *loaded) check(g *giving) {
	v := l.values
	if (v.TLS.Cert == "") != (v.TLS.Key == "") {
		have, missing := "tls.cert", "tls.key"
		if v.TLS.Cert == "" {
			have, missing = missing, have
		}
		g.wrong(l.wrong(have, missing+", too", "it is of no use without %s", missing))
	}
	for _, group := range []struct{ prefix, main string }{{"cors.", "cors.origins"}, {"cookie.", "cookie.name"}} {
		if l.book.byKey[group.main].value.IsZero() {
			for _, s := range l.book.settings {
				if _, ok := l.given[s.key]; ok && strings.HasPrefix(s.key, group.prefix) && s.key != group.main {
					g.wrong(l.wrong(s.key, group.main+", too", "it is of no use without %s", group.main))
				}
			}
		}
	}
	server := &v.Server
	if len(server.HTTP.CORS.Origins) == 0 {
		server.HTTP.CORS = nil
	}
	if server.HTTP.Cookie.Name == "" {
		server.HTTP.Cookie = nil
	}
	l.checkRecovery(g)
	l.checkServer(g, *server)
	l.checkNATS(g)
	l.checkEmbedded(g)
	if own, ok := l.ownCheck(); ok {
		if err := own.Check(); err != nil {
			for _, err := range lines(err) {
				g.wrong(l.ownError(err))
			}
		}
	}
}

// checkServer has wsserver check its Config, and names the settings of what it finds.
func (l *loaded) checkServer(g *giving, server wsserver.Config) {
	err := server.Check()
	if err == nil {
		return
	}
	for _, err := range lines(err) {
		field, problem, ok := strings.Cut(strings.TrimPrefix(err.Error(), "wsserver: Config."), ": ")
		if !ok {
			g.wrong(err)
			continue
		}
		key := l.keyOf(field)
		g.wrong(keyed(&mistake{l.inKeys(problem, key), wants[key]}, key, l.source(key)))
	}
}

// wants are what would be right where wsserver does not say it.
var wants = map[string]string{
	"limits.budget-bytes": "at least the larger of both",
	"limits.event-burst":  "limits.event-rate, too",
	"limits.byte-burst":   "limits.byte-rate, too",
	"limits.per-key":      "no such setting for this program",
}

// inKeys has the names of fields that a problem with key mentions as the keys of their settings.
func (l *loaded) inKeys(problem, key string) string {
	group, _, grouped := strings.Cut(key, ".")
	if !grouped {
		return problem
	}
	words := strings.Split(problem, " ")
	for i, word := range words {
		for _, s := range l.book.settings {
			if strings.HasPrefix(s.key, group+".") && s.field != "" && word == s.field[strings.LastIndexByte(s.field, '.')+1:] {
				words[i] = s.key
			}
		}
	}
	return strings.Join(words, " ")
}

// keyOf returns the setting of a field of wsserver.Config: of several the one that was given.
func (l *loaded) keyOf(field string) string {
	key := ""
	for _, s := range l.book.settings {
		if at := "Server." + field; s.field == at || strings.HasPrefix(s.field, at+".") {
			if _, given := l.given[s.key]; given {
				return s.key
			}
			key = cmp.Or(key, s.key)
		}
	}
	return cmp.Or(key, field)
}

// A checker is a program's own settings that check themselves.
type checker interface{ Check() error }

func (l *loaded) ownCheck() (checker, bool) {
	if !l.own.IsValid() {
		return nil, false
	}
	c, ok := l.own.Addr().Interface().(checker)
	return c, ok
}

// ownError adds who gave the key to a KeyError of the program's.
func (l *loaded) ownError(err error) error {
	if e, ok := errors.AsType[*KeyError](err); ok && e.Source == "" {
		named := *e
		named.Source = l.source(e.Key)
		return &named
	}
	return err
}

// commitOwn gives the program its own settings.
func (l *loaded) commitOwn(own any) {
	if l.own.IsValid() {
		reflect.ValueOf(own).Elem().Set(l.own)
	}
}
