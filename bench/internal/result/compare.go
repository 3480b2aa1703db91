package result

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
)

// A Verdict is what can be said of a figure that was measured twice.
type Verdict int

const (
	Open     Verdict = iota // too close to tell: the spreads overlap, or one has one run only
	Improved                // the second is better, and the spreads are apart
	Worsened
	Different // the spreads are apart, and the figure is not judged
)

func (v Verdict) String() string {
	return [...]string{"too close to tell", "better", "worse", "different"}[v]
}

// A Comparison is what differs between two results.
type Comparison struct {
	A, B    Origin
	Changes []Change // in the order of A's scenarios, rows and metrics
	Doubts  []string // why figures may differ besides: another machine, another version of Go
	OnlyA   []string // what one of them alone has: "room-1000: centrifuge"
	OnlyB   []string
}

// A Change is one figure in both results.
type Change struct {
	Scenario, Side, Metric string
	Floor                  bool
	A, B                   Spread
	Ratio                  float64 // of the medians, B to A; 0 if A's is 0
	Verdict                Verdict // of B
}

// Compare compares two results by scenario, side and metric.
func Compare(a, b *File) *Comparison {
	c := &Comparison{A: a.Origin, B: b.Origin, OnlyA: only(a, b), OnlyB: only(b, a), Doubts: doubts(a.Origin, b.Origin)}
	for i := range a.Scenarios {
		s := &a.Scenarios[i]
		t := b.Scenario(s.Name)
		if t == nil {
			continue
		}
		if s.Text != t.Text {
			c.Doubts = append(c.Doubts, fmt.Sprintf("%s was not measured in the same way", s.Name))
		}
		for n := range s.Rows {
			if other := t.Row(s.Rows[n].Side); other != nil {
				c.Changes = append(c.Changes, changes(s, &s.Rows[n], other)...)
			}
		}
	}
	return c
}

func changes(s *Scenario, a, b *Row) (all []Change) {
	for _, metric := range s.Metrics {
		before, hasA := a.Spread(metric)
		after, hasB := b.Spread(metric)
		if !hasA || !hasB {
			continue
		}
		c := Change{Scenario: s.Name, Side: a.Side, Metric: metric, Floor: a.Floor, A: before, B: after}
		if before.Median != 0 {
			c.Ratio = after.Median / before.Median
		}
		if before.Apart(after) {
			c.Verdict = verdict(metric, before, after)
		}
		all = append(all, c)
	}
	return all
}

func verdict(metric string, before, after Spread) Verdict {
	m, _ := FindMetric(metric)
	switch {
	case m.Better == Neither:
		return Different
	case m.Compare(after.Median, before.Median) < 0:
		return Improved
	}
	return Worsened
}

// only are the sides that a has and b has not, or whole scenarios.
func only(a, b *File) (names []string) {
	for i := range a.Scenarios {
		s := &a.Scenarios[i]
		t := b.Scenario(s.Name)
		if t == nil {
			names = append(names, s.Name)
			continue
		}
		for _, r := range s.Rows {
			if t.Row(r.Side) == nil {
				names = append(names, s.Name+": "+r.Side)
			}
		}
	}
	return names
}

func doubts(a, b Origin) (all []string) {
	differ := func(what, a, b string) {
		if a != b {
			all = append(all, fmt.Sprintf("%s: %s, then %s", what, a, b))
		}
	}
	differ("processor", a.CPU, b.CPU)
	differ("cores", fmt.Sprint(a.Cores), fmt.Sprint(b.Cores))
	differ("kernel", a.Kernel, b.Kernel)
	differ("Go", a.Go, b.Go)
	for _, name := range slices.Sorted(maps.Keys(a.Programs)) {
		if other, ok := b.Programs[name]; ok {
			differ(name, a.Programs[name], other)
		}
	}
	return all
}

// Chance is how likely two spreads of so many runs are to be apart if both sides are equal, and nothing else
// changes between the runs: 2 / C(a+b, a).
func Chance(a, b int) float64 {
	if a < 2 || b < 2 {
		return 0
	}
	ways, _ := new(big.Float).SetInt(new(big.Int).Binomial(int64(a+b), int64(a))).Float64()
	return 2 / ways
}
