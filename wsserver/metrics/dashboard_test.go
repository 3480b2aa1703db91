package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/wsserver"
)

// A dashboard is as much of Grafana's JSON as matters here.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Query string }
	}
}

var (
	metricName = regexp.MustCompile(`belfry_[a-z_]+`)
	selector   = regexp.MustCompile(`(belfry_[a-z_]+)\{([^}]*)\}`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\)`)
	legend     = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	labelName  = regexp.MustCompile(`([a-z_]+)=`)
)

// TestDashboard: what the dashboard asks for is there, with the labels that it names, and all that is there is shown.
func TestDashboard(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	has := exposed(page(t, Handler(newServer(t, wsserver.Config{TimeHandlers: true}))))
	shown := make(map[string]bool)
	check := func(title, expr, legendText string) {
		names := metricName.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s: no metric in %s", title, expr)
		}
		labels := words(strings.Join(slices.Concat(all(grouping, expr), all(legend, legendText)), ","))
		for _, name := range names {
			shown[name] = true
			if has[name] == nil {
				t.Errorf("%s: there is no metric %s", title, name)
				continue
			}
			for _, m := range selector.FindAllStringSubmatch(expr, -1) {
				if m[1] == name {
					labels = append(labels, all(labelName, m[2])...)
				}
			}
			for _, label := range labels {
				if !slices.Contains(has[name], label) {
					t.Errorf("%s: %s has no label %s, only %q", title, name, label, has[name])
				}
			}
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			check(p.Title, target.Expr, target.LegendFormat)
		}
	}
	for name := range has {
		// Of a histogram and a summary, one of their parts is enough.
		base := regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(name, "")
		if !shown[name] && !shown[base+"_bucket"] && !shown[base+"_sum"] {
			t.Errorf("no panel shows %s", name)
		}
	}
	if !strings.Contains(string(data), "label_values(belfry_build_info, "+node+")") {
		t.Error("the list of nodes does not come from belfry_build_info")
	}
}

// exposed are the labels of each of belfry's metrics on a page.
func exposed(text string) map[string][]string {
	has := make(map[string][]string)
	for line := range strings.Lines(text) {
		if name := metricName.FindString(line); name != "" && strings.HasPrefix(line, name) {
			has[name] = append(all(labelName, line), "") // no label may be named
		}
	}
	return has
}

// all returns the first group of each match.
func all(r *regexp.Regexp, text string) (found []string) {
	for _, m := range r.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
}
