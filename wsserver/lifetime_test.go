package wsserver

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// TestLifetime: what waits for a lifetime, or derives from it, before or after its end, hears of the end and its cause.
func TestLifetime(t *testing.T) {
	why := errors.New("why")
	var l lifetime
	kit.Require(t, l.Err() == nil && l.made.Load() == nil, "it has ended before its end, or takes memory already")
	before := runtime.NumGoroutine()
	early, cancel := context.WithCancel(&l)
	defer cancel()
	kit.Equal(t, runtime.NumGoroutine(), before, "goroutines: package context does not know it for one of its own")
	first, second := l.Done(), l.Done()
	kit.Require(t, early.Err() == nil && first == second, "it has ended before its end")
	l.end(why)
	late, cancel := context.WithCancel(&l)
	defer cancel()
	for _, ctx := range []context.Context{&l, early, late} {
		<-ctx.Done()
		kit.Check(t, ctx.Err() == context.Canceled && context.Cause(ctx) == why,
			"got %v because of %v, want Canceled because of why", ctx.Err(), context.Cause(ctx))
	}
	var alone lifetime // nobody has asked
	alone.end(why)
	kit.Check(t, alone.Err() == context.Canceled && context.Cause(&alone) == why, "an end that nobody waits for")
}

// TestLifetimeRace: who asks first as it ends does not wait for ever.
func TestLifetimeRace(t *testing.T) {
	for range 1000 {
		var l lifetime
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { <-l.Done() })
		}
		l.end(ErrTransportClose)
		wg.Wait()
		kit.Require(t, context.Cause(&l) == ErrTransportClose, "got %v", context.Cause(&l))
	}
}
