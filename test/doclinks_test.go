package test

import (
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocLinks: the links in the documentation of this module's packages lead somewhere, as go doc and pkg.go.dev resolve them: a
// name of the package itself, or of one that it imports.
func TestDocLinks(t *testing.T) {
	packages := documented(t)
	const notImported = "not imported"
	names := make(map[string]bool) // of the packages
	for importPath := range packages {
		names[path.Base(importPath)] = true
	}
	found := 0
	for importPath, p := range packages {
		links := p.Parser()
		here, imported := links.LookupSym, links.LookupPackage
		var text string
		links.LookupSym = func(recv, name string) bool {
			found++
			if !here(recv, name) {
				t.Errorf("%s: %q links to %s, which the package does not have", importPath, text, strings.TrimPrefix(recv+"."+name, "."))
			}
			return true
		}
		links.LookupPackage = func(name string) (string, bool) {
			if importPath, ok := imported(name); ok || !names[name] {
				return importPath, ok
			}
			return notImported, true
		}
		for _, text = range docTexts(p) {
			for _, link := range docLinks(links.Parse(text).Content) {
				switch other := packages[link.ImportPath]; {
				case link.ImportPath == notImported:
					t.Errorf("%s: %q links to a package that it does not import", importPath, text)
				case other != nil && link.Name != "" && !other.Parser().LookupSym(link.Recv, link.Name):
					t.Errorf("%s: %q links to %s in %s, which has no such name", importPath, text, link.Name, link.ImportPath)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("%d links were found, which is not all of them", found)
	}
}

// documented returns the packages of this module by their import paths.
func documented(t *testing.T) map[string]*doc.Package {
	t.Helper()
	packages := make(map[string]*doc.Package)
	err := filepath.WalkDir("..", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name != ".." && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
			return fs.SkipDir
		}
		in, err := build.ImportDir(dir, 0)
		if err != nil {
			return nil // no Go here
		}
		var files []*ast.File
		fset := token.NewFileSet()
		for _, name := range in.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		importPath := path.Join(module, filepath.ToSlash(strings.TrimPrefix(dir, "..")))
		packages[importPath], err = doc.NewFromFiles(fset, files, importPath)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// docTexts returns all comments that document what a package exports: fields and methods of interfaces have theirs, too.
func docTexts(p *doc.Package) []string {
	texts := []string{p.Doc}
	value := func(values []*doc.Value) {
		for _, v := range values {
			texts = append(texts, v.Doc)
		}
	}
	function := func(functions []*doc.Func) {
		for _, f := range functions {
			texts = append(texts, f.Doc)
		}
	}
	value(p.Consts)
	value(p.Vars)
	function(p.Funcs)
	for _, typ := range p.Types {
		texts = append(texts, typ.Doc)
		value(typ.Consts)
		value(typ.Vars)
		function(typ.Funcs)
		function(typ.Methods)
		ast.Inspect(typ.Decl, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				texts = append(texts, field.Doc.Text(), field.Comment.Text())
			}
			return true
		})
	}
	return texts
}

// docLinks returns the links to documentation in what a comment consists of.
func docLinks(blocks []comment.Block) (links []*comment.DocLink) {
	text := func(content []comment.Text) {
		for _, c := range content {
			if link, ok := c.(*comment.DocLink); ok {
				links = append(links, link)
			}
		}
	}
	for _, block := range blocks {
		switch b := block.(type) {
		case *comment.Paragraph:
			text(b.Text)
		case *comment.Heading:
			text(b.Text)
		case *comment.List:
			for _, item := range b.Items {
				links = append(links, docLinks(item.Content)...)
			}
		}
	}
	return links
}
