//go:build unix

package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// frontDir is a folder for a program in front of servers and its sockets, for which t.TempDir's name is too long.
func frontDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "front")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// runFront runs a program that listens on front, a socket in the file system, so that no port can be taken by
// somebody else. It returns how to reach it, as soon as it can be reached.
func runFront(t *testing.T, front string, cmd *exec.Cmd) (dial func() (net.Conn, error)) {
	t.Helper()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", cmd.Path, output.Bytes())
		}
	})
	dial = func() (net.Conn, error) { return net.Dial("unix", front) }
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if nc, err := dial(); err == nil {
			nc.Close()
			return dial
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s: %v: %s", cmd.Path, err, output.Bytes())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen after a minute", cmd.Path)
		}
	}
}

// nginxCommand is an nginx with what stands in its block http. Its files are in dir.
func nginxCommand(t *testing.T, nginx, dir, servers string) *exec.Cmd {
	t.Helper()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // or its workers may not use dir
	}
	conf := writeConf(t, dir, "nginx.conf", fmt.Sprintf(`%s
daemon off;
worker_processes 1;
pid %[2]s/pid;
error_log %[2]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	%[3]s
}
`, user, dir, servers))
	return exec.Command(nginx, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
}

// writeConf writes a file of a configuration, and returns its path.
func writeConf(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
