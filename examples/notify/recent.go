package main

import (
	"container/list"
	"time"
)

// A recent is a map that forgets: whatever is older than age, and the oldest beyond limit. It is
// for one goroutine at a time.
type recent[K comparable, V any] struct {
	limit int
	age   time.Duration
	byKey map[K]*list.Element // of *item[K, V]
	order *list.List          // oldest first
}

type item[K comparable, V any] struct {
	key   K
	value V
	since time.Time
}

func newRecent[K comparable, V any](limit int, age time.Duration) *recent[K, V] {
	return &recent[K, V]{limit: limit, age: age, byKey: make(map[K]*list.Element), order: list.New()}
}

// put adds a value, unless there is one.
func (r *recent[K, V]) put(key K, value V) {
	if _, ok := r.get(key); ok {
		return
	}
	r.byKey[key] = r.order.PushBack(&item[K, V]{key, value, time.Now()})
	if len(r.byKey) > r.limit {
		r.remove(r.order.Front().Value.(*item[K, V]).key)
	}
}

func (r *recent[K, V]) get(key K) (value V, ok bool) {
	for oldest := r.order.Front(); oldest != nil; oldest = r.order.Front() {
		i := oldest.Value.(*item[K, V])
		if time.Since(i.since) < r.age {
			break
		}
		r.remove(i.key)
	}
	e, ok := r.byKey[key]
	if !ok {
		return value, false
	}
	return e.Value.(*item[K, V]).value, true
}

func (r *recent[K, V]) remove(key K) {
	if e, ok := r.byKey[key]; ok {
		r.order.Remove(e)
		delete(r.byKey, key)
	}
}

// all yields keys and values, oldest first.
func (r *recent[K, V]) all(yield func(K, V) bool) {
	for e := r.order.Front(); e != nil; e = e.Next() {
		if i := e.Value.(*item[K, V]); time.Since(i.since) < r.age && !yield(i.key, i.value) {
			return
		}
	}
}
