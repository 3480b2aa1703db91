package transport

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// FuzzInflate compares what inflates with the flate package over one stream.
func FuzzInflate(f *testing.F) {
	for _, test := range deflateCases() {
		source := bytes.NewReader(test.input)
		if hdr, err := ws.ReadHeader(source); err == nil && hdr.Masked && hdr.Length <= int64(source.Len()) {
			start := len(test.input) - source.Len()
			payload := bytes.Clone(test.input[start : start+int(hdr.Length)])
			ws.Cipher(payload, hdr.Mask, 0)
			f.Add(payload)
		}
	}
	f.Add(bomb(1 << 20))
	f.Fuzz(func(t *testing.T, payload []byte) {
		const limit = 100_000
		if len(payload) > limit {
			t.Skip("longer than the limit that is tested")
		}
		in := inflaters.Get().(*inflater)
		defer in.free()
		got, err := in.inflate(payload, limit)
		source := strings.NewReader(string(payload) + flushed + finalBlock)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(source), limit+1))
		left := source.Len()
		done := left == 0 || left == len(finalBlock) || left == len(flushed+finalBlock)
		ok := false
		switch {
		case len(want) > limit:
			ok = err == errTooBig
		case wantErr != nil || !done && left < len(flushed+finalBlock):
			ok = err == errInflate
		case done:
			ok = err == nil && bytes.Equal(got, want)
		case err == nil:
			ok = bytes.HasPrefix(got, want) && len(got) <= limit // more streams follow
		default:
			ok = err == errInflate || err == errTooBig
		}
		if !ok {
			t.Fatalf("got %d bytes and %v; the flate package %d and %v, with %d left", len(got), err, len(want), wantErr, left)
		}
		kit.Require(t, cap(in.buf) <= max(limit+1, maxPooled), "got a buffer of %d", cap(in.buf))
	})
}

// FuzzDeflate checks that a client receives of the compressed form what it receives of the frame, at any threshold.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("hello"), 3, 1)
	f.Add([]byte(strings.Repeat("hello, ", 1000)), 500, 100)
	f.Add([]byte(noise(300)+strings.Repeat("x", 3000)), 2000, 1024)
	f.Fuzz(func(t *testing.T, data []byte, size, threshold int) {
		if len(data) > 1<<16 {
			t.Skip("more than a frame of the test")
		}
		frame := new(outbox.Frame)
		for chunk := range slices.Chunk(data, min(max(size, 1+len(data)/20), 1<<16)) {
			frame.Bytes = AppendFrame(frame.Bytes, OpBinary, chunk)
		}
		got := deflatedFrame(frame, threshold)
		kit.Check(t, len(got.Bytes) <= len(frame.Bytes),
			"got %d bytes of %d", len(got.Bytes), len(frame.Bytes))
		kit.WantList(t, received(t, got, true), received(t, frame, false), "a client received")
	})
}
