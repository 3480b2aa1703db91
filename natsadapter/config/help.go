package config

import (
	"fmt"
	"slices"
	"strings"
)

// help returns what -h prints.
func help(p Program, b *book) string {
	var text strings.Builder
	if p.About != "" {
		fmt.Fprintf(&text, "%s\n\n", strings.TrimSpace(p.About))
	}
	fmt.Fprintf(&text, `Usage: %[1]s [-key value ...]

Each setting is a flag, an environment variable, or a key of the file that
-config or %[2]s names, in YAML or JSON: -log.level is %[3]s,
and "level:" below "log:". A flag counts before the environment, and that
before the file. Secrets may be in files of their own: see the keys in -file.
`, p.Name, b.variable("config"), b.variable("log.level"))
	section := func(name string, settings []*setting) {
		if len(settings) == 0 {
			return
		}
		fmt.Fprintf(&text, "\n%s:\n", name)
		for _, s := range settings {
			fmt.Fprintf(&text, "  -%s %s\n%s", s.key, s.unit.name, wrap(s.describe()))
		}
	}
	section("Common", b.common())
	for _, group := range b.groups() {
		section(group, b.rest(group))
	}
	text.WriteString("\n  -config file\n" + wrap("the file of settings") + "  -version\n" + wrap("the version") + "  -h\n" + wrap("this help"))
	return text.String()
}

func (b *book) common() []*setting {
	return slices.DeleteFunc(slices.Clone(b.settings), func(s *setting) bool { return !s.is(common) })
}

// groups are the names of the parts, the program's own first.
func (b *book) groups() []string {
	groups := []string{b.name}
	for _, s := range b.settings {
		if !slices.Contains(groups, s.group) {
			groups = append(groups, s.group)
		}
	}
	return groups
}

func (b *book) rest(group string) []*setting {
	return slices.DeleteFunc(slices.Clone(b.settings), func(s *setting) bool { return s.is(common) || s.group != group })
}

func (s *setting) describe() string {
	text := s.help
	if s.is(own) && s.choices != nil {
		text = strings.TrimSpace(text + " (" + orList(s.choices) + ")")
	}
	if s.is(need) && s.value.IsZero() {
		return text + " (must be given)"
	}
	if s.def != "" {
		text += " (default " + s.def + ")"
	}
	return text
}

// wrap breaks text into indented lines.
func wrap(text string) string {
	const width, indent = 80, "        "
	var out strings.Builder
	line := indent[1:]
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width && line != indent[1:] {
			out.WriteString(line + "\n")
			line = indent[1:]
		}
		line += " " + word
	}
	return out.String() + line + "\n"
}

// Markdown returns the table of all settings of p, for a document: see the guide of this project.
func Markdown(p Program) (string, error) {
	l, err := define(p)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	cell := strings.NewReplacer("|", "\\|", "*", "\\*", "<", "&lt;").Replace
	for _, group := range l.book.groups() {
		settings := slices.DeleteFunc(slices.Clone(l.book.settings), func(s *setting) bool { return s.group != group })
		if len(settings) == 0 {
			continue
		}
		fmt.Fprintf(&text, "\n### %s\n\n| key | environment | value | default | meaning |\n| --- | --- | --- | --- | --- |\n", group)
		for _, s := range settings {
			meaning := s.help
			if s.is(live) {
				meaning += "; a reload changes it"
			}
			def := s.def
			if s.is(need) {
				def = "must be given"
			}
			fmt.Fprintf(&text, "| `%s` | `%s` | %s | %s | %s |\n", s.key, l.book.variable(s.key), s.unit.name, cell(def), cell(meaning))
		}
	}
	return text.String(), nil
}
