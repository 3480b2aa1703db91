package page

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/belfry-io/belfry/bench/internal/result"
)

const howToRead = "Figures are medians, with the least and the most of the runs."

// Legend says what the marks in a grid mean.
func (g grid) Legend() string {
	text := howToRead
	if g.has(markBest) {
		text += " Bold is the best of those that one could use."
	}
	if g.has(markClose) {
		text += " ~ is too close to it to tell: the spreads overlap, or there was one run only."
	}
	if g.has(markWrong) {
		text += " ! had wrong deliveries, and is not ranked."
	}
	if len(g.Floors()) > 0 {
		text += " A floor is what this machine can do: a bare program, not one that one could use."
	}
	return text
}

// Markdown writes f: first what people compare, then each scenario, then what is missing, and notes.
func Markdown(w io.Writer, f *result.File) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n**%s.**\n\n", cmp.Or(f.Title, "Side by side"), headline(f))
	Origin(&b, f.Origin)
	if g := summary(f); len(g.Columns) > 0 {
		g.table().Write(&b)
		fmt.Fprintf(&b, "%s\n\n", g.Legend())
		list(&b, columnNotes(f, g.Columns))
		list(&b, details(f))
	}
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		fmt.Fprintf(&b, "## %s\n\n", cmp.Or(s.Title, s.Name))
		for _, text := range []string{s.Text, finding(s)} {
			if text != "" {
				fmt.Fprintf(&b, "%s\n\n", text)
			}
		}
		scenarioGrid(f, s).table().Write(&b)
		list(&b, remarks(s))
	}
	if len(f.Missing) > 0 {
		fmt.Fprint(&b, "## Not measured\n\n")
		for _, m := range f.Missing {
			fmt.Fprintf(&b, "- %s: %s\n", m.Side, m.Why)
		}
		fmt.Fprintln(&b)
	}
	if len(f.Notes) > 0 {
		fmt.Fprint(&b, "## Notes\n\n")
		list(&b, f.Notes)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func list(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintf(w, "- %s\n", line)
	}
	if len(lines) > 0 {
		fmt.Fprintln(w)
	}
}

// columnNotes say which scenario each column of the summary is of.
func columnNotes(f *result.File, columns []result.Column) (lines []string) {
	for _, c := range columns {
		s := f.Scenario(c.Scenario)
		lines = append(lines, c.Heading()+": "+lower(cmp.Or(s.Title, s.Name)))
	}
	return lines
}

func (g grid) table() Table {
	head := []string{""}
	for _, c := range g.Columns {
		text := c.Label()
		if better := wish(c); better != "" {
			text += " (" + better + ")"
		}
		head = append(head, text)
	}
	t := Table{head}
	for _, l := range g.Lines {
		row := []string{l.Side}
		if l.Floor {
			row[0] = "_floor: " + l.Side + "_"
		}
		for _, c := range l.Cells {
			row = append(row, c.markdown())
		}
		t = append(t, row)
	}
	return t
}

func (c cell) markdown() string {
	text := cmp.Or(c.Figure, "-")
	switch c.Mark {
	case markBest:
		text = "**" + text + "**"
	case markClose:
		text += " ~"
	case markWrong:
		text += " !"
	}
	if c.Range != "" {
		text += " " + c.Range
	}
	return text
}
