package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRooms runs the rooms command in miniature.
func TestRooms(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.json")
	var out, progress strings.Builder
	args := strings.Fields("rooms -rooms 500 -sample 100 -rate 1000 -watch 1s -runs 1 -json " + path)
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	t.Logf("\n%s", out.String())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r roomsReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Weights) != len(holdings) || len(r.Silences) != len(everybody) {
		t.Fatalf("got %d weights and %d silences, want %d and %d", len(r.Weights), len(r.Silences), len(holdings), len(everybody))
	}
	for i, w := range r.Weights {
		if w.Holding != holdings[i].Name || w.Rooms != 500 || w.heap() <= 0 || (len(w.Brokers) > 0) != holdings[i].NATS {
			t.Errorf("got %+v, want 500 rooms that weigh something", w)
		}
		if (len(w.Joins) == 3) != (holdings[i].NATS && holdings[i].Node) {
			t.Errorf("%s: got joins %v", w.Holding, w.Joins)
		}
		for manner, j := range w.Joins {
			if j.Count == 0 || j.Elapsed <= 0 {
				t.Errorf("%s: got %+v", manner, j)
			}
		}
	}
	for _, s := range r.Silences {
		if s.First <= 0 || s.All < s.First || s.Unreached != 0 || s.Sent == 0 || s.Lost == s.Sent || s.Outward <= 0 || s.Beside <= 0 || s.Node.total() <= 0 {
			t.Errorf("%s, %d rooms: got %+v, want times that make sense", s.Who, s.Rooms, s)
		}
	}
	for _, part := range []string{"`go run ./bench rooms -rooms 500", "Commit: ", "| nats.go alone", "| one after the other ", "| belfry "} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the report lacks %q", part)
		}
	}
}

// TestSilence judges messages of three nodes: the first has the rooms a and b.
func TestSilence(t *testing.T) {
	const killed = 1_000_000_000
	ms := func(n int64) int64 { return killed + n*int64(time.Millisecond) }
	sent := [][]string{{backRoom(1), backRoom(2)}, {"a", "b"}, {"b", backRoom(1)}}
	noted := []probes{
		{Sent: []int64{ms(-500), ms(-50), ms(10)}},
		{Sent: []int64{ms(-5), ms(1), ms(20), ms(300), ms(400), ms(500)}},
		{Sent: []int64{ms(100), ms(110)}},
	}
	noted[0].Got[1] = []int64{0, ms(2), 0, 0, ms(650)} // the first was sent before the kill, the second while the server died; the last is missing
	noted[0].Got[2] = []int64{ms(130)}
	noted[1].Got[0] = []int64{0, 0, ms(90)} // the first was too long before the kill
	noted[1].Got[2] = []int64{0, ms(150)}
	var s silence
	s.judge(noted, sent, killed)
	want := silence{
		Sent: 6, Lost: 3, Late: 1, Last: 500 * time.Millisecond, Delay: 250 * time.Millisecond,
		First: 130 * time.Millisecond, All: 650 * time.Millisecond,
		Unsent: 1, Outward: 80 * time.Millisecond, Beside: 40 * time.Millisecond,
	}
	if s != want {
		t.Errorf("got %+v\nwant %+v", s, want)
	}
	s = silence{}
	noted[0].Got[1] = nil
	if s.judge(noted, sent, killed); s.Unreached != 1 {
		t.Errorf("got %d rooms that were not reached, want 1", s.Unreached)
	}
}

func TestRoomsFlags(t *testing.T) {
	cfg, err := parseRooms(strings.Fields("-rooms 20,10,20 -sample 5"))
	if err != nil || len(cfg.Rooms) != 2 || cfg.Rooms[0] != 10 || cfg.Sample != 5 || cfg.Rate == 0 {
		t.Errorf("got %+v, %v", cfg, err)
	}
	for _, args := range []string{"-rooms 0", "-rooms x", "-sample 0", "-rate 1", "-watch 1ms", "-runs 0", "-only x", "more"} {
		if _, err := parseRooms(strings.Fields(args)); exitCode(err) != 2 {
			t.Errorf("%s: got %v, want an error about the flags", args, err)
		}
	}
}
