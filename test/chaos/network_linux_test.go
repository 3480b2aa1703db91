package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

// A network is hosts, each a network namespace of its own, on one bridge, which is in another one. Nothing of it touches the network of the
// machine. Their names begin with "belfry-" and the number of this process.
type network struct {
	t     *testing.T
	hosts []*host
}

// A host is where processes run.
type host struct {
	net  *network
	name string // of its network namespace
	port string // of its cable, on the bridge
	addr string
}

// nowhere is the address of no network card.
const nowhere = "02:00:00:00:00:ff"

// newNetwork makes a network, or skips the test where that cannot be done. The end of the test takes it away.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Getuid() != 0 {
		need.Missing(t, "root", "it makes network namespaces")
	}
	for _, command := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(command); err != nil {
			need.Missing(t, command, "install it, on Debian with `apt-get install iproute2 util-linux`")
		}
	}
	sweep()
	n := &network{t: t}
	bridge := n.prefix() + "bridge"
	if _, err := ip("netns", "add", bridge); err != nil {
		need.Missing(t, "network namespaces", err.Error())
	}
	t.Cleanup(func() { ip("netns", "del", bridge) })
	n.ip("-n", bridge, "link", "add", "name", "br0", "type", "bridge")
	n.ip("-n", bridge, "link", "set", "br0", "up")
	return n
}

// sweep takes away what tests have left behind that were killed.
func sweep() {
	out, _ := ip("netns", "list")
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ok := strings.CutPrefix(name, "belfry-")
		number, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(number); ok && err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			ip("netns", "del", name)
		}
	}
}

func (n *network) prefix() string { return fmt.Sprintf("belfry-%d-", os.Getpid()) }

// ip runs iproute2.
func ip(args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("ip", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), err
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if _, err := ip(args...); err != nil {
		n.t.Fatal(err)
	}
}

// add adds a host.
func (n *network) add() *host {
	n.t.Helper()
	i := len(n.hosts) + 1
	h := &host{net: n, name: n.prefix() + strconv.Itoa(i), port: fmt.Sprintf("v%d", i), addr: fmt.Sprintf("10.77.0.%d", i)}
	bridge := n.prefix() + "bridge"
	n.ip("netns", "add", h.name)
	n.t.Cleanup(func() { ip("netns", "del", h.name) })
	n.ip("-n", bridge, "link", "add", "name", h.port, "type", "veth", "peer", "name", "eth0", "netns", h.name)
	n.ip("-n", bridge, "link", "set", h.port, "master", "br0", "up")
	n.ip("-n", h.name, "addr", "add", h.addr+"/24", "dev", "eth0")
	n.ip("-n", h.name, "link", "set", "eth0", "up")
	n.ip("-n", h.name, "link", "set", "lo", "up")
	n.hosts = append(n.hosts, h)
	return h
}

// enter is the command that runs another one on the host.
func (h *host) enter() []string { return []string{"nsenter", "--net=/run/netns/" + h.name, "--"} }

// down pulls the host's cable, and up puts it back.
func (h *host) down() error {
	_, err := ip("-n", h.net.prefix()+"bridge", "link", "set", h.port, "down")
	return err
}

func (h *host) up() error {
	_, err := ip("-n", h.net.prefix()+"bridge", "link", "set", h.port, "up")
	return err
}

// mute has all that h sends to the other host vanish, in silence, as firewalls do; unmute ends that.
func (h *host) mute(other *host) error {
	_, err := ip("-n", h.name, "neigh", "replace", other.addr, "lladdr", nowhere, "dev", "eth0", "nud", "permanent")
	return err
}

func (h *host) unmute(other *host) error {
	_, err := ip("-n", h.name, "neigh", "del", other.addr, "dev", "eth0")
	return err
}

// connections counts the TCP connections of the host that stand at one of its own ports, or at another's if remote, by the other's address.
func (h *host) connections(pid, port int, remote bool) (map[string]int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return nil, err
	}
	const established = "01"
	column := 1
	if remote {
		column = 2
	}
	count := make(map[string]int)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != established || !strings.HasSuffix(f[column], fmt.Sprintf(":%04X", port)) {
			continue
		}
		var a [4]byte
		if _, err := fmt.Sscanf(f[2], "%02X%02X%02X%02X", &a[3], &a[2], &a[1], &a[0]); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		count[fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])]++
	}
	return count, nil
}
