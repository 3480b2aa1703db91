package outbox

import "testing"

// BenchmarkMailbox shows what a frame costs that comes while nobody waits, and is fetched.
func BenchmarkMailbox(b *testing.B) {
	g := NewGroup(Config{Limit: 1000})
	defer g.Close()
	m, f := new(Mailbox), &Frame{Bytes: make([]byte, 140)}
	m.Init(g, new(owner))
	b.ReportAllocs()
	for b.Loop() {
		m.Append(f)
		frames, _ := m.Take()
		m.Done(frames)
	}
}
