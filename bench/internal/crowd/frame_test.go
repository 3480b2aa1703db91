package crowd

import (
	"bytes"
	"compress/flate"
	"net/url"
	"slices"
	"testing"
	"time"
)

// unmask is a server's reading of a frame.
func unmask(t *testing.T, p []byte) []byte {
	t.Helper()
	p = bytes.Clone(p)
	p[1] &^= 0x80
	size, err := frameSize(p)
	if err != nil || len(p) != size+4 {
		t.Fatalf("a frame of %d bytes for one of %d, %v", len(p), size, err)
	}
	length := map[bool]int{true: 2, false: 4}[p[1] < 126]
	if p[1] == 127 {
		length = 10
	}
	key, payload := p[length:length+4], p[length+4:]
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	return payload
}

func TestMask(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 100_001} {
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i * 7)
		}
		if got := unmask(t, appendMasked(nil, fin|opText, want)); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the server reads something else", n)
		}
	}
}

// appendFrame is a server's frame.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, first, byte(n))
	case n < 1<<16:
		dst = append(dst, first, 126, byte(n>>8), byte(n))
	default:
		dst = append(dst, first, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, payload...)
}

// testRun is a run of a crowd without a server: one client, which is the only member of its room.
func testRun(f Flow) (*Crowd, *client, *route) {
	cl := &client{state: alive, link: noLink{}}
	target, _ := url.Parse("http://localhost")
	c := &Crowd{epoch: time.Now(), alive: 1, clients: []*client{cl}, targets: []*url.URL{target}}
	c.cfg.Namespace, c.cfg.Transport = "/", WebSocket
	cl.room = &room{name: "room", members: []*client{cl}}
	c.rooms = []*room{cl.room}
	r := &run{crowd: c, flow: f, ended: make(chan struct{})}
	if err := r.flow.check(c.cfg); err != nil {
		panic(err)
	}
	if err := r.prepare(); err != nil {
		panic(err)
	}
	c.run = r
	return c, cl, r.routes[0]
}

// message is what the server makes of a publish.
func message(rt *route, number int) []byte {
	p := appendPayload([]byte(`42["message","`), rt.id, number, rt.filler)
	return append(p, `"]`...)
}

// Frames that come in pieces of any size, fragmented or compressed, are the messages that were sent.
func TestPieces(t *testing.T) {
	const publishes = 5
	for name, frames := range map[string]func(p []byte) []byte{
		"whole": func(p []byte) []byte { return appendFrame(nil, fin|opText, p) },
		"fragmented": func(p []byte) []byte {
			b := appendFrame(nil, opText, p[:3])
			b = appendFrame(b, opContinuation, nil)
			b = appendFrame(b, fin|opPing, []byte("ping"))
			return appendFrame(b, fin|opContinuation, p[3:])
		},
		"compressed": func(p []byte) []byte {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, 5)
			w.Write(p)
			w.Flush()
			return appendFrame(nil, fin|compressed|opText, bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
		},
		"compressed and fragmented": func(p []byte) []byte {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, 5)
			w.Write(p)
			w.Flush()
			z := bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
			return appendFrame(appendFrame(nil, compressed|opText, z[:5]), fin|opContinuation, z[5:])
		},
	} {
		for _, piece := range []int{1, 2, 7, 100, 1 << 20} {
			c, cl, rt := testRun(Flow{Kind: Room, InFlight: publishes, Publishes: publishes, Size: 300})
			c.run.step()
			var all, rest []byte
			for i := range publishes {
				all = append(all, frames(message(rt, i))...)
			}
			for p := range slices.Chunk(all, piece) {
				var err error
				if rest, err = c.handle(cl, append(bytes.Clone(rest), p...)); err != nil {
					t.Fatalf("%s, %d bytes at a time: %v", name, piece, err)
				}
			}
			if rt.run.deliveries != publishes || len(rest) != 0 || c.badly != 0 || rt.check() != (Faults{}) {
				t.Errorf("%s, %d bytes at a time: got %d deliveries and %+v; want %d and no faults",
					name, piece, rt.run.deliveries, rt.check(), publishes)
			}
		}
	}
}

