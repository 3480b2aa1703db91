// Package result is what a benchmark has measured: sides beside each other, in scenarios, in several runs. It
// says who is ahead of whom, and what the spread of the runs leaves open; it keeps results by commit, and
// compares two of them.
package result

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// A File is everything that one command has measured.
type File struct {
	Title     string     `json:"title"`
	Origin    Origin     `json:"origin"`
	Scenarios []Scenario `json:"scenarios"`
	Summary   []Column   `json:"summary,omitempty"` // what people compare; Columns has it, if it is empty
	Missing   []Missing  `json:"missing,omitempty"`
	Notes     []string   `json:"notes,omitempty"` // plain sentences, about the machine's noise for one
}

// An Origin says where figures come from.
type Origin struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Kernel   string            `json:"kernel"`
	Go       string            `json:"go"`
	Programs map[string]string `json:"programs,omitempty"` // versions of others that take part, such as node and redis-server
	Commit   string            `json:"commit"`             // the beginning of its hash; "unknown" outside of git
	Modified bool              `json:"modified,omitempty"` // the working tree was not that of Commit
	Date     time.Time         `json:"date"`
	Command  string            `json:"command"`
	Before   string            `json:"load_before"` // load averages of 1, 5 and 15 minutes
	After    string            `json:"load_after"`
}

// Missing is a side that could not be measured.
type Missing struct {
	Side string `json:"side"`
	Why  string `json:"why"` // and how to get what it needs: "no redis-server: apt-get install redis-server"
}

// A Scenario is one thing that all sides do.
type Scenario struct {
	Name    string   `json:"name"`    // of a flag and of comparisons: "room-1000-inflight"
	Title   string   `json:"title"`   // "A room of 1,000, 16 publishes in flight"
	Text    string   `json:"text"`    // how it was measured, in a sentence or a few
	Metrics []string `json:"metrics"` // names of Metrics, the most telling first
	Rows    []Row    `json:"rows"`
}

// A Row is what one side did in a scenario.
type Row struct {
	Side  string   `json:"side"`            // the same name in all scenarios
	Floor bool     `json:"floor,omitempty"` // what the machine can do: nothing that one could use instead
	Ours  bool     `json:"ours,omitempty"`
	Runs  []Run    `json:"runs"`
	Notes []string `json:"notes,omitempty"`
}

// A Run is one measurement of a side.
type Run struct {
	Values map[string]float64 `json:"values"`           // by metric; what was not measured is not there
	Faults map[string]int     `json:"faults,omitempty"` // deliveries that went wrong, by kind: missing, doubled, ...
	Notes  []string           `json:"notes,omitempty"`
}

// Check says what is wrong with f: what is without a name or has that of another, a metric that is not known, a
// value that is no number.
func (f *File) Check() error {
	if len(f.Scenarios) == 0 {
		return errors.New("result: no scenario")
	}
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		if s.Name == "" || f.Scenario(s.Name) != s {
			return fmt.Errorf("result: scenario %d is called %q: want a name that no other has", i+1, s.Name)
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("result: scenario %s: %w", s.Name, err)
		}
	}
	for _, c := range f.Summary {
		if f.Scenario(c.Scenario) == nil {
			return fmt.Errorf("result: the summary has a column of scenario %q, which was not measured", c.Scenario)
		}
		if _, ok := FindMetric(c.Metric); !ok {
			return fmt.Errorf("result: the summary has a column of metric %q, which is not known", c.Metric)
		}
	}
	return nil
}

func (s *Scenario) check() error {
	if len(s.Metrics) == 0 {
		return errors.New("no metric")
	}
	for _, name := range s.Metrics {
		if _, ok := FindMetric(name); !ok {
			return fmt.Errorf("metric %q is not known", name)
		}
	}
	for i := range s.Rows {
		r := &s.Rows[i]
		if r.Side == "" || s.Row(r.Side) != r {
			return fmt.Errorf("side %d is called %q: want a name that no other has", i+1, r.Side)
		}
		for _, run := range r.Runs {
			for name, v := range run.Values {
				if _, ok := FindMetric(name); !ok {
					return fmt.Errorf("%s: metric %q is not known", r.Side, name)
				}
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("%s: %s is %v, which is no figure", r.Side, name, v)
				}
			}
		}
	}
	return nil
}

// Scenario is the one with a name; nil if there is none.
func (f *File) Scenario(name string) *Scenario {
	for i := range f.Scenarios {
		if f.Scenarios[i].Name == name {
			return &f.Scenarios[i]
		}
	}
	return nil
}

// Row is that of a side; nil if there is none.
func (s *Scenario) Row(side string) *Row {
	for i := range s.Rows {
		if s.Rows[i].Side == side {
			return &s.Rows[i]
		}
	}
	return nil
}

// Add records a run of a side, which becomes a row with its first one. Floor and ours are the row's.
func (s *Scenario) Add(side string, floor, ours bool, run Run) {
	if r := s.Row(side); r != nil {
		r.Runs = append(r.Runs, run)
		return
	}
	s.Rows = append(s.Rows, Row{Side: side, Floor: floor, Ours: ours, Runs: []Run{run}})
}

// Faults is the number of deliveries that went wrong in all runs, by kind. It is empty if none did.
func (r *Row) Faults() map[string]int {
	all := make(map[string]int)
	for _, run := range r.Runs {
		for kind, n := range run.Faults {
			if n != 0 {
				all[kind] += n
			}
		}
	}
	return all
}
