package sockets_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
)

// wantErrors checks that all that can be done is one error, once wrapped, which says what was to be
// done.
func wantErrors(t *testing.T, what string, errs map[string]error, want error) {
	t.Helper()
	for op, err := range errs {
		op, _, _ = strings.Cut(op, ",")
		var wrapped *sockets.Error
		ofEvent := strings.Contains(op, "emit")
		switch {
		case !errors.As(err, &wrapped), !errors.Is(wrapped.Err, want),
			errors.As(wrapped.Err, new(*sockets.Error)), wrapped.Op != op, (wrapped.Event != "") != ofEvent:
			t.Errorf("%s: %s: got %+v, want %v", what, op, err, want)
		}
	}
}

// TestNothingCanBeDone: the zero Broadcast, one of a namespace that is not usable, and one of a hub
// that is closed say so, whatever they are asked for, and whomever they select.
func TestNothingCanBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sockets.NamespaceConfig{})
		broken := errors.New("broken")
		cfg := sockets.NamespaceConfig{Unusable: broken}
		unusable := sockets.NewNamespace("/", w.hubs[0].Rooms("/", frame), cfg)
		zero := sockets.Broadcast{}
		check := func(what string, want error, all sockets.Broadcast) {
			t.Helper()
			for manner, b := range map[string]sockets.Broadcast{
				"all": all, "a room": all.To("x"), "nobody": all.To(), "but some": all.Except("x"),
				"local": all.Local(), "volatile": all.Volatile(),
			} {
				wantErrors(t, what+", "+manner, calls(t.Context(), b), want)
			}
		}
		ofNamespace := func(ns *sockets.Namespace) map[string]error {
			return map[string]error{
				"emit":                       ns.Emit(t.Context(), "q"),
				"list rooms":                 errorOf(ns.AllRooms(t.Context())),
				"server-side emit":           ns.ServerSideEmit(t.Context(), "q"),
				"server-side emit, with ack": errorOf(ns.ServerSideEmitWithAck(t.Context(), "q")),
			}
		}
		check("zero", sockets.ErrNoNamespace, zero)
		check("unusable", broken, unusable.All())
		wantErrors(t, "unusable", ofNamespace(unusable), broken)
		w.want(t, "", "")
		kit.OK(t, w.hubs[0].Close(t.Context()))
		check("closed", adapter.ErrClosed, w.ns.All())
		wantErrors(t, "closed", ofNamespace(w.ns), adapter.ErrClosed)
	})
}

// TestNotReady: what asks other nodes waits until there are some; what only sends does not.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		w := newWorld(t, sockets.NamespaceConfig{Ready: never, AckTimeout: time.Second})
		all := w.ns.All()
		type call = func(ctx context.Context) error
		for op, call := range map[string]call{
			"emit":               func(ctx context.Context) error { return errorOf(all.EmitCounted(ctx, "q")) },
			"fetch sockets":      func(ctx context.Context) error { return errorOf(all.FetchSockets(ctx)) },
			"count sockets":      func(ctx context.Context) error { return errorOf(all.Count(ctx)) },
			"join sockets":       func(ctx context.Context) error { return all.SocketsJoin(ctx, "new") },
			"leave rooms":        func(ctx context.Context) error { return all.SocketsLeave(ctx, "x") },
			"disconnect sockets": func(ctx context.Context) error { return all.DisconnectSockets(ctx, true) },
			"list rooms":         func(ctx context.Context) error { return errorOf(w.ns.AllRooms(ctx)) },
		} {
			start := time.Now()
			err := call(t.Context())
			var partial *cluster.PartialError
			wantErrors(t, "no deadline", map[string]error{op: err}, context.DeadlineExceeded)
			if got := time.Since(start); !errors.As(err, &partial) || got != cluster.CallTimeout {
				t.Errorf("%s: got %v after %v, want a PartialError after %v", op, err, got, cluster.CallTimeout)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start = time.Now()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
				t.Errorf("%s: got %v after %v, want DeadlineExceeded after a minute", op, err, time.Since(start))
			}
		}
		start := time.Now()
		_, err := all.EmitWithAck(t.Context(), "q")
		if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
			t.Errorf("EmitWithAck: got %v after %v, want DeadlineExceeded after AckTimeout", err, d)
		}
		w.want(t, "", "")
		kit.Equal(t, w.in("new"), "", "in new")
		kit.Equal(t, w.in("x"), "ab", "in x")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.ns.To("x").Emit(ended, "e"); err != nil { // its ctx does not matter
			t.Errorf("Emit: %v", err)
		}
		w.want(t, "ab", `2["e"]`)
	})
}

