package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A given is the text that somebody gave for a setting.
type given struct {
	text   string
	source string // as in KeyError.Source
	rank   rank
}

// A rank says which of two texts counts: the higher one.
type rank int

const (
	fromFile rank = iota + 1
	fromEnv
	fromFlag
)

// A giving is all texts that count, by key, and what was wrong on the way.
type giving struct {
	book    *book
	texts   map[string]given
	errs    []error
	file    given // the path that -config or the environment names
	help    bool
	version bool
}

func (g *giving) wrong(err error) { g.errs = append(g.errs, err) }

// give notes a text. Of one rank, two are a mistake.
func (g *giving) give(key string, new given) {
	old, ok := g.texts[key]
	switch {
	case ok && old.rank == new.rank:
		g.wrong(&KeyError{Key: key, Source: new.source, Problem: "given twice, also by " + old.source, Want: "one of them"})
	case !ok || old.rank < new.rank:
		g.texts[key] = new
	}
}

// unknown notes a name that is no setting.
func (g *giving) unknown(source, name string, spell func(key string) string) {
	want := "one of those that -h lists"
	if near := nearest(name, append(g.book.keys(), "config")); near != "" {
		want = spell(near)
	}
	g.wrong(&KeyError{Source: source, Problem: "there is no such setting", Want: want})
}

// flags reads the command line. It repeats no argument but names, since there may be passwords.
func (g *giving) flags(args []string) {
	for i := 0; i < len(args); i++ {
		name, dashed := strings.CutPrefix(args[i], "-")
		name, _ = strings.CutPrefix(name, "-")
		if !dashed || name == "" {
			g.wrong(&KeyError{Source: fmt.Sprintf("argument %d", i+1), Problem: "it stands alone", Want: "flags only, such as -addr :8080"})
			continue
		}
		name, text, equals := strings.Cut(name, "=")
		if name == "h" || name == "help" {
			g.help = true
			continue
		}
		s := g.book.byKey[name]
		if s == nil && name == "version" {
			g.version = true
			continue
		}
		source := "flag -" + name
		if s == nil && name != "config" {
			g.unknown("flag "+quoteName("-"+name), name, func(key string) string { return "-" + key })
			if !equals && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++ // most likely its value
			}
			continue
		}
		switch isBool := s != nil && s.unit == bools; {
		case equals:
		case isBool && (i+1 == len(args) || !isBoolText(args[i+1])):
			text = "true"
		case i+1 == len(args):
			g.wrong(&KeyError{Key: name, Source: source, Problem: "its value is missing", Want: "-" + name + "=" + g.book.example(s)})
			continue
		default:
			i++
			text = args[i]
		}
		if s == nil {
			g.file = given{text, source, fromFlag}
			continue
		}
		g.give(name, given{text, source, fromFlag})
	}
}

func isBoolText(text string) bool {
	return slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "1", "0"}, strings.ToLower(text))
}

// example returns a value of a setting, nil for -config.
func (b *book) example(s *setting) string {
	switch {
	case s == nil:
		return b.name + ".yaml"
	case s.is(secret):
		return "..."
	}
	return cmp.Or(s.def, s.unit.name)
}

// quoteName returns the name of a flag or a key for an error, as it is if it is harmless.
func quoteName(name string) string {
	if len(name) < 64 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return name
	}
	return quote(name)
}

// linked is what Kubernetes and Docker set for services, and systemd for programs, by names that may
// begin like this program's.
var linked = regexp.MustCompile(`^(.*_)?(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|ENV_.+)$|^SOCKET$`)

// environ reads the environment.
func (g *giving) environ(environ []string) {
	prefix := variable(g.book.name) + "_"
	keys := make(map[string]string) // by variable
	for _, key := range append(g.book.keys(), "config") {
		keys[g.book.variable(key)] = key
	}
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, prefix)
		if !ours {
			continue
		}
		source := "environment variable " + quoteName(name)
		switch key, ok := keys[name]; {
		case key == "config":
			if g.file.rank == 0 && text != "" {
				g.file = given{text, source, fromEnv}
			}
		case ok && !(text == "" && g.book.byKey[key].unit != plainTexts):
			g.give(key, given{text, source, fromEnv})
		case !ok && !linked.MatchString(rest):
			g.unknown(source, rest, g.book.variable)
		}
	}
}
