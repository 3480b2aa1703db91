package page

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/belfry-io/belfry/bench/internal/result"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed charts.js
	pageScript string
	//go:embed chartjs/chart.umd.min.js
	chartjs string
)

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A view is what the template has.
type view struct {
	Title, Headline string
	Policy          template.HTMLAttr
	Style           template.CSS
	Chartjs, Script template.JS
	Duels           []duel
	Name            string // of our sides
	Machine, When   string
	Runs            string // "3 runs"
	Wrong           bool   // a side of the summary had wrong deliveries
	Summary         grid
	SummaryNotes    []string
	Charts          []*chart // of the summary
	Scenarios       []scenarioView
	Missing         []result.Missing
	Notes           []string
	Origin          []originLine
	Data            []*chart // all charts, by their ids
}

type scenarioView struct {
	*result.Scenario
	Heading, Finding string
	Charts           []*chart
	Grid             grid
	Remarks          []string
}

// HTML writes f as one page: what was found, charts of what people compare, each scenario with charts and
// figures, where it all comes from. Everything is in it; a browser that opens it as a file asks nobody for
// anything, and the page's own policy forbids what is not in it.
func HTML(w io.Writer, f *result.File) error {
	library, _, _ := strings.Cut(chartjs, "\n//# sourceMappingURL=") // which is not in the page
	v := view{
		Title:    cmp.Or(f.Title, "Side by side"),
		Headline: strings.ReplaceAll(headline(f), " %", "\u00a0%"), // which no line begins with
		Policy:   policy(pageStyle, library, pageScript),
		Style:    template.CSS(pageStyle), Chartjs: template.JS(library), Script: template.JS(pageScript),
		Duels:   duels(f),
		Name:    ourName(f),
		Machine: fmt.Sprintf("%s, %d cores", f.Origin.CPU, f.Origin.Cores),
		When:    f.Origin.Date.UTC().Format("2 January 2006"),
		Summary: summary(f),
		Missing: f.Missing, Notes: f.Notes, Origin: originLines(f.Origin),
	}
	v.Runs, v.Wrong = v.Summary.runs(), v.Summary.has(markWrong)
	v.SummaryNotes = columnNotes(f, v.Summary.Columns)
	v.Charts = v.draw(v.Summary, len(v.Summary.Columns))
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		g := scenarioGrid(f, s)
		v.Scenarios = append(v.Scenarios, scenarioView{
			Scenario: s, Heading: cmp.Or(s.Title, s.Name), Finding: finding(s), Grid: g, Remarks: remarks(s),
			Charts: v.draw(g, scenarioCharts),
		})
	}
	return pageTemplate.Execute(w, v)
}

// scenarioCharts is how many charts a scenario has: those of its most telling metrics. All are in its table.
const scenarioCharts = 3

// draw makes the first charts of a grid, of columns that are judged, and records them.
func (v *view) draw(g grid, most int) (charts []*chart) {
	for i, c := range g.Columns {
		if wish(c) == "" || len(charts) == most {
			continue
		}
		one := newChart(g, i)
		one.ID = fmt.Sprintf("chart-%d", len(v.Data))
		v.Data = append(v.Data, one)
		charts = append(charts, one)
	}
	return charts
}

// policy allows those texts alone, by their hashes, and no request. What a name in a file could bring in does not run.
func policy(style string, scripts ...string) template.HTMLAttr {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	allowed := make([]string, len(scripts))
	for i, script := range scripts {
		allowed[i] = hash(script)
	}
	return template.HTMLAttr(fmt.Sprintf(`content="default-src 'none'; img-src data:; style-src %s; script-src %s"`,
		hash(style), strings.Join(allowed, " ")))
}
