package wsserver

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A list is what a program has set, such as handlers, in the order of setting. It is replaced, not
// changed: whoever has read it may walk it without a lock, and so may still call what was taken out
// meanwhile.
type list[T any] []*T

func (l *list[T]) add(p *T) { *l = append(slices.Clip(*l), p) }

// remove takes p out, if it is there.
func (l *list[T]) remove(p *T) {
	if i := slices.Index(*l, p); i >= 0 {
		*l = slices.Concat((*l)[:i], (*l)[i+1:])
	}
}

// attach adds v to a list that mu guards. stop takes it out again.
func attach[T any](mu sync.Locker, l *list[T], v T) (stop func()) {
	mu.Lock()
	defer mu.Unlock()
	p := &v
	l.add(p)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		l.remove(p)
	}
}

// attachNamed is attach for the list of an event.
func attachNamed[T any](mu sync.Locker, lists *map[string]list[T], event string, v T) (stop func()) {
	p := &v
	change := func(do func(*list[T], *T)) {
		mu.Lock()
		defer mu.Unlock()
		l := (*lists)[event]
		do(&l, p)
		switch {
		case len(l) == 0:
			delete(*lists, event)
			return
		case *lists == nil:
			*lists = make(map[string]list[T])
		}
		(*lists)[event] = l
	}
	change((*list[T]).add)
	return func() { change((*list[T]).remove) }
}

// readShared reads a list without a lock, which is nil while it is empty.
func readShared[T any](shared *atomic.Pointer[list[T]]) list[T] {
	if l := shared.Load(); l != nil {
		return *l
	}
	return nil
}

// attachShared is attach for a list of readShared.
func attachShared[T any](mu sync.Locker, shared *atomic.Pointer[list[T]], v T) (stop func()) {
	p := &v
	change := func(do func(*list[T], *T)) {
		mu.Lock()
		defer mu.Unlock()
		l := readShared(shared)
		if do(&l, p); len(l) == 0 {
			shared.Store(nil)
			return
		}
		shared.Store(&l)
	}
	change((*list[T]).add)
	return func() { change((*list[T]).remove) }
}
