// Package need finds what tests need beside Go. Where it is missing a test skips, so that it cannot be overlooked; in CI it fails.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Missing skips a test, or fails it if the variable CI is set. mend says what to do about it.
func Missing(t *testing.T, what, mend string) {
	t.Helper()
	msg := fmt.Sprintf("%s needs %s, which is missing here: %s", t.Name(), what, mend)
	if os.Getenv("CI") != "" {
		t.Fatal(msg)
	}
	// go test shows nothing of a test that passes or skips, unless it has a terminal to show it on.
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprintln(tty, "SKIPPED:", msg)
		tty.Close()
	}
	t.Skip("SKIPPED: " + msg)
}

// Node returns the path of Node.js, and that of a package from npm: one that test/node/package.json names, or one below such.
func Node(t *testing.T, name string) (node, installed string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		Missing(t, "Node.js", "install it, then run `npm ci` in test/node")
	}
	installed = filepath.Join(root(t), "test", "node", "node_modules", filepath.FromSlash(name))
	if _, err := os.Stat(installed); err != nil {
		Missing(t, name+" from npm", "run `npm ci` in test/node")
	}
	return node, installed
}

// Chromium returns the path of a Chromium or Chrome.
func Chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, "Chromium", "install it, on Debian with `apt-get install chromium`")
	return ""
}

// Nginx returns the path of nginx.
func Nginx(t *testing.T) string {
	t.Helper()
	return daemon(t, "nginx", "nginx-light")
}

// HAProxy returns the path of HAProxy.
func HAProxy(t *testing.T) string {
	t.Helper()
	return daemon(t, "haproxy", "haproxy")
}

// Caddy returns the path of Caddy.
func Caddy(t *testing.T) string {
	t.Helper()
	return daemon(t, "caddy", "caddy")
}

// daemon is the path of a program that Debian has where users without rights need not look.
func daemon(t *testing.T, name, debian string) string {
	t.Helper()
	for _, name := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, name, "install it, on Debian with `apt-get install "+debian+"`")
	return ""
}

// Prometheus returns the path of Prometheus.
func Prometheus(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		Missing(t, "Prometheus", "install it, on Debian with `apt-get install prometheus`")
	}
	return path
}

// root is the folder of the module, which is above that of any test.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("no go.mod in the folder of the test, nor above it")
		}
		dir = above
	}
}
