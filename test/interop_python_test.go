package test

import (
	"os/exec"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

// systemPython is where Debian's packages are installed for; another python3 on the PATH does not see them.
const systemPython = "/usr/bin/python3"

// TestPythonClient runs python/client.py: the client of another language, on belfry and on the reference.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	needPython(t)
	reference := startReference(t, node)["json"]
	srv := newServer(t, interopConfig("json"))
	serveInteropApp(t, srv)
	belfry := serve(t, srv)
	for _, mode := range []string{"websocket", "polling", "default"} {
		for _, side := range []struct{ name, url string }{{"reference", reference}, {"belfry", belfry}} {
			t.Run(side.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				runChecks(t, systemPython, "../python/client.py", side.url, mode)
			})
		}
	}
}

// needPython checks that there is a Python with the client and what its two transports need.
func needPython(t *testing.T) {
	t.Helper()
	if err := exec.Command(systemPython, "-c", "import socketio, requests, websocket").Run(); err != nil {
		need.Missing(t, "Socket.IO's client for Python", "on Debian, `apt-get install python3-socketio python3-requests python3-websocket`")
	}
}
