package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// What carries a peer's messages between its nodes.
const (
	brokerRedis = "redis"
	brokerNATS  = "nats"
)

// The protocols that peers speak with their clients.
const (
	dialectSocketIO   = "socket.io"
	dialectCentrifuge = "centrifuge"
)

// A peerProgram is a server that belfry is compared with. Its source is in peers, whose README.md says
// which application it has, and what it prints.
type peerProgram struct {
	Key     string // in flags and files
	Name    string // shown to people
	Dialect string
	Broker  string // of its cluster; empty if it is one node alone

	adapter  string   // the adapter of the program in peers/node; empty if it is not of that
	side     string   // the side of the program in peers/go; empty if it is not of that
	packages []string // what it is made of, as package.json or go.mod name it; the first is what it is
}

// peerPrograms are all peers, in the order in which they are shown.
var peerPrograms = []peerProgram{
	{Key: "socket.io", Name: "socket.io, memory adapter", Dialect: dialectSocketIO,
		adapter: "memory", packages: []string{"socket.io"}},
	{Key: "socket.io-redis", Name: "socket.io, Redis adapter", Dialect: dialectSocketIO, Broker: brokerRedis,
		adapter: "redis", packages: []string{"socket.io", "@socket.io/redis-adapter", "redis"}},
	{Key: "socket.io-sharded", Name: "socket.io, sharded Redis adapter", Dialect: dialectSocketIO, Broker: brokerRedis,
		adapter: "sharded", packages: []string{"socket.io", "@socket.io/redis-adapter", "redis"}},
	{Key: "socket.io-streams", Name: "socket.io, Redis Streams adapter", Dialect: dialectSocketIO, Broker: brokerRedis,
		adapter: "streams", packages: []string{"socket.io", "@socket.io/redis-streams-adapter", "redis"}},
	{Key: "socket.io-nats", Name: "socket.io, NATS adapter", Dialect: dialectSocketIO, Broker: brokerNATS,
		adapter: "nats", packages: []string{"socket.io", "@mickl/socket.io-nats-adapter", "nats"}},
	{Key: "zishang", Name: "zishang520/socket.io", Dialect: dialectSocketIO,
		side: "zishang", packages: []string{"github.com/zishang520/socket.io/servers/socket/v3"}},
	{Key: "centrifuge", Name: "centrifuge, memory broker", Dialect: dialectCentrifuge,
		side: "centrifuge", packages: []string{"github.com/centrifugal/centrifuge"}},
	{Key: "centrifuge-redis", Name: "centrifuge, Redis broker", Dialect: dialectCentrifuge, Broker: brokerRedis,
		side: "centrifuge", packages: []string{"github.com/centrifugal/centrifuge", "github.com/redis/rueidis"}},
}

// A missingPart is the error that something is not installed. Mend says how to get it.
type missingPart struct {
	Part, Mend string
	Err        error // why it could not be had; nil if it was only looked for
}

func (m *missingPart) Error() string {
	if m.Err != nil {
		return fmt.Sprintf("%s is not installed: %v: %s", m.Part, m.Err, m.Mend)
	}
	return fmt.Sprintf("%s is not installed: %s", m.Part, m.Mend)
}

func (m *missingPart) Unwrap() error { return m.Err }

// find is the path of a program.
func find(name, mend string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &missingPart{Part: name, Mend: mend}
	}
	return path, nil
}

// A peerShop makes peers ready to start, each part when it is first needed, and once. Its methods are
// called from one goroutine.
type peerShop struct {
	progress io.Writer
	temp     string // holds what is built; empty until there is something

	node, golang made
}

// made is the path of something that was tried once, or why it could not be made.
type made struct {
	tried bool
	path  string
	err   error
}

func (m *made) once(try func() (string, error)) (string, error) {
	if !m.tried {
		m.path, m.err = try()
		m.tried = true
	}
	return m.path, m.err
}

// newPeerShop tells progress, a line each, what takes long. close must be called.
func newPeerShop(progress io.Writer) *peerShop { return &peerShop{progress: progress} }

// close removes what was built, after the peers have ended. What comes from npm stays in the user's cache.
func (s *peerShop) close() error {
	if s.temp == "" {
		return nil
	}
	return os.RemoveAll(s.temp)
}

