package child

import (
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
)

// Program builds a command, by its path in this module, and returns the path of the executable. It looks for
// races if the test does. go run keeps what it links (go help run): the tests of all packages, and those of the
// next time, link a command once.
func Program(t *testing.T, command string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), path.Base(command)+".exe") // which only Windows asks for
	args := []string{"run", "-race=" + raced(), "-exec", "cp", "github.com/belfry-io/belfry/" + command, program}
	if runtime.GOOS == "windows" { // which has no cp
		args = []string{"build", "-race=" + raced(), "-o", program, "github.com/belfry-io/belfry/" + command}
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", command, err, out)
	}
	return program
}

// raced is whether this test looks for races.
func raced() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" {
				return s.Value
			}
		}
	}
	return "false"
}
