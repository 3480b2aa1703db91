package result

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rows are sides with a figure a run.
func scenario(metric string, rows ...Row) *Scenario {
	return &Scenario{Name: "s", Metrics: []string{metric}, Rows: rows}
}

func row(side, metric string, values ...float64) Row {
	r := Row{Side: side, Ours: strings.HasPrefix(side, "belfry"), Floor: side == "floor"}
	for _, v := range values {
		r.Runs = append(r.Runs, Run{Values: map[string]float64{metric: v}})
	}
	return r
}

func sides(rows []*Row) (names []string) {
	for _, r := range rows {
		names = append(names, r.Side)
	}
	return names
}

func TestStanding(t *testing.T) {
	t.Parallel()
	const more, less = "deliveries_s", "cpu_us"
	wrong := row("wrong", more, 900, 900)
	wrong.Runs[1].Faults = map[string]int{"missing": 1}
	for _, c := range []struct {
		name         string
		s            *Scenario
		metric, best string
		near, behind []string
	}{
		{"more", scenario(more, row("a", more, 1, 2, 3), row("b", more, 4, 5, 6)), more, "b", nil, []string{"a"}},
		{"less", scenario(less, row("a", less, 1, 2, 3), row("b", less, 4, 5, 6)), less, "a", nil, []string{"b"}},
		{"overlap", scenario(more, row("a", more, 1, 2, 5), row("b", more, 4, 6, 7), row("c", more, 1, 1, 2)), more, "b",
			[]string{"a"}, []string{"c"}},
		{"spreads that touch", scenario(less, row("a", less, 1, 2), row("b", less, 2, 3)), less, "a", []string{"b"}, nil},
		{"one run", scenario(more, row("a", more, 1), row("b", more, 5, 6)), more, "b", []string{"a"}, nil},
		{"a floor", scenario(more, row("floor", more, 90, 91), row("b", more, 4, 5)), more, "b", nil, nil},
		{"faults", scenario(more, wrong, row("b", more, 4, 5)), more, "b", nil, nil},
		{"no figure", scenario(more, row("a", less, 9, 9), row("b", more, 4, 5)), more, "b", nil, nil},
		{"not judged", scenario("load_busy", row("a", "load_busy", 9, 9)), "load_busy", "", nil, nil},
		{"nobody", scenario(more), more, "", nil, nil},
	} {
		st := c.s.Standing(c.metric)
		best := ""
		if st.Best != nil {
			best = st.Best.Side
		}
		if best != c.best || !slices.Equal(sides(st.Close), c.near) || !slices.Equal(sides(st.Behind), c.behind) {
			t.Errorf("%s: got %q, close %q, behind %q; want %q, %q, %q", c.name, best, sides(st.Close), sides(st.Behind), c.best, c.near, c.behind)
		}
	}
	s := scenario(more, row("p", more, 3, 4), row("q", more, 5, 6), row("belfry", more, 7, 8), row("belfry, NATS", more, 1, 2))
	if ours, other, ok := s.Duel(more); !ok || ours.Side != "belfry" || other.Side != "q" {
		t.Errorf("got %v, %v, %v; want belfry against q", ours, other, ok)
	}
	if _, _, ok := scenario(more, row("belfry", more, 7)).Duel(more); ok {
		t.Error("a side has a duel with nobody")
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	odd, even := SpreadOf([]float64{9, 1, 2}), SpreadOf([]float64{4, 1, 3, 2})
	if odd != (Spread{2, 1, 9, 3}) || even != (Spread{2.5, 1, 4, 4}) || SpreadOf(nil) != (Spread{}) {
		t.Errorf("got %+v, %+v", odd, even)
	}
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {1234567.8, "1,234,568"}, {999.6, "1,000"}, {123456, "123,456"}, {-1234, "-1,234"}, {100, "100"}, {99.96, "100"},
		{12.34, "12.3"}, {1.256, "1.26"}, {0.06789, "0.0679"}, {2, "2"}, {0.5, "0.5"}, {1e-9, "0"}, {-0.5, "-0.5"},
	} {
		if got := Number(c.v); got != c.want {
			t.Errorf("%v is written %q, want %q", c.v, got, c.want)
		}
	}
	if got := (Spread{1500, 1400, 1600, 3}).String(); got != "1,500 (1,400 to 1,600)" {
		t.Errorf("got %q", got)
	}
	if got := (Spread{1, 0.9999, 1.0001, 3}).String(); got != "1" {
		t.Errorf("got %q for a spread that does not show", got)
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	f := &File{Scenarios: []Scenario{*scenario("socket_bytes", row("a", "socket_bytes", 3000)), *scenario("p99_ms", row("a", "p99_ms", 5))}}
	f.Scenarios[1].Name = "paced"
	columns := f.Columns()
	if len(columns) != 2 || columns[0].Scenario != "paced" || columns[0].Label() != "p99, ms" || columns[1].Label() != "Memory for 10,000 sockets, MB" {
		t.Fatalf("got %+v", columns)
	}
	if s, ok := columns[1].Spread(&f.Scenarios[0].Rows[0]); !ok || s.Median != 30 {
		t.Errorf("got %+v, want 30 MB", s)
	}
	f.Summary = []Column{{Scenario: "paced", Metric: "p99_ms", Title: "p99 at 100/s"}}
	if columns := f.Columns(); len(columns) != 1 || columns[0].Label() != "p99 at 100/s, ms" {
		t.Errorf("got %+v", columns)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(f *File){
		"no scenario":     func(f *File) { f.Scenarios = nil },
		`called ""`:       func(f *File) { f.Scenarios[0].Name = "" },
		"scenario 2":      func(f *File) { f.Scenarios = append(f.Scenarios, f.Scenarios[0]) },
		"no metric":       func(f *File) { f.Scenarios[0].Metrics = nil },
		`"speed"`:         func(f *File) { f.Scenarios[0].Metrics[0] = "speed" },
		`"heat"`:          func(f *File) { f.Scenarios[0].Rows[0].Runs[0].Values["heat"] = 1 },
		"NaN":             func(f *File) { f.Scenarios[0].Rows[0].Runs[0].Values["p99_ms"] = math.NaN() },
		"side 2":          func(f *File) { f.Scenarios[0].Add("b", false, false, Run{}); f.Scenarios[0].Rows[1].Side = "a" },
		"not measured":    func(f *File) { f.Summary = []Column{{Scenario: "t", Metric: "p99_ms"}} },
		`metric "length"`: func(f *File) { f.Summary = []Column{{Scenario: "s", Metric: "length"}} },
	} {
		f := &File{Scenarios: []Scenario{*scenario("p99_ms", row("a", "p99_ms", 1))}}
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		spoil(f)
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %s", err, want)
		}
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kept")
	save := func(commit string, modified bool, day int) string {
		f := &File{Scenarios: []Scenario{*scenario("p99_ms", row("a", "p99_ms", float64(day)))}}
		f.Origin.Commit, f.Origin.Modified, f.Origin.Date = commit, modified, time.Date(2026, 11, day, 1, 2, 3, 0, time.UTC)
		path, err := Save(dir, f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Save(dir, f); err == nil {
			t.Error("a result was replaced")
		}
		return path
	}
	first := save("abc123", false, 5)
	if name := filepath.Base(first); name != "20261105T010203Z-abc123.json" {
		t.Errorf("the file is called %s", name)
	}
	save("abc123", true, 7)
	save("abd999", false, 9)
	os.WriteFile(filepath.Join(dir, "abc-notes.txt"), nil, 0o600)
	for _, c := range []struct {
		name string
		day  float64 // 0 is an error
		said string
	}{
		{first, 5, ""}, {"abc", 7, ""}, {"abc123", 7, ""}, {"abd", 9, ""},
		{"ab", 0, "abc123 and abd999"}, {"f", 0, `no file "f"`}, {"", 0, `no file ""`}, {filepath.Join(dir, "abc-notes.txt"), 0, "JSON"}, {dir, 0, "directory"},
	} {
		f, err := Load(dir, c.name)
		switch {
		case c.day == 0:
			if err == nil || !strings.Contains(err.Error(), c.said) {
				t.Errorf("%s: got %v, want an error with %s", c.name, err, c.said)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case f.Scenarios[0].Rows[0].Runs[0].Values["p99_ms"] != c.day:
			t.Errorf("%s: got that of another day, want %v", c.name, c.day)
		}
	}
	if _, err := Load(filepath.Join(dir, "none"), "abc"); err == nil {
		t.Error("a folder that is not there has a result")
	}
	other := filepath.Join(dir, "other.json")
	os.WriteFile(other, []byte(`{"fanouts":[]}`), 0o600)
	if _, err := Load(dir, other); err == nil || !strings.Contains(err.Error(), "no result of") {
		t.Errorf("another report: got %v", err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	file := func(more, less, busy []float64, sides ...string) *File {
		s := Scenario{Name: "s", Text: "so", Metrics: []string{"deliveries_s", "cpu_us", "load_busy", "p50_ms"}}
		for _, side := range sides {
			r := Row{Side: side}
			for i := range more {
				r.Runs = append(r.Runs, Run{Values: map[string]float64{"deliveries_s": more[i], "cpu_us": less[i], "load_busy": busy[i]}})
			}
			s.Rows = append(s.Rows, r)
		}
		return &File{Scenarios: []Scenario{s}}
	}
	a := file([]float64{10, 11}, []float64{10, 11}, []float64{1, 2}, "x", "y")
	b := file([]float64{20, 22}, []float64{20, 22}, []float64{3, 4}, "x", "z")
	a.Scenarios = append(a.Scenarios, Scenario{Name: "t"})
	b.Origin.Go, b.Scenarios[0].Text = "go2", "otherwise"
	c := Compare(a, b)
	var verdicts []Verdict
	for _, change := range c.Changes {
		verdicts = append(verdicts, change.Verdict)
	}
	if !slices.Equal(verdicts, []Verdict{Improved, Worsened, Different}) || c.Changes[0].Ratio != 2 {
		t.Errorf("got %+v", c.Changes)
	}
	if !slices.Equal(c.OnlyA, []string{"s: y", "t"}) || !slices.Equal(c.OnlyB, []string{"s: z"}) || len(c.Doubts) != 2 {
		t.Errorf("got %q, %q, %q", c.OnlyA, c.OnlyB, c.Doubts)
	}
	for _, change := range Compare(a, a).Changes {
		if change.Verdict != Open || change.Ratio != 1 {
			t.Errorf("of equal results: %+v", change)
		}
	}
	if got := Chance(3, 3); got != 0.1 {
		t.Errorf("three runs and three are apart by chance in %v, want 0.1: 2 of the 20 orders", got)
	}
	if Chance(1, 9) != 0 {
		t.Error("one run is never apart")
	}
}
