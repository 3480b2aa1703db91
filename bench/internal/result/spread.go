package result

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Spread is a figure of several runs.
type Spread struct {
	Median, Least, Most float64
	Runs                int
}

// SpreadOf is the spread of values; that of none is the zero value.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Least: v[0], Most: v[len(v)-1], Runs: len(v)}
}

// Spread is that of a metric over the runs that have it; false if none does.
func (r *Row) Spread(metric string) (Spread, bool) {
	var values []float64
	for _, run := range r.Runs {
		if v, ok := run.Values[metric]; ok {
			values = append(values, v)
		}
	}
	return SpreadOf(values), len(values) > 0
}

// Apart reports whether s and t differ by more than their runs do among themselves. One run shows no spread,
// so that nothing is apart from it.
func (s Spread) Apart(t Spread) bool {
	return s.Runs > 1 && t.Runs > 1 && (s.Most < t.Least || t.Most < s.Least)
}

// Text is s with a number of decimals: the median, and least and most if they differ.
func (s Spread) Text(decimals int) string {
	return s.text(func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) })
}

// String is s for people: three digits that count, or all before the point, in groups of thousands.
func (s Spread) String() string { return s.text(Number) }

func (s Spread) text(number func(float64) string) string {
	least, most := number(s.Least), number(s.Most)
	if least == most {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.Median), least, most)
}

// Number is a figure for people: three digits that count, or all before the point, in groups of thousands.
func Number(v float64) string {
	decimals := 0
	if size := math.Abs(v); size > 0 && size < 100 {
		decimals = min(2-int(math.Floor(math.Log10(size))), 6)
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	sign := ""
	if rest, ok := strings.CutPrefix(whole, "-"); ok {
		sign, whole = "-", rest
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction = strings.TrimRight(fraction, "0"); fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}
