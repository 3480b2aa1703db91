//go:build unix

package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// The first signal drains the nodes, which still serve during the notice; a second one ends them at once.
func TestTwoSignals(t *testing.T) {
	for _, args := range [][]string{{"-nodes=3"}, {"-nodes=0", "-adapter=memory:"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			cmd := exec.Command(os.Args[0], append(args, "-addr=127.0.0.1:0", "-drain-notice=10m")...)
			cmd.Env = append(os.Environ(), itself+"=1")
			out := kit.Must(cmd.StdoutPipe())(t)
			kit.OK(t, cmd.Start())
			defer cmd.Process.Kill() // if the test fails
			var nodes []string
			for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C"); {
				if m := nodeLine.FindStringSubmatch(lines.Text()); m != nil {
					nodes = append(nodes, host(m[1]))
				}
			}
			dial := func(node string) error {
				nc, err := net.Dial("tcp", node)
				if err == nil {
					nc.Close()
				}
				return err
			}
			kit.Require(t, len(nodes) > 0, "no node")
			ada := enter(t, "http://"+nodes[0], "Ada")
			kit.OK(t, cmd.Process.Signal(syscall.SIGTERM))
			time.Sleep(100 * time.Millisecond) // two signals of a kind that come at once are one
			for _, node := range nodes {
				kit.OK(t, dial(node), "after the first signal")
			}
			ada.ask("say", say("lobby", "are you there?"))
			begun := time.Now()
			kit.OK(t, cmd.Process.Signal(syscall.SIGTERM))
			kit.Check(t, cmd.Wait() != nil, "the program ends without an error")
			kit.Eventually(t, "the end of all nodes", func() bool {
				for _, node := range nodes {
					if dial(node) == nil {
						return false
					}
				}
				return true
			})
			kit.Took(t, begun, 0, 10*time.Second, "the end took")
		})
	}
}
