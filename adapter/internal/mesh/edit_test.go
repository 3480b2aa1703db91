package mesh

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// An edit replaces one place in a function by text, in which $ stands for what was there. The place is the smallest of
// its sort that mentions all words: names, literals, or selectors such as p.low. Where several are as small, a last
// word such as #2 says which. So a fault survives whatever does not concern it, and one that has lost its place is an error.
type edit struct {
	places func(ast.Node) []ast.Node
	words  string
	text   string
}

func cond(words, text string) edit  { return edit{conditions, words, "(" + text + ")"} }
func expr(words, text string) edit  { return edit{expressions, words, "(" + text + ")"} }
func stmt(words, text string) edit  { return edit{statements, words, text} }
func value(words, text string) edit { return edit{nil, words, "(" + text + ")"} } // what is assigned to the first word

func never(words string) edit  { return cond(words, "false && $") }
func always(words string) edit { return cond(words, "true || $") }
func drop(words string) edit   { return stmt(words, "if false { $ }") }

// conditions are those of if, for and case, and the operands of && and ||.
func conditions(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.IfStmt:
		return []ast.Node{n.Cond}
	case *ast.ForStmt:
		if n.Cond != nil {
			return []ast.Node{n.Cond}
		}
	case *ast.CaseClause:
		return nodes(n.List)
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			return []ast.Node{n.X, n.Y}
		}
	}
	return nil
}

func statements(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.BlockStmt:
		return slices.DeleteFunc(nodes(n.List), func(n ast.Node) bool { _, ok := n.(*ast.CaseClause); return ok })
	case *ast.CaseClause:
		return nodes(n.Body)
	}
	return nil
}

// expressions are those that are more than a name: a call, not the function that is called.
func expressions(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.CallExpr, *ast.BinaryExpr, *ast.SliceExpr:
		return []ast.Node{n}
	case *ast.RangeStmt:
		return []ast.Node{n.X}
	}
	return nil
}

func nodes[N ast.Node](list []N) []ast.Node {
	all := make([]ast.Node, len(list))
	for i, n := range list {
		all[i] = n
	}
	return all
}

// source is the package without its tests.
type source struct {
	files *token.FileSet
	text  map[string]string   // by file
	decls map[string]ast.Node // functions as Machine.receive or bounded, and constants
}

var parsed = sync.OnceValues(func() (*source, error) {
	s := &source{files: token.NewFileSet(), text: make(map[string]string), decls: make(map[string]ast.Node)}
	names, err := filepath.Glob("*.go")
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(s.files, name, text, 0)
		if err != nil {
			return nil, err
		}
		s.text[name] = string(text)
		for _, decl := range file.Decls {
			s.declare(decl)
		}
	}
	return s, err
})

func (s *source) declare(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			receiver, _, _ := strings.Cut(strings.TrimPrefix(s.of(d.Recv.List[0].Type), "*"), "[")
			name = receiver + "." + name
		}
		s.decls[name] = d
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				s.decls[v.Names[0].Name] = v
			}
		}
	}
}

// of is the text of a node.
func (s *source) of(n ast.Node) string {
	from, end := s.files.Position(n.Pos()), s.files.Position(n.End())
	return s.text[from.Filename][from.Offset:end.Offset]
}

// find returns the one place of an edit.
func (s *source) find(decl ast.Node, e edit) (ast.Node, error) {
	words, nth := strings.Fields(e.words), 0
	if last := words[len(words)-1]; last[0] == '#' {
		words, nth = words[:len(words)-1], int(last[1]-'0')
	}
	places := e.places
	if target := words; places == nil {
		places, words = func(n ast.Node) []ast.Node { return s.assigned(n, target) }, nil
	}
	var found []ast.Node
	ast.Inspect(decl, func(n ast.Node) bool {
		for _, place := range places(n) {
			if s.mentions(place, words) && !slices.Contains(found, place) {
				found = append(found, place)
			}
		}
		return true
	})
	found = slices.DeleteFunc(slices.Clone(found), func(n ast.Node) bool {
		return slices.ContainsFunc(found, func(o ast.Node) bool { return o != n && n.Pos() <= o.Pos() && o.End() <= n.End() })
	})
	switch {
	case nth > 0 && nth <= len(found):
		return found[nth-1], nil
	case len(found) != 1 || nth != 0:
		return nil, fmt.Errorf("%d places mention %q, want 1", len(found), e.words)
	}
	return found[0], nil
}

// assigned are the values that a statement, a constant or a field of a literal gives to the first of words, if it mentions the others.
func (s *source) assigned(n ast.Node, words []string) (values []ast.Node) {
	is := func(target ast.Expr) bool {
		text := s.of(target)
		return (text == words[0] || strings.HasSuffix(text, "."+words[0])) && s.mentions(n, words[1:])
	}
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i := range n.Lhs {
			if len(n.Lhs) == len(n.Rhs) && is(n.Lhs[i]) {
				values = append(values, n.Rhs[i])
			}
		}
	case *ast.KeyValueExpr:
		if is(n.Key) {
			values = append(values, n.Value)
		}
	case *ast.ValueSpec:
		if len(n.Values) == 1 && is(n.Names[0]) {
			values = append(values, n.Values[0])
		}
	}
	return values
}

func (s *source) mentions(n ast.Node, words []string) bool {
	missing := slices.Clone(words)
	ast.Inspect(n, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.Ident, *ast.BasicLit, *ast.SelectorExpr:
			text := s.of(n)
			missing = slices.DeleteFunc(missing, func(word string) bool { return word == text })
		}
		return true
	})
	return len(missing) == 0
}

// edited returns a file with the edits in one of its declarations.
func (s *source) edited(in string, edits []edit) (name, text string, err error) {
	decl := s.decls[in]
	if decl == nil {
		return "", "", errors.New("there is no such function")
	}
	name = s.files.Position(decl.Pos()).Filename
	splices := make(map[int][2]string) // by offset: what is there, and instead
	for _, e := range edits {
		place, err := s.find(decl, e)
		if err != nil {
			return "", "", err
		}
		was := s.of(place)
		splices[s.files.Position(place.Pos()).Offset] = [2]string{was, strings.ReplaceAll(e.text, "$", was)}
	}
	text = s.text[name]
	end := len(text)
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(splices))) {
		if at+len(splices[at][0]) > end {
			return "", "", errors.New("one edit is within the other")
		}
		end = at
		text = text[:at] + splices[at][1] + text[at+len(splices[at][0]):]
	}
	return name, text, nil
}