// What no server sends ends the client.
func TestBadFrames(t *testing.T) {
	for name, p := range map[string][]byte{
		"masked":                   {fin | opText, 0x81, 0, 0, 0, 0, 'x'},
		"reserved bit":             {fin | 0x20 | opText, 1, 'x'},
		"unknown opcode":           {fin | 0x3, 0},
		"continuation of nothing":  {fin | opContinuation, 1, 'x'},
		"too long":                 {fin | opText, 127, 0, 0, 0, 0, 0xff, 0, 0, 0},
		"binary without a packet":  appendFrame(nil, fin|opBinary, []byte("x")),
		"not a packet":             appendFrame(nil, fin|opText, []byte("x")),
		"half a packet":            appendFrame(nil, fin|opText, []byte("4")),
		"an attachment's no count": appendFrame(nil, fin|opText, []byte("45x-[]")),
		"nothing":                  appendFrame(nil, fin|opText, nil),
		"not compressed":           appendFrame(nil, fin|compressed|opText, []byte("\xff\xff\xff")),
		"closed":                   appendFrame(nil, fin|opClose, []byte("\x03\xe8bye")),
		"closed by Engine.IO":      appendFrame(nil, fin|opText, []byte("1")),
		"disconnected":             appendFrame(nil, fin|opText, []byte("41")),
	} {
		c, cl, _ := testRun(Flow{Kind: Room, InFlight: 1, Publishes: 1})
		if _, err := c.handle(cl, p); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// Latency counts from when a publish was due, however late it is written, and that is told.
func TestLate(t *testing.T) {
	const publishes = 100
	c, cl, rt := testRun(Flow{Kind: Room, Rate: publishes, Publishes: publishes})
	r := c.run
	r.begun = c.now() - time.Second
	r.step()
	if rt.next != publishes {
		t.Fatalf("got %d publishes, want %d", rt.next, publishes)
	}
	for n := range publishes {
		if _, err := c.handle(cl, appendFrame(nil, fin|opText, message(rt, n))); err != nil {
			t.Fatal(err)
		}
	}
	r.step()
	res := r.result()
	if !r.over || res.Late < publishes-2 || res.Max < time.Second || res.P50 < 490*time.Millisecond {
		t.Errorf("got %+v; want latencies of up to a second", res)
	}
}

// A delivery allocates nothing.
func TestDeliveryAllocates(t *testing.T) {
	const runs, batch = 20, 200
	c, cl, rt := testRun(Flow{Kind: Room, InFlight: (runs + 1) * batch, Publishes: (runs + 1) * batch})
	c.run.step()
	batches := make([][]byte, runs+1)
	for n := range (runs + 1) * batch {
		batches[n/batch] = appendFrame(batches[n/batch], fin|opText, message(rt, n))
	}
	i := 0
	got := testing.AllocsPerRun(runs, func() {
		if _, err := c.handle(cl, batches[i]); err != nil {
			t.Fatal(err)
		}
		i++
	})
	if got > 0 || rt.run.deliveries != (runs+1)*batch {
		t.Errorf("got %v allocations for %d deliveries, of %d in all; want none", got, batch, rt.run.deliveries)
	}
}

func BenchmarkDelivery(b *testing.B) {
	const batch = 1000
	for b.Loop() {
		b.StopTimer()
		c, cl, rt := testRun(Flow{Kind: Room, InFlight: batch, Publishes: batch})
		c.run.step()
		var p []byte
		for n := range batch {
			p = appendFrame(p, fin|opText, message(rt, n))
		}
		b.StartTimer()
		if _, err := c.handle(cl, p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/batch/float64(b.N), "ns/delivery")
}

// Quantiles are those of a sorted list, but for the width of a bucket.
func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("a quantile of nothing is not 0")
	}
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(i) * time.Duration(i) * 997
		all = append(all, d)
		h.record(d)
	}
	for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(max(int(q*float64(len(all))+0.999999)-1, 0), len(all)-1)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*(1+1.0/64)+1 {
			t.Errorf("the %v-quantile is %v, want %v", q, got, want)
		}
	}
	h.record(1<<63 - 1)
	if got := h.quantile(1); got != 1<<63-1 {
		t.Errorf("got %v, want the largest", got)
	}
}
