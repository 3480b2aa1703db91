package protocol

import (
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A rule is one sentence of a protocol and the case that checks it.
type rule struct {
	name  string // the section of the document, and what it asks
	check func(c *check)
	alone bool // it keeps the server busy for so long that others would lose their sessions: it runs before them

	deviates string // why the reference breaks the rule, if it does: the case must then fail there
	unasked  bool   // the reference does so at times only, or dies of it
}

// A check is one run of a case against one server. Its failures end the case.
type check struct {
	t *testing.T
	server
	about    string // the row of a case that has several
	deviates bool   // the case must fail
}

// on names the row of a case that what follows is about.
func (c *check) on(row string) *check {
	d := *c
	d.about = brief(row) + ": "
	return &d
}

// failure is what a case panics with, so that one that must fail can be told from one that does.
type failure string

// each runs a case for each of its rows, in a connection of their own. If the case must fail, it must with each of them.
func (c *check) each(rows []string, do func(c *check, row string)) {
	var failures []string
	for _, row := range rows {
		err := try(func() { do(c.on(row), row) })
		switch {
		case err != "" && !c.deviates:
			panic(err)
		case err != "":
			failures = append(failures, string(err))
		case c.deviates:
			c.t.Errorf("the reference follows the rule with %s", brief(row))
		}
	}
	if len(failures) > 0 {
		panic(failure(strings.Join(failures, "\n")))
	}
}

// Fatalf ends the case.
func (c *check) Fatalf(format string, args ...any) {
	panic(failure(where() + c.about + fmt.Sprintf(format, args...)))
}

// where names the line of the case that failed: the first one outside of the helpers.
func where() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		switch file := filepath.Base(frame.File); {
		case strings.HasSuffix(file, "_rules_test.go"):
			return fmt.Sprintf("%s:%d: ", file, frame.Line)
		case !more:
			return ""
		}
	}
}

// run holds a server to all rules, many at a time: most of them wait for something.
func run(t *testing.T, s server, rules []rule) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if !r.alone {
				t.Parallel()
			}
			deviates := s.reference && r.deviates != ""
			if deviates && r.unasked {
				t.Skip("the reference is not asked: " + r.deviates)
			}
			attempt := func() failure {
				return try(func() { r.check(&check{t: t, server: s, deviates: deviates}) })
			}
			started := time.Now()
			err := attempt()
			// The servers ping soon, and their time for a pong is short. A case that failed and took longer than that may have been too slow for
			// it, on a machine with other work: it gets another chance.
			for n := 1; n < attempts && err != "" && !deviates && time.Since(started) > pingInterval; n++ {
				t.Logf("attempt %d: %s", n, err)
				started = time.Now()
				err = attempt()
			}
			switch {
			case deviates && err == "":
				t.Errorf("the reference follows the rule, though it is said to deviate: %s", r.deviates)
			case deviates:
				t.Logf("the reference deviates: %s: %s", r.deviates, err)
			case err != "":
				t.Error(string(err))
			}
		})
	}
}

// try runs a case, or a part of it, and returns its failure.
func try(do func()) (err failure) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = f
		}
	}()
	do()
	return ""
}

// patience is how long a case waits for what must come.
const patience = 15 * time.Second

// attempts is how often a case may fail when time may be the reason.
const attempts = 8

// dial opens a connection to the server.
func (c *check) dial() *conn {
	nc, err := net.DialTimeout("tcp", c.address, patience)
	if err != nil {
		c.Fatalf("dial: %v", err)
	}
	c.t.Cleanup(func() { nc.Close() })
	return newConn(c, nc)
}

// equal fails the case unless got is want.
func equal[T comparable](c *check, what string, got, want T) {
	if got != want {
		c.Fatalf("%s: got %s, want %s", what, brief(got), brief(want))
	}
}

// brief is a value for a failure: its bytes, but not a megabyte of them.
func brief(v any) string {
	s := fmt.Sprintf("%#v", v)
	if len(s) > 400 {
		s = fmt.Sprintf("%s... (%d characters)", s[:400], len(s))
	}
	return s
}
