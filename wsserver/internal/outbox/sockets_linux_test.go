package outbox

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/netpoll"
)

// The clients of the tests with sockets live in a process of their own, which is this test binary again: so the CPU time of this process
// is the server's alone.
const (
	clientsAddress = "OUTBOX_TEST_ADDRESS"
	clientsCount   = "OUTBOX_TEST_CLIENTS"
)

// beClients makes this the clients' process, if it was started as such: it connects, reads until the server has closed all connections, prints for each how
// many frames it got, or what was wrong with them, and exits.
func beClients() {
	address := os.Getenv(clientsAddress)
	if address == "" {
		return
	}
	n, err := strconv.Atoi(os.Getenv(clientsCount))
	if err == nil {
		err = runClients(address, n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runClients(address string, n int) error {
	p, err := netpoll.New()
	if err != nil {
		return err
	}
	defer p.Close()
	var open sync.WaitGroup
	clients := make([]*client, n)
	for i := range clients {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		open.Add(1)
		clients[i] = &client{done: open.Done}
		conn, err := p.Attach(c, clients[i])
		if err != nil {
			return err
		}
		if err := conn.Start(); err != nil {
			return err
		}
	}
	open.Wait()
	for _, c := range clients {
		if c.err != nil {
			return c.err
		}
		fmt.Println(c.frames)
	}
	return nil
}

// A client checks that it receives equal frames, one after the other: each begins with '{' and ends with '}'.
type client struct {
	inside bool
	frames int
	err    error
	done   func()
}

func (c *client) Data(p []byte) {
	for _, b := range p {
		switch {
		case b == '{' && !c.inside:
			c.inside = true
		case b == '}' && c.inside:
			c.inside = false
			c.frames++
		case b == '.' && c.inside:
		default:
			c.err = fmt.Errorf("a frame is torn after %d frames: %q", c.frames, b)
		}
	}
}

func (c *client) Writable() {}
func (c *client) HungUp()   {}

func (c *client) Closed(err error) {
	if err != io.EOF && c.err == nil {
		c.err = err
	}
	c.done()
}

// wireFrame is a frame of 140 bytes, such as a short chat message makes.
var wireFrame = &Frame{Bytes: []byte("{" + strings.Repeat(".", 138) + "}")}

// A server is queues over real connections, in Shards.
type server struct {
	shards  *Shards
	poller  *netpoll.Poller
	sockets []*socket
	clients *exec.Cmd
	counts  *bufio.Scanner // the clients' output
	flushed sync.WaitGroup
}

type socket struct {
	q      Queue
	conn   *netpoll.Conn
	server *server
	tb     testing.TB
	bare   int // a duplicate of the descriptor
}

func (s *socket) Data([]byte)      {}
func (s *socket) Writable()        { s.q.Writable() }
func (s *socket) Closed(err error) {}

func (s *socket) Failed(err error) {
	s.tb.Errorf("a queue failed: %v", err)
	s.conn.Close()
	s.server.flushed.Done()
}

func (s *socket) Large()  {}
func (s *socket) HungUp() {}

func (s *socket) Flushed() {
	s.conn.CloseWrite()
	s.server.flushed.Done()
}

func newServer(tb testing.TB, n int) *server {
	tb.Helper()
	poller, err := netpoll.New()
	kit.OK(tb, err)
	s := &server{shards: NewShards(Config{}), poller: poller}
	tb.Cleanup(func() {
		s.shards.Close()
		s.poller.Close()
		for _, sock := range s.sockets {
			syscall.Close(sock.bare)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	kit.OK(tb, err)
	defer l.Close()
	s.clients = exec.CommandContext(tb.Context(), os.Args[0])
	s.clients.Env = append(os.Environ(), clientsAddress+"="+l.Addr().String(), clientsCount+"="+strconv.Itoa(n))
	s.clients.Stderr = os.Stderr
	out, err := s.clients.StdoutPipe()
	kit.OK(tb, err)
	s.counts = bufio.NewScanner(out)
	kit.OK(tb, s.clients.Start())
	l.(*net.TCPListener).SetDeadline(time.Now().Add(kit.Patience))
	for range n {
		c, err := l.Accept()
		kit.OK(tb, err)
		sock := &socket{server: s, tb: tb, bare: duplicate(tb, c)}
		if sock.conn, err = poller.Attach(c, sock); err != nil {
			tb.Fatal(err)
		}
		sock.q.Init(s.shards, sock.conn, sock)
		kit.OK(tb, sock.conn.Start())
		s.sockets = append(s.sockets, sock)
	}
	return s
}

func duplicate(tb testing.TB, c net.Conn) (fd int) {
	tb.Helper()
	raw := kit.Must(c.(*net.TCPConn).SyscallConn())(tb)
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = syscall.Dup(int(old)) }); err != nil || dupErr != nil {
		tb.Fatal(err, dupErr)
	}
	return fd
}

// waitFrames waits until n frames have been written since the start.
func (s *server) waitFrames(tb testing.TB, n uint64) {
	tb.Helper()
	for deadline := time.Now().Add(kit.Patience); counted(s.shards).Frames < n; {
		if time.Now().After(deadline) {
			tb.Fatalf("%d frames written, want %d", counted(s.shards).Frames, n)
		}
		time.Sleep(200 * time.Microsecond) // costs little CPU, which is what is measured
	}
}

// finish closes all queues and checks that each client has got want frames.
func (s *server) finish(tb testing.TB, want int) {
	tb.Helper()
	s.flushed.Add(len(s.sockets))
	for _, sock := range s.sockets {
		if !sock.q.CloseAfterFlush(nil) {
			tb.Error("a queue has failed")
			s.flushed.Done()
		}
	}
	s.flushed.Wait()
	n := 0
	for s.counts.Scan() {
		n++
		if got := s.counts.Text(); got != strconv.Itoa(want) {
			tb.Errorf("a client got %s frames, want %d", got, want)
		}
	}
	kit.OK(tb, s.clients.Wait(), "clients")
	kit.Want(tb, n, len(s.sockets), "clients reported")
}

// Every client gets every frame, whole and in order, while several goroutines broadcast faster than is flushed.
func TestSockets(t *testing.T) {
	const (
		sockets  = 50
		emitters = 3
		frames   = 1500
	)
	s := newServer(t, sockets)
	var all sync.WaitGroup
	for i := range emitters {
		all.Go(func() {
			for range frames {
				for _, sock := range s.sockets {
					ok := false
					if i == 0 {
						ok = sock.q.Send(wireFrame)
					} else {
						ok = sock.q.Append(wireFrame)
					}
					if !ok {
						t.Error("a frame was refused")
						return
					}
				}
			}
		})
	}
	all.Wait()
	s.finish(t, emitters*frames)
	st := counted(s.shards)
	kit.Check(t, st.Frames == sockets*emitters*frames && st.Bytes == st.Frames*uint64(len(wireFrame.Bytes)),
		"got %+v, want %d frames", st, sockets*emitters*frames)
	t.Logf("%.1f frames a write", float64(st.Frames)/float64(st.Writes))
}

// cpu returns the CPU time of this process so far.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	kit.OK(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBroadcast compares, in CPU time a delivery, broadcasts to 1,000 sockets with one write(2) for each frame and socket in a bare
// loop. Rounds of both alternate, so that both see the same machine.
func BenchmarkBroadcast(b *testing.B) {
	const sockets = 1000
	for _, gathered := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("gathered=%d", gathered), func(b *testing.B) {
			s := newServer(b, sockets)
			var bare, queued time.Duration
			rounds := 0
			for b.Loop() {
				start := cpu(b)
				for range gathered {
					for _, sock := range s.sockets {
						if n, err := syscall.Write(sock.bare, wireFrame.Bytes); n != len(wireFrame.Bytes) {
							b.Fatalf("bare write: %d, %v", n, err)
						}
					}
				}
				middle := cpu(b)
				for _, sock := range s.sockets {
					for range gathered {
						sock.q.Append(wireFrame)
					}
				}
				rounds++
				s.waitFrames(b, uint64(rounds*gathered*sockets))
				bare += middle - start
				queued += cpu(b) - middle
			}
			deliveries := float64(rounds * gathered * sockets)
			st := counted(s.shards)
			b.ReportMetric(float64(bare.Nanoseconds())/1e3/deliveries, "bare-us/delivery")
			b.ReportMetric(float64(queued.Nanoseconds())/1e3/deliveries, "us/delivery")
			b.ReportMetric(float64(queued)/float64(bare), "ratio")
			b.ReportMetric(float64(st.Frames)/float64(st.Writes), "frames/write")
			s.finish(b, 2*rounds*gathered)
		})
	}
}

// BenchmarkBacklog broadcasts to 1,000 sockets faster than is flushed, with at most 64 frames of each socket waiting.
func BenchmarkBacklog(b *testing.B) {
	const sockets = 1000
	s := newServer(b, sockets)
	start := cpu(b)
	rounds := 0
	for b.Loop() {
		for _, sock := range s.sockets {
			sock.q.Append(wireFrame)
		}
		if rounds++; rounds > 64 {
			s.waitFrames(b, uint64((rounds-64)*sockets))
		}
	}
	s.waitFrames(b, uint64(rounds*sockets))
	deliveries := float64(rounds * sockets)
	st := counted(s.shards)
	b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/1e3/deliveries, "us/delivery")
	b.ReportMetric(float64(st.Frames)/float64(st.Writes), "frames/write")
	b.ReportMetric(deliveries/b.Elapsed().Seconds(), "deliveries/s")
	s.finish(b, rounds)
}