// command is the command of a peer's server, not started: the caller connects its standard input, with whose
// end the server ends, its output and errors. broker is the URL of the cluster's broker, empty if p has none.
// The process ends with ctx at the latest. more are further flags.
func (s *peerShop) command(ctx context.Context, p peerProgram, broker string, more ...string) (*exec.Cmd, error) {
	if (broker == "") != (p.Broker == "") {
		return nil, fmt.Errorf("%s: got the broker %q, and its kind is %q", p.Name, broker, p.Broker)
	}
	if p.adapter == "" {
		path, err := s.golang.once(func() (string, error) { return s.build(ctx) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		args := []string{"-side", p.side}
		if broker != "" {
			args = append(args, "-"+p.Broker, broker)
		}
		return exec.CommandContext(ctx, path, append(args, more...)...), nil
	}
	dir, err := s.node.once(func() (string, error) { return s.install(ctx) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	args := []string{filepath.Join(dir, "server.mjs"), "--adapter", p.adapter}
	if broker != "" {
		args = append(args, "--broker", broker)
	}
	cmd := exec.CommandContext(ctx, "node", append(args, more...)...)
	cmd.Env = append(cmd.Environ(), "NODE_ENV=production")
	return cmd, nil
}

// build makes the program in peers/go.
func (s *peerShop) build(ctx context.Context) (path string, err error) {
	golang, err := find("go", "see https://go.dev/dl")
	if err != nil {
		return "", err
	}
	dir, err := peerSource("go")
	if err != nil {
		return "", err
	}
	if s.temp, err = os.MkdirTemp("", "belfry-bench-"); err != nil {
		return "", err
	}
	path = filepath.Join(s.temp, "peers")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.CommandContext(ctx, golang, "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return path, s.run(cmd, dir, "what the servers in Go are made of")
}

// install has npm put what peers/node needs into the user's cache, if it is not there yet.
func (s *peerShop) install(ctx context.Context) (dir string, err error) {
	const mend = "see https://nodejs.org/en/download; on Debian: apt-get install nodejs npm"
	_, err = find("node", mend)
	npm, err2 := find("npm", mend)
	if err := cmp.Or(err, err2); err != nil {
		return "", err
	}
	dir, files, err := nodePackages()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "new-") // what was begun and not ended is not taken for ready
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o644); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
	if err := s.run(cmd, fresh, "what the servers in Node.js are made of"); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, gone := os.Stat(dir); gone != nil {
			return "", err
		} // else another process was faster
	}
	return dir, nil
}

// nodePackages is the folder in the user's cache where the servers for Node.js are run, and the files that
// make it, by name. It is another one for other files.
func nodePackages() (dir string, files map[string][]byte, err error) {
	source, err := peerSource("node")
	if err != nil {
		return "", nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, err
	}
	files = make(map[string][]byte)
	hash := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json", "server.mjs"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", nil, err
		}
		files[name] = text
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	return filepath.Join(cache, "belfry-bench", fmt.Sprintf("node-%x", hash.Sum(nil)[:8])), files, nil
}

// run runs a command that fetches part, or what it needs for it.
func (s *peerShop) run(cmd *exec.Cmd, dir, part string) error {
	fmt.Fprintf(s.progress, "peers: %s: %s %s\n", part, filepath.Base(cmd.Path), cmd.Args[1])
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return &missingPart{Part: part, Err: err, Mend: "is there a network?"}
}

// peerSource is the folder of the peers for a language: this program is run from the module, or below it.
func peerSource(language string) (string, error) {
	begin, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := begin; ; {
		peers := filepath.Join(dir, "bench", "peers", language)
		if _, err := os.Stat(peers); err == nil {
			return peers, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			mend := "run the benchmark in a clone of belfry; " + begin + " is in none"
			return "", &missingPart{Part: "bench/peers/" + language, Mend: mend}
		}
		dir = above
	}
}

// versions says what a peer is made of: each package with its version.
func (s *peerShop) versions(p peerProgram) (string, error) {
	version := goVersion
	if p.adapter != "" {
		version = nodeVersion
	}
	var all []string
	for _, name := range p.packages {
		v, err := version(name)
		if err != nil {
			return "", fmt.Errorf("the version of %s: %w", name, err)
		}
		all = append(all, name+" "+v)
	}
	return strings.Join(all, ", "), nil
}

var errNoVersion = errors.New("it is not among what peers are made of")

func nodeVersion(name string) (string, error) {
	_, files, err := nodePackages()
	if err != nil {
		return "", err
	}
	var p struct{ Dependencies map[string]string }
	if err := json.Unmarshal(files["package.json"], &p); err != nil {
		return "", err
	}
	if v, ok := p.Dependencies[name]; ok {
		return v, nil
	}
	return "", errNoVersion
}

func goVersion(name string) (string, error) {
	dir, err := peerSource("go")
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^\s+` + regexp.QuoteMeta(name) + ` (v\S+)`).FindSubmatch(mod)
	if m == nil {
		return "", errNoVersion
	}
	return string(m[1]), nil
}
