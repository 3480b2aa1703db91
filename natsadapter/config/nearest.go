package config

import "strings"

// nearest returns the one of names that who wrote text most likely meant, or "". Dashes, dots,
// underscores and capitals do not count, and the end of a name suffices.
func nearest(text string, names []string) string {
	meant := plain(text)
	best, least := "", max(2, len(meant)/4)+1
	for _, name := range names {
		full := plain(name)
		if full == meant {
			return name
		}
		last := plain(name[strings.LastIndexByte(name, '.')+1:])
		d := distance(meant, full)
		if last != full && len(last) > 3 {
			d = min(d, distance(meant, last)+1) // the full name is the better one of two
		}
		if d < least && d < len(meant) {
			best, least = name, d
		}
	}
	return best
}

func plain(name string) string {
	return strings.ToLower(strings.NewReplacer(".", "", "-", "", "_", "").Replace(name))
}

// distance returns how many letters must be inserted, removed, replaced or swapped with their
// neighbour to make b of a.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
