package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// busyLoad is the share of time in which a load that does not wait may be what sets the rate.
const busyLoad = 0.9

// A duel is the best of ours against the best of the others, by one column of the summary.
type duel struct {
	what, unit string // "CPU a delivery", "us"
	more       bool   // more is better
	others     string
	own, other result.Spread
}

func (d duel) open() bool  { return !d.own.Apart(d.other) }
func (d duel) ahead() bool { return !d.open() && (d.own.Median > d.other.Median) == d.more }

// share is our figure in the other's: "5.2 times the deliveries a second".
func (d duel) share() string { return ratio(d.own.Median, d.other.Median, d.more) + " the " + d.what }

// figures are ours and the other's: "7.7 against 8.14 ms".
func (d duel) figures() string {
	return strings.TrimSpace(result.Number(d.own.Median) + " against " + result.Number(d.other.Median) + " " + d.unit)
}

// ratio is a in b: a factor, or per cent where less is better.
func ratio(a, b float64, more bool) string {
	switch {
	case b == 0:
		return "more than no part of"
	case more || a >= b:
		return twoDigits(a/b) + " times"
	}
	return twoDigits(100*a/b) + " % of"
}

func twoDigits(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func duels(f *result.File) (all []duel) {
	for _, c := range f.Columns() {
		ours, others, ok := f.Scenario(c.Scenario).Duel(c.Metric)
		if !ok {
			continue
		}
		m, _ := result.FindMetric(c.Metric)
		d := duel{what: lower(c.Heading()), unit: c.Units(), more: m.Better == result.More, others: others.Side}
		d.own, _ = c.Spread(ours)
		d.other, _ = c.Spread(others)
		all = append(all, d)
	}
	return all
}

// lower is a title inside a sentence: "Deliveries a second" begins small, "CPU a delivery" does not.
func lower(title string) string {
	if len(title) > 1 && title[1] >= 'a' && title[1] <= 'z' {
		return strings.ToLower(title[:1]) + title[1:]
	}
	return title
}

// ourName is what the names of all our sides begin with.
func ourName(f *result.File) string {
	var name string
	for _, side := range sides(f, func(r *result.Row) bool { return r.Ours }) {
		if name == "" {
			name = side
		}
		for !strings.HasPrefix(side, name) {
			name = name[:len(name)-1]
		}
	}
	return strings.TrimRight(name, " ,:(")
}

// sides are the names of those rows, over all scenarios, in the order in which they come first.
func sides(f *result.File, counts func(*result.Row) bool) (names []string) {
	for i := range f.Scenarios {
		for n := range f.Scenarios[i].Rows {
			if r := &f.Scenarios[i].Rows[n]; counts(r) && !slices.Contains(names, r.Side) {
				names = append(names, r.Side)
			}
		}
	}
	return names
}

// headline is what was found, in a sentence.
func headline(f *result.File) string {
	all := duels(f)
	others := sides(f, func(r *result.Row) bool { return !r.Ours && !r.Floor })
	name := ourName(f)
	if len(all) == 0 || name == "" {
		return fmt.Sprintf("%d sides beside each other", len(sides(f, func(r *result.Row) bool { return !r.Floor })))
	}
	first, rival := all[0], fmt.Sprintf("the best of %d others", len(others))
	if len(others) == 1 {
		rival = others[0]
	}
	switch {
	case first.open():
		return fmt.Sprintf("%s and %s are too close to tell by %s", name, first.others, first.what)
	case !first.ahead():
		return fmt.Sprintf("%s has %s of %s, which is ahead", name, first.share(), first.others)
	case len(all) > 1 && all[1].ahead() && !all[1].more:
		return fmt.Sprintf("%s has %s of %s, for %s", name, first.share(), rival, all[1].share())
	}
	return fmt.Sprintf("%s has %s of %s", name, first.share(), rival)
}

// details are every duel, in sentences.
func details(f *result.File) (lines []string) {
	name := ourName(f)
	group := func(begin string, belongs func(duel) bool) {
		var parts []string
		for _, d := range duels(f) {
			if belongs(d) {
				parts = append(parts, fmt.Sprintf("%s (%s, %s)", d.share(), d.others, d.figures()))
			}
		}
		if len(parts) > 0 {
			lines = append(lines, begin+" "+strings.Join(parts, "; ")+".")
		}
	}
	group(name+" is ahead of the best other side with", duel.ahead)
	group("Too close to tell:", duel.open)
	group(name+" is behind with", func(d duel) bool { return !d.open() && !d.ahead() })
	return lines
}

// finding says who is ahead in a scenario, by its most telling metric, and how far the floor is.
func finding(s *result.Scenario) string {
	metric := s.Metrics[0]
	m, _ := result.FindMetric(metric)
	st := s.Standing(metric)
	if st.Best == nil {
		return ""
	}
	best, _ := st.Best.Spread(metric)
	figure := func(r *result.Row) string {
		own, _ := r.Spread(metric)
		text := strings.TrimSpace(result.Number(own.Median) + " " + m.Unit)
		if own.Runs == 1 {
			text += ", one run only"
		}
		return fmt.Sprintf("%s (%s)", r.Side, text)
	}
	text := m.Title + ": "
	switch {
	case len(st.Close) > 0:
		var names []string
		for _, r := range append([]*result.Row{st.Best}, st.Close...) {
			names = append(names, figure(r))
		}
		text += "too close to tell between " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	case len(st.Behind) > 0:
		text += figure(st.Best) + " is ahead, then " + strings.Join(next(st, figure), ", ")
	default:
		text += figure(st.Best)
	}
	if floor := bestFloor(s, m); floor != nil {
		own, _ := floor.Spread(metric)
		if own.Median > 0 {
			text += fmt.Sprintf(". %s reaches %s times the figure of the floor, %s", st.Best.Side,
				result.Number(best.Median/own.Median), figure(floor))
		}
	}
	return text + "."
}

// next are those behind the best, up to the first that is ours if that is not, or the other way round.
func next(st result.Standing, figure func(*result.Row) string) (names []string) {
	for _, r := range st.Behind {
		names = append(names, figure(r))
		if r.Ours != st.Best.Ours {
			break
		}
	}
	return names
}

// bestFloor is the one with the best median; nil if there is none.
func bestFloor(s *result.Scenario, m result.Metric) (best *result.Row) {
	var most float64
	for i := range s.Rows {
		r := &s.Rows[i]
		own, ok := r.Spread(m.Name)
		if ok && r.Floor && (best == nil || (own.Median > most) == (m.Better == result.More)) {
			best, most = r, own.Median
		}
	}
	return best
}

// remarks are what is to be said of a scenario's rows.
func remarks(s *result.Scenario) (lines []string) {
	for i := range s.Rows {
		r := &s.Rows[i]
		if wrong := r.Faults(); len(wrong) > 0 {
			var kinds []string
			for _, kind := range slices.Sorted(maps.Keys(wrong)) {
				kinds = append(kinds, result.Number(float64(wrong[kind]))+" "+kind)
			}
			lines = append(lines, fmt.Sprintf("%s: wrong deliveries, so it is not ranked: %s.",
				r.Side, strings.Join(kinds, ", ")))
		}
		if busy, ok := r.Spread("load_busy"); ok && busy.Median > busyLoad {
			lines = append(lines, fmt.Sprintf("%s: the load was busy for %.0f %% of the time; it may have set the rate.",
				r.Side, 100*busy.Median))
		}
		for _, note := range r.Notes {
			lines = append(lines, r.Side+": "+note)
		}
		for n, run := range r.Runs {
			for _, note := range run.Notes {
				lines = append(lines, fmt.Sprintf("%s, run %d: %s", r.Side, n+1, note))
			}
		}
	}
	return lines
}

// Verdict is how it ended for us: ahead, behind or open.
func (d duel) Verdict() string {
	switch {
	case d.open():
		return "open"
	case d.ahead():
		return "ahead"
	}
	return "behind"
}

// Share is our figure in the other's: "5.2 times", "41 %".
func (d duel) Share() string {
	return strings.TrimSuffix(ratio(d.own.Median, d.other.Median, d.more), " of")
}

// What is the figure that they are compared by.
func (d duel) What() string { return "the " + d.what }

// Against says who the other is.
func (d duel) Against() string {
	text := "of " + d.others + ": " + d.figures()
	if d.open() {
		text += ", too close to tell"
	}
	return text
}
