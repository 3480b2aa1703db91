package page

import (
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// A mark says what is special about a figure.
type mark string

const (
	markBest  mark = "best"  // of those that one could use
	markClose mark = "close" // too close to the best to tell
	markWrong mark = "wrong" // measured with wrong deliveries
)

// A cell is a figure of a side; zero if it has none.
type cell struct {
	Column, Figure, Range string
	Mark                  mark
	spread                result.Spread
}

// A line is the figures of a side.
type line struct {
	Side  string
	Ours  bool
	Floor bool
	Cells []cell
}

// A grid is sides and their figures. Floors come last.
type grid struct {
	Columns []result.Column
	Lines   []line
}

// summary is the grid of what people compare.
func summary(f *result.File) grid { return newGrid(f, f.Columns()) }

// scenarioGrid is that of all metrics of a scenario that any side has.
func scenarioGrid(f *result.File, s *result.Scenario) grid {
	var columns []result.Column
	for _, metric := range s.Metrics {
		if slices.ContainsFunc(s.Rows, func(r result.Row) bool { _, ok := r.Spread(metric); return ok }) {
			columns = append(columns, result.Column{Scenario: s.Name, Metric: metric})
		}
	}
	return newGrid(f, columns)
}

func newGrid(f *result.File, columns []result.Column) grid {
	g := grid{Columns: columns}
	for _, kind := range []func(*result.Row) bool{
		func(r *result.Row) bool { return r.Ours && !r.Floor },
		func(r *result.Row) bool { return !r.Ours && !r.Floor },
		func(r *result.Row) bool { return r.Floor },
	} {
		for _, side := range sides(f, kind) {
			if l, ok := newLine(f, columns, side); ok {
				g.Lines = append(g.Lines, l)
			}
		}
	}
	return g
}

// newLine is a side's; false if it has no figure.
func newLine(f *result.File, columns []result.Column, side string) (l line, ok bool) {
	l.Side = side
	for _, c := range columns {
		s := f.Scenario(c.Scenario)
		var one cell
		if r := s.Row(side); r != nil {
			l.Ours, l.Floor = r.Ours, r.Floor
			if spread, has := c.Spread(r); has {
				one, ok = newCell(s.Standing(c.Metric), r, spread), true
			}
		}
		one.Column = c.Label()
		l.Cells = append(l.Cells, one)
	}
	return l, ok
}

func newCell(st result.Standing, r *result.Row, s result.Spread) cell {
	c := cell{Figure: result.Number(s.Median), spread: s}
	if text := s.String(); text != c.Figure {
		c.Range = text[len(c.Figure)+1:]
	}
	switch {
	case len(r.Faults()) > 0:
		c.Mark = markWrong
	case r == st.Best:
		c.Mark = markBest
	case slices.Contains(st.Close, r):
		c.Mark = markClose
	}
	return c
}

// Usable are the lines of what one could use.
func (g grid) Usable() []line {
	return slices.DeleteFunc(slices.Clone(g.Lines), func(l line) bool { return l.Floor })
}

// Floors are the other ones.
func (g grid) Floors() []line {
	return slices.DeleteFunc(slices.Clone(g.Lines), func(l line) bool { return !l.Floor })
}

// has reports whether any figure has a mark.
func (g grid) has(m mark) bool {
	return slices.ContainsFunc(g.Lines, func(l line) bool {
		return slices.ContainsFunc(l.Cells, func(c cell) bool { return c.Mark == m })
	})
}

// runs says how many runs the figures are of: "3 runs", "2 to 3 runs".
func (g grid) runs() string {
	least, most := 0, 0
	for _, l := range g.Lines {
		for _, c := range l.Cells {
			if n := c.spread.Runs; n > 0 {
				most = max(most, n)
				if least == 0 || n < least {
					least = n
				}
			}
		}
	}
	switch {
	case most == 1:
		return "one run"
	case least == most:
		return fmt.Sprintf("%d runs", most)
	}
	return fmt.Sprintf("%d to %d runs", least, most)
}

// wish says what is better in a column.
func wish(c result.Column) string {
	m, _ := result.FindMetric(c.Metric)
	switch m.Better {
	case result.More:
		return "more is better"
	case result.Less:
		return "less is better"
	}
	return ""
}
