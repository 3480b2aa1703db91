package result

import "slices"

// A Standing says who is best by one figure, of the sides that one could use. Floors are not among them, nor is
// a side with deliveries that went wrong.
type Standing struct {
	Best   *Row   // nil if no side has the figure, or it is not judged
	Close  []*Row // all others that the spreads leave open: too close to tell. Sorted, the better first
	Behind []*Row // the rest, sorted
}

// Standing is that of a metric in s.
func (s *Scenario) Standing(metric string) Standing {
	return s.standing(metric, func(r *Row) bool { return true })
}

// Duel is the best of ours against the best of the others, by a metric; false if there are not both.
func (s *Scenario) Duel(metric string) (ours, other *Row, ok bool) {
	ours = s.standing(metric, func(r *Row) bool { return r.Ours }).Best
	other = s.standing(metric, func(r *Row) bool { return !r.Ours }).Best
	return ours, other, ours != nil && other != nil
}

func (s *Scenario) standing(metric string, counts func(*Row) bool) (st Standing) {
	m, _ := FindMetric(metric)
	if m.Better == Neither {
		return st
	}
	var rows []*Row
	for i := range s.Rows {
		r := &s.Rows[i]
		if _, ok := r.Spread(metric); ok && !r.Floor && len(r.Faults()) == 0 && counts(r) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return st
	}
	slices.SortStableFunc(rows, func(a, b *Row) int { return m.Compare(a.median(metric), b.median(metric)) })
	st.Best = rows[0]
	best, _ := st.Best.Spread(metric)
	for _, r := range rows[1:] {
		if own, _ := r.Spread(metric); own.Apart(best) {
			st.Behind = append(st.Behind, r)
		} else {
			st.Close = append(st.Close, r)
		}
	}
	return st
}

func (r *Row) median(metric string) float64 {
	s, _ := r.Spread(metric)
	return s.Median
}

// Compare is negative if a is better than b, positive if it is worse.
func (m Metric) Compare(a, b float64) int {
	switch {
	case a == b:
		return 0
	case (a < b) == (m.Better == Less):
		return -1
	}
	return 1
}
