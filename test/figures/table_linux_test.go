package figures

// A figure is a row of the table: what it is of, what it is today, and the most that it may be.
type figure struct {
	what        string
	today, most float64
}

// table has all figures. The package's comment says how to change it.
var table = []figure{
	{"allocations: a delivery, one publish at a time to 1,000", 0.0234, 0.0245},
	{"allocations: a delivery, 16 publishes at once to 1,000", 0.02056, 0.0216},
	{"allocations: an event, JSON", 7.14, 7.539},
	{"allocations: an event, MessagePack", 7.145, 7.54},
	{"allocations: an event with ack, JSON", 16.02, 16.57},
	{"allocations: an event with ack, MessagePack", 17.02, 17.57},
	{"allocations: a connect", 105.3, 106.5},

	{"heap bytes: an idle socket", 1345, 1375},
	{"heap bytes: an idle socket, with Recovery", 1347, 1375},
	{"heap bytes: a session that polls", 1474, 1510},
	{"heap bytes: a membership in a room of 1", 113.6, 114.5},
	{"heap bytes: a membership in a room of 10", 25.8, 26.3},

	{"system calls: a connect", 19.1, 19.5},
	{"system calls: an event with ack", 2, 2.04},
	{"system calls: a delivery, one publish at a time to 100", 1.01, 1.03},
	{"system calls: a delivery, 16 publishes at once to 100", 0.0631, 0.065},
	{"writes: a delivery, 16 publishes at once to 1,000", 0.0625, 0.065},

	{"goroutines: a server that clients have left", 6, 6},
	{"goroutines: of 5,000 idle sockets", 0, 0},
	{"goroutines: left after 5,000 sockets", 0, 0},
}
