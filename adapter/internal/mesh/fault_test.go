package mesh

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

var plant = flag.String("plant", "", "plant the faults whose name matches this `expression`, or all; each is a build of its own")

// TestPlantedFaults checks the checks: each fault of the table is planted into the package, and a test must fail.
func TestPlantedFaults(t *testing.T) {
	if *plant == "" {
		t.Skip("with -plant, as in .ci/run: each fault needs a build of its own")
	}
	command, err := exec.LookPath("go")
	if err != nil {
		need.Missing(t, "the go command", "add it to PATH")
	}
	wanted, err := regexp.Compile(*plant)
	kit.OK(t, err)
	planted := 0
	for _, f := range plantable {
		if *plant != "all" && !wanted.MatchString(f.name) {
			continue
		}
		planted++
		t.Run(f.name, func(t *testing.T) {
			binary := f.build(t, command)
			if f.setting != "" {
				fails(t, binary, "-test.run", "^TestWorlds$", "-setting", f.setting, "-worlds", fmt.Sprint(50+8*f.worlds))
			}
			if f.test != "" {
				fails(t, binary, "-test.run", "^("+f.test+")$")
			}
		})
	}
	if planted == 0 {
		t.Errorf("no fault has a name that matches %q: see plant_test.go and plant_nodes_test.go", *plant)
	}
}

// fails runs tests, of which one must fail, and logs what they say.
func fails(t *testing.T, binary string, args ...string) {
	output, err := exec.CommandContext(t.Context(), binary, append(args, "-test.timeout", "20m")...).CombinedOutput()
	switch text := string(output); {
	case err == nil:
		t.Errorf("%v: nothing has failed:\n%s", args, text)
	case !strings.Contains(text, "--- FAIL"):
		t.Errorf("%v: %v, and no failure of a test:\n%.2000s", args, err, text)
	default:
		for line := range strings.Lines(text) {
			if strings.Contains(line, "_test.go:") || strings.Contains(line, "replay with") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// TestFaultsFit fails when a fault does not find its place any more; where faults are to be planted, also when one does
// not compile.
func TestFaultsFit(t *testing.T) {
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "source", nil)
	for _, f := range plantable {
		name, text := f.planted(t)
		if *plant == "" {
			continue
		}
		var all []*ast.File
		for n, source := range sourceWith(t, name, text) {
			file, err := parser.ParseFile(files, n, source, 0)
			kit.OK(t, err, f.name)
			all = append(all, file)
		}
		if _, err := (&types.Config{Importer: imports}).Check("mesh", files, all, nil); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

// sourceWith is the package with the text of one file in place of its own.
func sourceWith(t *testing.T, name, text string) map[string]string {
	s, err := parsed()
	kit.OK(t, err)
	texts := maps.Clone(s.text)
	texts[name] = text
	return texts
}

// planted returns a file with the fault in it.
func (f *fault) planted(t *testing.T) (name, text string) {
	t.Helper()
	s, err := parsed()
	kit.OK(t, err)
	edits := []edit{f.edit}
	if f.also.words != "" {
		edits = append(edits, f.also)
	}
	name, text, err = s.edited(f.in, edits)
	kit.OK(t, err, f.name, f.in)
	return name, text
}

// build compiles the tests of the package with the fault in it.
func (f *fault) build(t *testing.T, command string) string {
	name, text := f.planted(t)
	path, err := filepath.Abs(name)
	kit.OK(t, err)
	dir := t.TempDir()
	planted := filepath.Join(dir, name)
	kit.OK(t, os.WriteFile(planted, []byte(text), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: planted}})
	kit.OK(t, err)
	overlayFile, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mesh.test")
	kit.OK(t, os.WriteFile(overlayFile, overlay, 0o600))
	build := exec.CommandContext(t.Context(), command, "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", binary, ".")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	return binary
}
