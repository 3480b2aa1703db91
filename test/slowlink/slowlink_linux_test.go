package slowlink

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/test/slowlink.") }

// acknowledged is how many bytes of what c has sent its peer has acknowledged: tcpi_bytes_acked of the kernel's tcp_info.
func acknowledged(t *testing.T, c net.Conn) (n uint64) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	raw.Control(func(fd uintptr) {
		var info [256]byte
		size := uint32(len(info))
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		n = binary.NativeEndian.Uint64(info[120:])
	})
	if errno != 0 {
		t.Fatal(errno)
	}
	return n
}

// pair returns a connection over the link: what the server has accepted, and the client's end.
func pair(t *testing.T, link *Link) (server net.Conn, client *net.TCPConn) {
	t.Helper()
	l, err := link.Server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = link.Client.Dial(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

// TestSteps: a client whose buffer is full acknowledges more when it has read a few KiB. Over loopback that takes 90 KiB and more.
func TestSteps(t *testing.T) {
	server, client := pair(t, New(t))
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		io.Copy(server, endless{}) // until the test ends
	}()
	t.Cleanup(func() {
		server.Close()
		<-filled
	})
	last := uint64(0)
	for quiet := 0; quiet < 10; time.Sleep(50 * time.Millisecond) {
		quiet++
		if now := acknowledged(t, server); now != last || now == 0 {
			last, quiet = now, 0
		}
	}
	const most = 48 << 10
	for step := range 6 {
		read := 0
		for ; acknowledged(t, server) == last; time.Sleep(5 * time.Millisecond) {
			if read >= most {
				t.Fatalf("step %d: nothing was acknowledged while %d bytes were read", step, read)
			}
			n, err := client.Read(make([]byte, 1<<10))
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		now := acknowledged(t, server)
		t.Logf("step %d: %d bytes were read until %d more were acknowledged", step, read, now-last)
		last = now
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestSlow: reading is as slow as was asked for, and Close ends a Read that waits.
func TestSlow(t *testing.T) {
	server, client := pair(t, New(t))
	if _, err := server.Write(make([]byte, 4<<10)); err != nil {
		t.Fatal(err)
	}
	c := Slow(client, 8<<10)
	start := time.Now()
	if _, err := io.ReadFull(c, make([]byte, 4<<10)); err != nil {
		t.Fatal(err)
	}
	// The last step does not wait for its end.
	if took := time.Since(start); took < 350*time.Millisecond {
		t.Errorf("4 KiB took %v at 8 KiB a second", took)
	}
	go c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a Read after Close succeeded")
	}
}

// TestStart: a program runs on the host that it was started on, and the test does not.
func TestStart(t *testing.T) {
	link := New(t)
	for _, h := range []*Host{link.Server, link.Client} {
		var out strings.Builder
		cmd := exec.Command("ip", "-brief", "-4", "addr", "show", "dev", "wire")
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := h.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), fmt.Sprintf("%s/30", h.IP)) {
			t.Errorf("the host %s has %q, %v", h.IP, &out, err)
		}
	}
	if _, err := net.InterfaceByName("wire"); err == nil {
		t.Error("the wire is among the test's own interfaces")
	}
}
