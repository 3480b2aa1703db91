package result

import "cmp"

// Better says which of two figures is the better one.
type Better int

const (
	Neither Better = iota // the figure says something about the measurement, and is not judged
	More
	Less
)

// A Metric is one kind of figure.
type Metric struct {
	Name   string
	Title  string // without the unit
	Unit   string // "" for plain numbers
	Better Better
}

// Metrics are all that there are. CPU is user and system time; unless said, that of all server processes of a
// side together, for each delivery.
var Metrics = []Metric{
	{"deliveries_s", "Deliveries a second", "", More},
	{"cpu_us", "CPU a delivery", "us", Less},
	{"p50_ms", "p50", "ms", Less},
	{"p90_ms", "p90", "ms", Less},
	{"p99_ms", "p99", "ms", Less},
	{"p999_ms", "p99.9", "ms", Less},
	{"max_ms", "Longest", "ms", Less},
	{"last50_ms", "p50 of the last receiver", "ms", Less},
	{"last99_ms", "p99 of the last receiver", "ms", Less},
	{"socket_bytes", "Memory a socket", "B", Less},
	{"rss_mb", "Memory of the servers", "MB", Less},
	{"connects_s", "Connects a second", "", More},
	{"connect_cpu_us", "CPU a connect", "us", Less},
	{"connect_p99_ms", "p99 of a connect", "ms", Less},
	{"joins_s", "Joins a second", "", More},
	{"join_cpu_us", "CPU a join", "us", Less},
	{"join_p99_ms", "p99 of a join", "ms", Less},
	{"publisher_us", "CPU a delivery of the node that publishes", "us", Less},
	{"bystander_us", "CPU a delivery of the node with neither", "us", Less},
	{"member_us", "CPU a delivery of the node with the members", "us", Less},
	{"broker_cpu_us", "Broker's CPU a delivery", "us", Less},
	{"outage_s", "Longest time without a delivery", "s", Less},
	{"lost", "Deliveries lost", "", Less},
	{"doubled", "Deliveries doubled", "", Less},
	{"reordered", "Deliveries out of order", "", Less},
	{"load_cpu_us", "Load's CPU a delivery", "us", Neither},
	{"load_busy", "Load's busy share", "", Neither},
}

// FindMetric is the metric with a name. One that is not known, as of a file of a later version, is its name, and
// is not judged.
func FindMetric(name string) (m Metric, known bool) {
	for _, m := range Metrics {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{Name: name, Title: name}, false
}

// Label is the title with the unit.
func (m Metric) Label() string {
	if m.Unit == "" {
		return m.Title
	}
	return m.Title + ", " + m.Unit
}

// A Column of the summary is a metric of one scenario.
type Column struct {
	Scenario string  `json:"scenario"`
	Metric   string  `json:"metric"`
	Title    string  `json:"title,omitempty"` // "" is the metric's
	Unit     string  `json:"unit,omitempty"`  // "" is the metric's
	Scale    float64 `json:"scale,omitempty"` // what values are multiplied by; 0 is 1
}

// Heading is the column's title without the unit.
func (c Column) Heading() string {
	m, _ := FindMetric(c.Metric)
	return cmp.Or(c.Title, m.Title)
}

// Units is the column's unit; "" for plain numbers.
func (c Column) Units() string {
	m, _ := FindMetric(c.Metric)
	return cmp.Or(c.Unit, m.Unit)
}

// Label is the column's title with the unit.
func (c Column) Label() string { return Metric{Title: c.Heading(), Unit: c.Units()}.Label() }

// Spread is that of a row of the column's scenario, in the column's unit; false if it has none.
func (c Column) Spread(r *Row) (Spread, bool) {
	s, ok := r.Spread(c.Metric)
	if c.Scale != 0 {
		s.Median, s.Least, s.Most = s.Median*c.Scale, s.Least*c.Scale, s.Most*c.Scale
	}
	return s, ok
}

// Columns are those of the summary, or what people compare most, each in the first scenario that has it.
func (f *File) Columns() []Column {
	if len(f.Summary) > 0 {
		return f.Summary
	}
	var columns []Column
	for _, c := range []Column{
		{Metric: "deliveries_s"},
		{Metric: "cpu_us"},
		{Metric: "p99_ms"},
		{Metric: "socket_bytes", Title: "Memory for 10,000 sockets", Unit: "MB", Scale: 10_000 / 1e6},
		{Metric: "connects_s"},
	} {
		if s := f.firstWith(c.Metric); s != nil {
			c.Scenario = s.Name
			columns = append(columns, c)
		}
	}
	return columns
}

// firstWith is the first scenario that has a metric in any row; nil if there is none.
func (f *File) firstWith(metric string) *Scenario {
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		for n := range s.Rows {
			if _, ok := s.Rows[n].Spread(metric); ok {
				return s
			}
		}
	}
	return nil
}
