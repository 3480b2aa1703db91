package page

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/bench/internal/result"
)

func html(t *testing.T, f *result.File) string {
	t.Helper()
	var b strings.Builder
	if err := HTML(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elsewhere is what would have a browser ask for something: all that begins with a scheme is a link, a name or a licence.
var elsewhere = regexp.MustCompile(`(?i)\s(src|srcset|poster|background)=|<(link|iframe|object|embed|base|form)\b|@import|\burl\(|sourceMappingURL=`)

// TestHTML: the page has everything in it, and its charts what the tables have.
func TestHTML(t *testing.T) {
	t.Parallel()
	f := example(t)
	text := html(t, f)
	if found := elsewhere.FindAllString(text, -1); len(found) != 1 || !strings.Contains(text, `<link rel="icon" href="data:,">`) {
		t.Errorf("the page asks for %q, want its empty icon alone", found)
	}
	for _, part := range []string{
		"belfry has 2.8 times the deliveries a second of the best of 6 others, for 32\u00a0% of the CPU a delivery</h1>",
		"<dt>socket.io, NATS adapter</dt>", "12 missing, 3 reordered", "Example 9000, 2 cores", "0.21 0.40 0.52", "the machine was quiet",
		"<code>go run ./bench -peers</code>",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	charts := data(t, text)
	if first := charts[0]; first.Title != "Deliveries a second" || first.Bars[0].Side != "belfry" || first.Bars[0].Mark != markBest ||
		first.Bars[len(first.Bars)-1].Kind != "floor" || first.Bars[0].Least >= first.Bars[0].Median {
		t.Errorf("the first chart is %+v", first)
	}
	if less := charts[1]; less.Bars[0].Median >= less.Bars[1].Median {
		t.Errorf("less is better, and the first bars of %s are %+v", less.Title, less.Bars[:2])
	}
	for _, c := range charts {
		if !strings.Contains(text, `<canvas id="`+c.ID+`"`) {
			t.Errorf("%s has no place in the page", c.ID)
		}
	}
}

// data is what the page's charts are drawn from.
func data(t *testing.T, text string) (charts []*chart) {
	t.Helper()
	_, rest, ok := strings.Cut(text, `<script type="application/json" id="data">`)
	raw, _, closed := strings.Cut(rest, "</script>")
	if err := json.Unmarshal([]byte(raw), &charts); !ok || !closed || err != nil || len(charts) == 0 {
		t.Fatalf("the page's data: %v, %.100s", err, raw)
	}
	return charts
}

// TestHTMLNames: names come from a file, and are text wherever they stand.
func TestHTMLNames(t *testing.T) {
	t.Parallel()
	const evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'\u2028&<!--"
	f := example(t)
	safe := strings.Count(html(t, f), "<script")
	f.Title, f.Notes, f.Missing = evil, []string{evil}, []result.Missing{{Side: evil, Why: evil}}
	f.Origin.CPU, f.Origin.Command, f.Origin.Programs = evil, evil, map[string]string{evil: evil}
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		s.Title, s.Text, s.Rows[0].Side, s.Rows[0].Notes = evil, evil, evil, []string{evil}
	}
	f.Scenarios[0].Name, f.Summary = evil, nil
	text := html(t, f)
	if n := strings.Count(text, "<script"); n != safe || strings.Contains(text, "<img") {
		t.Errorf("the page has %d scripts, want %d, and no picture", n, safe)
	}
	if side := data(t, text)[0].Bars[0].Side; side != evil {
		t.Errorf("the charts have %q, want %q", side, evil)
	}
	f.Scenarios[1].Metrics[0] = "javascript:of-a-later-version"
	html(t, f)
}

// TestFew: results that have little in them have a page, too.
func TestFew(t *testing.T) {
	t.Parallel()
	row := func(side string, ours bool, values ...float64) result.Row {
		r := result.Row{Side: side, Ours: ours}
		for _, v := range values {
			r.Runs = append(r.Runs, result.Run{Values: map[string]float64{"p99_ms": v}})
		}
		return r
	}
	for want, rows := range map[string][]result.Row{
		"0 sides beside each other":                         nil,
		"1 sides beside each other":                         {row("belfry", true, 1, 2)},
		"2 sides beside each other":                         {row("a", false, 1, 2), row("b", false, 1, 2)},
		"belfry and peer are too close to tell by p99":      {row("belfry", true, 1, 3), row("peer", false, 2, 4)},
		"belfry has 30 % of the p99 of peer":                {row("belfry, x", true, 3, 3), row("belfry, y", true, 3, 9), row("peer", false, 10, 10)},
		"belfry has 2 times the p99 of b, which is ahead":   {row("belfry", true, 2, 2), row("b", false, 1, 1), row("c", false, 9, 9)},
		"belfry has 0 % of the p99 of the best of 2 others": {row("belfry", true, 0, 0), row("b", false, 1, 1), row("c", false, 1, 1)},
	} {
		f := &result.File{Scenarios: []result.Scenario{{Name: "s", Metrics: []string{"p99_ms", "load_busy"}, Rows: rows}}}
		var b strings.Builder
		if err := Markdown(&b, f); err != nil {
			t.Fatal(err)
		}
		if text := html(t, f); !strings.Contains(text, strings.ReplaceAll(want, " %", "\u00a0%")+"</h1>") || !strings.Contains(b.String(), "**"+want+".**") {
			t.Errorf("the page does not say %q, but\n%.300s", want, b.String())
		}
		if open := strings.Contains(want, "too close"); open && strings.Contains(b.String(), "is ahead") {
			t.Errorf("one is ahead of what is too close to tell:\n%s", b.String())
		}
	}
}

func TestComparison(t *testing.T) {
	t.Parallel()
	a, b := example(t), example(t)
	b.Origin.Go, b.Origin.Commit, b.Origin.Modified = "go1.27", "fedcba987654", true
	b.Scenarios = b.Scenarios[:2]
	b.Scenarios[1].Rows = b.Scenarios[1].Rows[1:]
	for i := range b.Scenarios[0].Rows[0].Runs {
		values := b.Scenarios[0].Rows[0].Runs[i].Values
		values["deliveries_s"], values["cpu_us"] = values["deliveries_s"]*2, values["cpu_us"]*1.5
	}
	var text strings.Builder
	if err := Comparison(&text, result.Compare(a, b)); err != nil {
		t.Fatal(err)
	}
	golden(t, "comparison.md", text.String())
}
