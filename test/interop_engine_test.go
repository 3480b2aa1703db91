package test

import (
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/child"
)

// TestEngineClient runs node/engine.mjs: the official Engine.IO client, against an echo on belfry's engine, and with -reference on that of
// the reference.
func TestEngineClient(t *testing.T) {
	notRaced(t)
	t.Parallel()
	node := needNode(t)
	flags := []string{"-addr", "127.0.0.1:0", "-ping-timeout", "120s", "-upgrade-timeout", "120s"}
	programs := map[string][]string{"belfry": {child.Program(t, "wsserver/internal/engineecho"), "-header-timeout", "120s"}, "reference": {node, "engineecho.mjs"}}
	for _, side := range sides() {
		url := "http://" + listens(t, startProgram(t, "node", append(programs[side], flags...)...))
		for _, mode := range clientModes() {
			t.Run(side+"/"+mode, func(t *testing.T) {
				besideOthers(t)
				runChecks(t, node, "engine.mjs", url, mode)
			})
		}
	}
}

// listens is the address that a program has printed: "listening on 127.0.0.1:40123".
func listens(t *testing.T, line string) string {
	t.Helper()
	address, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		t.Fatalf("a server printed %q", line)
	}
	return address
}

// TestProtocolApp starts protocolapp, has one client talk to it, and ends it by a signal.
func TestProtocolApp(t *testing.T) {
	notRaced(t)
	t.Parallel()
	node := needNode(t)
	url := "http://" + listens(t, startProgram(t, ".", child.Program(t, "test/protocolapp"), "-addr", "127.0.0.1:0", "-ping-timeout", "120s"))
	for _, mode := range clientModes() {
		t.Run(mode, func(t *testing.T) {
			besideOthers(t)
			runChecks(t, node, "protocolapp.mjs", url, mode)
		})
	}
}
