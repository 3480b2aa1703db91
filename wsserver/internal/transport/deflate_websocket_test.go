package transport

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// sinkConn keeps what is written to it.
type sinkConn struct {
	net.Conn // nil: nothing else is called before done
	mu       sync.Mutex
	written  []byte
	done     chan struct{} // closed by CloseWrite
}

func (c *sinkConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = append(c.written, p...)
	return len(p), nil
}

func (c *sinkConn) CloseWrite() error { close(c.done); return nil }
func (c *sinkConn) Close() error      { return nil }

// deflatedFrame returns what of f goes to peers that inflate.
func deflatedFrame(f *outbox.Frame, threshold int) *outbox.Frame { return f.As(deflated(threshold)) }

// TestBroadcastIsDeflatedOnce: whoever shares a frame shares its compressed form, and those that have not negotiated it get the frame.
func TestBroadcastIsDeflatedOnce(t *testing.T) {
	const receivers = 1000
	shared := newShared(t, Config{Deflate: 1024})
	var made atomic.Int32
	deflate := shared.deflated.Make
	shared.deflated.Make = func(f *outbox.Frame) []byte {
		made.Add(1)
		return deflate(f)
	}
	sockets, sinks := make([]WebSocket, receivers), make([]sinkConn, receivers)
	for i := range sockets {
		sinks[i].done = make(chan struct{})
		shared.Serve(&sockets[i], &sinks[i], i%2 == 0, newOwner())
	}
	text := strings.Repeat("to all, ", 500)
	long, short, asIs := frameOf(wireMessage{OpText, text}), frameOf(wireMessage{OpText, "short"}), frameOf(wireMessage{OpText, text})
	asIs.NoCompress = true

	var appending sync.WaitGroup
	for part := range slices.Chunk(sockets, receivers/8) {
		appending.Go(func() {
			for i := range part {
				part[i].Append(short)
				if i%3 == 0 {
					part[i].Append(long)
				} else {
					part[i].Send(long)
				}
				part[i].Append(asIs)
				part[i].CloseWith(CloseNormal)
			}
		})
	}
	appending.Wait()
	kit.Want(t, made.Load(), 1, "compressed forms made")
	plain := slices.Concat(short.Bytes, long.Bytes, asIs.Bytes, AppendClose(nil, CloseNormal, ""))
	small := slices.Concat(short.Bytes, long.As(deflated(1024)).Bytes, asIs.Bytes, AppendClose(nil, CloseNormal, ""))
	for i := range sinks {
		<-sinks[i].done
		want := plain
		if i%2 == 0 {
			want = small
		}
		if sinks[i].mu.Lock(); !bytes.Equal(sinks[i].written, want) {
			t.Fatalf("receiver %d got %d bytes, want %d", i, len(sinks[i].written), len(want))
		}
		sinks[i].mu.Unlock()
	}
}

// TestWebSocketDeflate carries compressed messages both ways.
func TestWebSocketDeflate(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			shared := newShared(t, Config{MaxMessage: 10_000, Deflate: 100})
			near, far := pair(t)
			w, o := new(WebSocket), newOwner()
			shared.Serve(w, kind.wrap(near), true, o)
			w.Start(nil)
			text := strings.Repeat("hello, ", 1000)
			far.Write(client(0x89, text[:120]))
			far.Write(client(0xc1, squeeze(text)))
			o.wait(t, "message 1 "+text[:20])
			f := frameOf(wireMessage{OpText, text})
			kit.Require(t, w.Send(f), "the frame was not taken")
			far.Write(client(0xc1, squeeze(text+text))) // over the limit
			o.wait(t, "message 1 "+text[:20], "closing")
			want := slices.Concat(AppendFrame(nil, OpPong, []byte(text[:120])), deflatedFrame(f, 100).Bytes, AppendClose(nil, CloseTooBig, ""))
			wantRead(t, far, string(want))
		})
	}
}

// TestDeflateOff: a WebSocket is as large as it was before it could compress, and without the option no frame is compressed.
func TestDeflateOff(t *testing.T) {
	if got := unsafe.Sizeof(WebSocket{}); got > 232 {
		t.Errorf("got a WebSocket of %d bytes, want 232 at most", got)
	}
	shared := newShared(t, Config{})
	shared.deflated.Make = func(*outbox.Frame) []byte {
		t.Error("a frame was compressed")
		return nil
	}
	f := frameOf(wireMessage{OpText, strings.Repeat("hello, ", 1000)})
	for _, negotiated := range []bool{false, true} {
		sink, w := &sinkConn{done: make(chan struct{})}, new(WebSocket)
		shared.Serve(w, sink, negotiated, newOwner())
		w.Append(f)
		w.CloseWith(CloseNormal)
		<-sink.done
		sink.mu.Lock()
		if want := append(bytes.Clone(f.Bytes), AppendClose(nil, CloseNormal, "")...); !bytes.Equal(sink.written, want) {
			t.Errorf("negotiated %t: got %d bytes, want %d", negotiated, len(sink.written), len(want))
		}
		sink.mu.Unlock()
	}
}
