package test

import (
	"os/exec"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

// systemPython is where Debian's packages are installed for; another python3 on the PATH does not see them.
const systemPython = "/usr/bin/python3"

// TestPythonClient runs python/client.py: the client of another language, on belfry, and with -reference on
// the reference.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	needPython(t)
	srv := newServer(t, interopConfig("json"))
	serveInteropApp(t, srv)
	urls := map[string]string{"belfry": serve(t, srv)}
	if *withReference {
		urls["reference"] = startReference(t, needNode(t))["json"]
	}
	for _, mode := range clientModes() {
		for _, side := range sides() {
			t.Run(side+"/"+mode, func(t *testing.T) {
				besideOthers(t)
				runChecks(t, systemPython, "../python/client.py", urls[side], mode)
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
