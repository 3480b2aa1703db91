package figures

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A sheet has what was measured, by the names of the table: the least of each figure, since whatever else
// happens on the machine can only add to it.
type sheet struct {
	mu    sync.Mutex // guards what follows
	least map[string]float64
}

// note takes a value of a figure.
func (s *sheet) note(t *testing.T, what string, v float64) {
	t.Helper()
	if row(what) < 0 {
		t.Fatalf("%q is not in the table", what)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if least, ok := s.least[what]; !ok || v < least {
		s.least[what] = v
	}
}

// measure measures a figure several times, and what is more than it may be for a while longer: a goroutine may
// wait for its next task.
func (s *sheet) measure(t *testing.T, what string, value func() float64) (least float64) {
	t.Helper()
	begin := time.Now()
	least = math.Inf(1)
	for n := 0; n < 3 || least > table[row(what)].most && time.Since(begin) < 5*time.Second; n++ {
		least = min(least, value())
		s.note(t, what, least)
	}
	return least
}

// check fails the test for each figure that has risen.
func (s *sheet) check(t *testing.T) {
	t.Helper()
	for _, f := range table {
		if v := round(s.least[f.what]); v > f.most {
			t.Errorf("%s: it was %v, at the most %v, and is %v: something has made it dearer. If that is meant, this"+
				" is its row for table_linux_test.go, and the commit says why:\n%v", f.what, f.today, f.most, v, f.with(v))
		}
	}
}

// String is the table as its file has it, with what was measured.
func (s *sheet) String() string {
	var b strings.Builder
	for _, f := range table {
		v, ok := s.least[f.what]
		switch v = round(v); {
		case !ok:
			fmt.Fprintf(&b, "%v // not measured\n", f)
		case v > f.most:
			fmt.Fprintf(&b, "%v // ROSE from %v\n", f.with(v), f.today)
		case v < 2*f.today-f.most: // by more than a run differs from the next one
			fmt.Fprintf(&b, "%v // FELL from %v: take it into the table\n", f.with(v), f.today)
		default:
			fmt.Fprintf(&b, "%v // measured %v\n", f, v)
		}
	}
	return b.String()
}

// String is the row as its file has it.
func (f figure) String() string { return fmt.Sprintf("\t{%q, %v, %v},", f.what, f.today, f.most) }

// with is the row with a new figure, and a bound as far above it as today's, relatively.
func (f figure) with(v float64) figure {
	margin := 1.03
	if f.today > 0 {
		margin = f.most / f.today
	}
	return figure{f.what, round(v), round(v * margin)}
}

// round keeps four digits.
func round(v float64) float64 {
	v, _ = strconv.ParseFloat(fmt.Sprintf("%.4g", v), 64)
	return v
}

// row is where a figure is in the table, -1 if it is not.
func row(what string) int {
	return slices.IndexFunc(table, func(f figure) bool { return f.what == what })
}
