package slowlink

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

func newLink(t *testing.T) *Link {
	t.Helper()
	if os.Geteuid() != 0 {
		need.Missing(t, "the rights of root", "run it as root: it makes network namespaces")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		need.Missing(t, "ip", "install iproute2, on Debian with `apt-get install iproute2`")
	}
	link := new(Link)
	var paths [2]string
	for i, h := range []**Host{&link.Server, &link.Client} {
		if *h, paths[i], err = newHost(net.IPv4(10, 0, 0, byte(i+1))); err != nil {
			need.Missing(t, "network namespaces", "run it where they are allowed: "+err.Error())
		}
		t.Cleanup((*h).end)
	}
	// One segment a packet: with segmentation offload the wire would take 64 KiB at once, as loopback does.
	wire := []string{"mtu", "1500", "gso_max_segs", "1"}
	add := append([]string{"link", "add", "wire"}, wire...)
	add = append(add, "type", "veth", "peer", "name", "wire", "netns", paths[1])
	link.Server.do(func() { err = run(ip, append(add, wire...)...) })
	for _, h := range []*Host{link.Server, link.Client} {
		h.do(func() {
			for _, args := range [][]string{
				{"addr", "add", h.IP.String() + "/30", "dev", "wire"},
				{"link", "set", "wire", "up"},
				{"link", "set", "lo", "up"},
			} {
				if err == nil {
					err = run(ip, args...)
				}
			}
		})
	}
	if err != nil {
		need.Missing(t, "a pair of virtual network devices", err.Error())
	}
	return link
}

// newHost returns a host in a namespace of its own, and the path that names that.
func newHost(address net.IP) (h *Host, path string, err error) {
	h = &Host{IP: address, jobs: make(chan func()), done: make(chan struct{})}
	go h.run()
	h.do(func() {
		err = os.NewSyscallError("unshare", syscall.Unshare(syscall.CLONE_NEWNET))
		path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
	})
	if err != nil {
		h.end()
	}
	return h, path, err
}

// run does jobs until the host ends. Its thread ends with it, since nothing else may run in the namespace.
func (h *Host) run() {
	defer close(h.done)
	runtime.LockOSThread()
	for job := range h.jobs {
		job()
	}
}

func (h *Host) end() {
	close(h.jobs)
	<-h.done
}
