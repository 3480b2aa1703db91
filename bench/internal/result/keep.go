package result

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Dir is where results are kept, from the module's folder.
const Dir = "bench/results"

const day = "20060102T150405Z" // of a file's name, which sorts by it

// name is the file's: DATE-COMMIT.json, with "-modified" behind the commit of a working tree that is not its.
func (o Origin) name() string {
	name := o.Date.UTC().Format(day) + "-" + cmp.Or(o.Commit, "unknown")
	if o.Modified {
		name += "-modified"
	}
	return name + ".json"
}

// Save writes f into a folder, which it makes, and returns the path of the new file. It replaces none.
func Save(dir string, f *File) (path string, err error) {
	if err := f.Check(); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return "", fmt.Errorf("result: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("result: %w", err)
	}
	path = filepath.Join(dir, f.Origin.name())
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", fmt.Errorf("result: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("result: %w", errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

// Load reads a result: the file called name, or the newest in dir of the commit whose hash begins with name.
func Load(dir, name string) (*File, error) {
	path := name
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if path, err = find(dir, name); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	f := new(File)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("result: %s: %w", path, err)
	}
	if len(f.Scenarios) == 0 {
		return nil, fmt.Errorf("result: %s has no scenarios: it is no result of bench -peers", path)
	}
	return f, nil
}

// find is the path of the newest result of a commit.
func find(dir, beginning string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted by name, so by date
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("result: %w", err)
	}
	var path, commit string
	if beginning == "" {
		entries = nil // else it would be every commit's
	}
	for _, entry := range entries {
		_, rest, ok := strings.Cut(strings.TrimSuffix(entry.Name(), ".json"), "-")
		own, _, _ := strings.Cut(rest, "-")
		if !ok || own == "" || !strings.HasPrefix(own, beginning) || !strings.HasSuffix(entry.Name(), ".json") {
			continue
		}
		if commit != "" && own != commit {
			return "", fmt.Errorf("result: %s has results of commits %s and %s, which both begin with %q: want more of the hash",
				dir, commit, own, beginning)
		}
		path, commit = filepath.Join(dir, entry.Name()), own
	}
	if path == "" {
		return "", fmt.Errorf("result: no file %q, and no result in %s of a commit that begins so", beginning, dir)
	}
	return path, nil
}
