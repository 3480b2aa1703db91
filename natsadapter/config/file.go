package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// largestFile bounds files that are read, in bytes.
const largestFile = 1 << 20

// readFile returns what is in a file. Errors are mistakes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var info os.FileInfo
		if info, err = f.Stat(); err == nil && info.IsDir() {
			return nil, wrong("a file", "%s is a folder", quoteName(path))
		}
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, wrong(nearFile(path), "there is no file %s", quoteName(path))
	case errors.Is(err, os.ErrPermission):
		return nil, wrong("a file that this user may read (chmod, chown)", "file %s: permission denied", quoteName(path))
	case err != nil:
		return nil, wrong("a file that can be read", "file %s: %v", quoteName(path), errors.Unwrap(err))
	}
	text, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return nil, wrong("a file that can be read", "file %s: %v", quoteName(path), err)
	}
	if len(text) > largestFile {
		return nil, wrong("less than 1 MiB", "file %s is too large", quoteName(path))
	}
	return text, nil
}

// nearFile says what there is in the place of a file that is not there.
func nearFile(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return "a path that exists; its folder is not there either"
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if near := nearest(filepath.Base(path), names); near != "" {
		return filepath.Join(filepath.Dir(path), near)
	}
	return "the path of a file"
}

// readConfig reads a file of settings: YAML, and with it JSON, which is a part of YAML.
func (g *giving) readConfig(path string) {
	fail := func(err error) { g.wrong(keyed(err, "config", "")) }
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".yaml", ".yml", ".json", "":
	default:
		fail(wrong("a file in YAML or JSON: .yaml, .yml or .json", "files that end in %s are not understood", quoteName(ext)))
		return
	}
	text, err := readFile(path)
	if err != nil {
		fail(err)
		return
	}
	if strings.EqualFold(filepath.Ext(path), ".json") {
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" ")) // blanks in JSON, but not in YAML
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return // empty
	} else if err != nil {
		g.wrong(&KeyError{Source: quoteName(path), Problem: strings.TrimPrefix(err.Error(), "yaml: "),
			Want: "YAML, such as \"addr: :8080\" on a line"})
		return
	}
	var more yaml.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		g.wrong(&KeyError{Source: quoteName(path), Problem: "there is a second document behind ---", Want: "one"})
		return
	}
	g.mapping(path, "", doc.Content[0])
}

// mapping gives what stands in a mapping of the file. prefix is empty or ends in a dot.
func (g *giving) mapping(path, prefix string, node *yaml.Node) {
	source := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", quoteName(path), n.Line) }
	if node.Kind != yaml.MappingNode {
		g.wrong(&KeyError{Key: strings.TrimSuffix(prefix, "."), Source: source(node), Problem: "no settings stand here",
			Want: "keys with values, such as \"addr: :8080\""})
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		for value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		key := prefix + name.Value
		s := g.book.byKey[key]
		switch {
		case s == nil && g.begins(key+"."):
			g.mapping(path, key+".", value)
		case s == nil:
			g.unknown(source(name)+": "+quoteName(key), key, func(key string) string { return key })
		default:
			text, err := scalar(s, value)
			if err != nil {
				g.wrong(keyed(err, key, source(name)))
				continue
			}
			g.give(key, given{text, source(name), fromFile})
		}
	}
}

func (g *giving) begins(prefix string) bool {
	for _, s := range g.book.settings {
		if strings.HasPrefix(s.key, prefix) {
			return true
		}
	}
	return false
}

// scalar returns a value of the file as the text that a flag would have.
func scalar(s *setting, node *yaml.Node) (string, error) {
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return "", wrong("a value, or no such line", "it has no value")
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind == yaml.MappingNode:
		return "", wrong("one value", "there are keys below it")
	case !s.unit.list:
		return "", wrong("one value", "it is a list")
	}
	texts := make([]string, len(node.Content))
	for i, element := range node.Content {
		if element.Kind != yaml.ScalarNode || strings.Contains(element.Value, ",") {
			return "", wrong("plain values", "element %d of the list is none", i+1)
		}
		texts[i] = element.Value
	}
	return strings.Join(texts, ","), nil
}

// keyed returns err, a mistake or a KeyError, as the error of a key.
func keyed(err error, key, source string) error {
	e := &KeyError{Key: key, Source: source, Problem: err.Error(), Err: err}
	if m, ok := errors.AsType[*mistake](err); ok {
		e.Problem, e.Want, e.Err = m.problem, m.want, nil
	}
	return e
}
