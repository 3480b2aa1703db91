package page

import (
	"slices"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// A chart is the bars of one column, as charts.js has them.
type chart struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	Wish  string `json:"wish"`
	Bars  []bar  `json:"bars"`
}

type bar struct {
	Side   string  `json:"side"`
	Kind   string  `json:"kind"` // ours, peer, floor
	Mark   mark    `json:"mark"`
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
	Runs   int     `json:"runs"`
	Figure string  `json:"figure"`
}

// newChart is that of a column: the best first, floors last.
func newChart(g grid, column int) *chart {
	c := g.Columns[column]
	one := &chart{Title: c.Heading(), Unit: c.Units(), Wish: wish(c)}
	for _, l := range g.Lines {
		value := l.Cells[column]
		if value.Figure == "" {
			continue
		}
		b := bar{Side: l.Side, Kind: "peer", Mark: value.Mark, Figure: value.Figure,
			Median: value.spread.Median, Least: value.spread.Least, Most: value.spread.Most, Runs: value.spread.Runs}
		switch {
		case l.Floor:
			b.Kind = "floor"
		case l.Ours:
			b.Kind = "ours"
		}
		one.Bars = append(one.Bars, b)
	}
	m, _ := result.FindMetric(c.Metric)
	slices.SortStableFunc(one.Bars, func(a, b bar) int {
		if (a.Kind == "floor") != (b.Kind == "floor") {
			return map[bool]int{true: 1, false: -1}[a.Kind == "floor"]
		}
		return m.Compare(a.Median, b.Median)
	})
	return one
}
