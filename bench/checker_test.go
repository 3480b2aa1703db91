package main

import "testing"

func TestChecker(t *testing.T) {
	type delivery struct{ publisher, number int }
	tests := []struct {
		name       string
		deliveries []delivery
		want       faults // of two publishers with 3 publishes each
		firsts     int
	}{
		{"in order", []delivery{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}, faults{}, 6},
		{"publishers mixed", []delivery{{1, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 2}, {0, 2}}, faults{}, 6},
		{"missing inside", []delivery{{0, 0}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}, faults{Missing: 1}, 5},
		{"missing at the beginning", []delivery{{0, 2}, {1, 0}, {1, 1}, {1, 2}}, faults{Missing: 2}, 4},
		{"missing at the end", []delivery{{0, 0}, {0, 1}, {0, 2}, {1, 0}}, faults{Missing: 2}, 4},
		{"nothing at all", nil, faults{Missing: 6}, 0},
		{"doubled at once", []delivery{{0, 0}, {0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}, faults{Doubled: 1}, 6},
		{"doubled later, twice", []delivery{{0, 0}, {0, 1}, {0, 2}, {0, 0}, {0, 0}, {1, 0}, {1, 1}, {1, 2}}, faults{Doubled: 2}, 6},
		{"reordered", []delivery{{0, 1}, {0, 0}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}, faults{Reordered: 1}, 6},
		{"reordered, then doubled", []delivery{{0, 1}, {0, 0}, {0, 0}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}, faults{Doubled: 1, Reordered: 1}, 6},
		{"backwards", []delivery{{0, 2}, {0, 1}, {0, 0}, {1, 0}, {1, 1}, {1, 2}}, faults{Reordered: 2}, 6},
		{"the other publisher's does not count", []delivery{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 2}}, faults{Missing: 1}, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newChecker(2)
			firsts := 0
			for _, d := range test.deliveries {
				if c.receive(d.publisher, d.number) {
					firsts++
				}
			}
			got := faults{Missing: c.missing([]int{3, 3}), Doubled: c.doubled, Reordered: c.reordered}
			if got != test.want || firsts != test.firsts {
				t.Errorf("got %+v and %d first deliveries, want %+v and %d", got, firsts, test.want, test.firsts)
			}
		})
	}
}
