// Package kit has what the tests of all packages share: checks, waiting, closing, and logs.
package kit

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Patience bounds every wait of tests outside of a bubble. It is long because the machine may be busy;
// nothing waits for it to pass.
const Patience = time.Minute

// Silent drops what is logged.
var Silent = slog.New(slog.DiscardHandler)

// Eventually waits for what no channel tells: until ok returns true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: not within %v", what, Patience)
		}
	}
}

// Until is Eventually for a check that says what is wrong: it waits until that returns nil.
func Until(t testing.TB, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(Patience); ; time.Sleep(time.Millisecond) {
		if err = check(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", Patience, err)
		}
	}
}

// Receive waits for a value of c.
func Receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(Patience):
		t.Fatalf("waiting for %s: not within %v", what, Patience)
	}
	return v
}

// Bubble runs f as a subtest, with a clock of its own: see [synctest.Test].
func Bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Within returns a context that ends after d, and with the test.
func Within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Close closes c, which must succeed: at once if it is deferred, or by t.Cleanup.
func Close(t testing.TB, c interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close of a %T: %v", c, err)
	}
}

// A Log keeps what is written to it, by anybody.
type Log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Logger returns a logger that writes to l, line by line.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