// TestEndedContext: with a ctx that has ended, what waits for answers sends nothing.
func TestEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sockets.NamespaceConfig{})
		errCause := errors.New("cause")
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errCause)
		wantErrors(t, "ended", map[string]error{
			"emit, counted":    errorOf(w.ns.All().EmitCounted(ended, "q")),
			"emit, with acks":  errorOf(w.ns.All().EmitWithAck(ended, "q")),
			"server-side emit": errorOf(w.ns.ServerSideEmitWithAck(ended, "q")),
		}, errCause)
		synctest.Wait()
		w.want(t, "", "")
	})
}

// TestWrongNames: what is no event, no namespace and no room reaches nobody, and is an error also
// where nobody is selected.
func TestWrongNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sockets.NamespaceConfig{Limits: &packet.Limits{Attachments: 1}})
		for _, test := range []struct {
			event string
			args  []any
			want  error
		}{
			{"disconnect", nil, packet.ErrReserved},
			{"nan", []any{math.NaN()}, nil},
			{"channel", []any{make(chan int)}, nil},
			{"attachments", []any{[]byte{1}, []byte{2}}, packet.ErrAttachments},
		} {
			errs := []error{w.ns.ServerSideEmit(t.Context(), test.event, test.args...)}
			if test.event == "attachments" {
				errs = nil // servers may send each other more
			}
			for _, b := range []sockets.Broadcast{w.ns.All(), w.ns.To()} {
				_, counted := b.EmitCounted(t.Context(), test.event, test.args...)
				_, acked := b.EmitWithAck(t.Context(), test.event, test.args...)
				errs = append(errs, b.Emit(t.Context(), test.event, test.args...), counted, acked)
			}
			for _, err := range errs {
				var wrapped *sockets.Error
				switch {
				case !errors.As(err, &wrapped), wrapped.Event != test.event,
					test.want != nil && !errors.Is(err, test.want),
					err.Error() != fmt.Sprintf("belfry: %s %q: %v", wrapped.Op, test.event, wrapped.Err):
					t.Errorf("%s: got %v", test.event, err)
				}
			}
		}
		other := sockets.NewNamespace("/a,b", w.hubs[0].Rooms("/a,b", frame), sockets.NamespaceConfig{})
		wantErrors(t, "a namespace", map[string]error{"emit": other.Emit(t.Context(), "x")}, packet.ErrNamespace)
		long := strings.Repeat("x", cluster.MaxRoomName+1)
		err := w.ns.All().SocketsJoin(t.Context(), "new", long)
		wantErrors(t, "a room", map[string]error{"join sockets": err}, cluster.ErrRoomName)
		kit.Equal(t, w.in("new"), "", "who has joined a room with one that cannot be")
		w.want(t, "", "")
	})
}

// TestCountTakesNoMemory: neither here nor in the other node is there a list of those who are
// counted.
func TestCountTakesNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 100_000
		w := newWorld(t, sockets.NamespaceConfig{})
		for _, h := range w.hubs {
			rooms := h.Rooms("/", frame)
			m := new(member)
			for range many / 2 {
				id := h.NewID()
				kit.OK(t, errors.Join(rooms.Add(t.Context(), id, m), rooms.Join(t.Context(), id, "many")))
			}
		}
		for what, b := range map[string]sockets.Broadcast{
			"a room": w.ns.To("many"), "local": w.ns.To("many").Local(), "two rooms": w.ns.To("many", "nobody"),
			"all but the others": w.ns.Except("x", "y", w.id("d")),
		} {
			want := many
			if what == "local" {
				want = many / 2
			}
			const times = 10
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range times {
				if n, err := b.Count(t.Context()); err != nil || n != want {
					t.Fatalf("%s: got %d, %v, want %d", what, n, err, want)
				}
			}
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 64<<10 { // ids alone are 16 bytes each
				t.Errorf("%s: a count takes %d bytes", what, each)
			}
		}
	})
}

// TestDoc: go doc shows every method of what a program holds, where it is documented: none is
// promoted from another type.
func TestDoc(t *testing.T) {
	fset := token.NewFileSet()
	names, _ := filepath.Glob("*.go")
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		kit.OK(t, err)
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, file)
		}
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/belfry-io/belfry/adapter/sockets")
	kit.OK(t, err)
	shown := make(map[string][]string)
	for _, typ := range p.Types {
		for _, m := range typ.Methods {
			if m.Doc == "" && m.Name != "Error" {
				t.Errorf("%s.%s has no doc", typ.Name, m.Name)
			}
			shown[typ.Name] = append(shown[typ.Name], m.Name)
		}
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[sockets.Broadcast](), reflect.TypeFor[sockets.RemoteSocket](),
		reflect.TypeFor[*sockets.Namespace](), reflect.TypeFor[sockets.Response](),
	} {
		name := typ.String()[strings.LastIndexByte(typ.String(), '.')+1:]
		if typ.NumMethod() == 0 {
			t.Errorf("%s has no methods", name)
		}
		for i := range typ.NumMethod() {
			if !slices.Contains(shown[name], typ.Method(i).Name) {
				t.Errorf("go doc does not show %s.%s", name, typ.Method(i).Name)
			}
		}
	}
}
