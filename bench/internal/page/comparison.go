package page

import (
	"fmt"
	"io"
	"strings"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// Comparison writes c as Markdown: how much got better and worse, then a table a scenario.
func Comparison(w io.Writer, c *result.Comparison) error {
	var b strings.Builder
	fmt.Fprint(&b, "# From A to B\n\n")
	Table{
		{"", "A", "B"},
		{"commit", commit(c.A), commit(c.B)},
		{"date", originDate(c.A), originDate(c.B)},
		{"load average before", c.A.Before, c.B.Before},
		{"command", "`" + c.A.Command + "`", "`" + c.B.Command + "`"},
	}.Write(&b)
	list(&b, c.Doubts)
	count := make(map[result.Verdict]int)
	chance := 0.0 // how many figures are apart by chance
	for _, change := range c.Changes {
		count[change.Verdict]++
		chance += result.Chance(change.A.Runs, change.B.Runs)
	}
	fmt.Fprintf(&b, "Of %d figures, %d got better, %d worse, %d are too close to tell", len(c.Changes),
		count[result.Improved], count[result.Worsened], count[result.Open])
	if n := count[result.Different]; n > 0 {
		fmt.Fprintf(&b, "; %d differ, and are not judged", n)
	}
	fmt.Fprint(&b, ".")
	if chance > 0 {
		fmt.Fprintf(&b, " With so few runs about %.0f of them would not be, if nothing but noise had changed.", chance)
	}
	fmt.Fprintf(&b, "\n\n%s What is too close to tell has overlapping spreads, or one run only.\n\n", howToRead)
	for i := 0; i < len(c.Changes); {
		scenario, t := c.Changes[i].Scenario, Table{{"", "figure", "A", "B", "B in A", "B is"}}
		for ; i < len(c.Changes) && c.Changes[i].Scenario == scenario; i++ {
			t = append(t, changeRow(c.Changes[i]))
		}
		fmt.Fprintf(&b, "## %s\n\n", scenario)
		t.Write(&b)
	}
	for _, side := range []struct {
		name string
		only []string
	}{{"A", c.OnlyA}, {"B", c.OnlyB}} {
		if len(side.only) > 0 {
			fmt.Fprintf(&b, "Only %s has:\n\n", side.name)
			list(&b, side.only)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func changeRow(c result.Change) []string {
	m, _ := result.FindMetric(c.Metric)
	side, verdict, part := c.Side, c.Verdict.String(), "-"
	if c.Floor {
		side = "_floor: " + side + "_"
	}
	if c.Verdict == result.Improved || c.Verdict == result.Worsened {
		verdict = "**" + verdict + "**"
	}
	if c.Ratio > 0 {
		part = fmt.Sprintf("%.2f", c.Ratio)
	}
	return []string{side, m.Label(), c.A.String(), c.B.String(), part, verdict}
}
