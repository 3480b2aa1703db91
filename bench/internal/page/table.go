// Package page shows what a benchmark has measured: as tables of Markdown, and as one page of HTML with charts
// that needs no network.
package page

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// A Table is one of Markdown: the heads of its columns, then its rows.
type Table [][]string

// inCell is text as a cell may have it.
var inCell = strings.NewReplacer("|", `\|`, "\n", " ")

// Write writes t with its columns lined up, and an empty line.
func (t Table) Write(w io.Writer) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			row[i] = inCell.Replace(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for n, row := range t {
		for i, cell := range row {
			fmt.Fprintf(w, "| %-*s ", widths[i], cell)
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, width := range widths {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", width+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
	fmt.Fprintln(w)
}

// An originLine is something about where figures come from.
type originLine struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Code  bool
}

func commit(o result.Origin) string {
	if o.Modified {
		return o.Commit + ", modified"
	}
	return o.Commit
}

func originDate(o result.Origin) string { return o.Date.Format(time.RFC3339) }

func originLines(o result.Origin) []originLine {
	machine := fmt.Sprintf("%s, %d cores, %s, %s", o.CPU, o.Cores, o.Kernel, o.Go)
	for _, name := range slices.Sorted(maps.Keys(o.Programs)) {
		machine += ", " + name + " " + o.Programs[name]
	}
	return []originLine{
		{What: "Command", Value: o.Command, Code: true},
		{What: "Date", Value: originDate(o)},
		{What: "Commit", Value: commit(o)},
		{What: "Machine", Value: machine},
		{What: "Load average", Value: "before " + o.Before + ", after " + o.After},
	}
}

// Origin writes where figures come from as a list of Markdown.
func Origin(w io.Writer, o result.Origin) {
	for _, line := range originLines(o) {
		value := line.Value
		if line.Code {
			value = "`" + value + "`"
		}
		fmt.Fprintf(w, "- %s: %s\n", line.What, value)
	}
	fmt.Fprintln(w)
}
