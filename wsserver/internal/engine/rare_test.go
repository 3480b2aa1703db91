package engine

import (
	"testing"
	"unsafe"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// TestSessionIsSmall: an idle session is the size of a class of the allocator's.
func TestSessionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Session{}); size > 192 {
		t.Errorf("a Session takes %d bytes, want 192", size)
	}
}

// TestRare: a session has what is rare while it needs it, and no longer.
func TestRare(t *testing.T) {
	deadlines := engineio.NewDeadlines()
	defer deadlines.Close()
	s := &Session{server: &Server{deadlines: deadlines}}
	delay := deadlines.Delay(1 << 40)
	c := new(connection)
	s.setProbe(nil)
	s.stopLimit()
	kit.Require(t, s.rare == nil && s.probe() == nil, "something rare of nothing")
	s.setProbe(c)
	kit.Check(t, s.probe() == c, "the probe is not known")
	s.armLimit(delay)
	limit := &s.rare.limit
	s.setProbe(nil)
	kit.Check(t, deadlines.Left(limit) > 0 && s.rare != nil && s.probe() == nil, "the limit has ended with the probe")
	s.setProbe(c)
	s.stopLimit()
	kit.Check(t, deadlines.Left(limit) == 0 && s.probe() == c, "the probe has ended with the limit, or the limit has not ended")
	s.setProbe(nil)
	kit.Check(t, s.rare == nil, "the memory of what is over is kept, after the probe")
	s.armLimit(delay)
	s.stopLimit()
	kit.Check(t, s.rare == nil, "the memory of what is over is kept, after the limit")
}
