package kit

import "flag"

var all = flag.Bool("all", false, "make all of each test, and not only the most telling share")

// All is whether a test is to make all of what takes long. A plain run makes the most telling share of it; CI makes all.
func All() bool { return *all }
