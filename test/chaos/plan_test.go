package chaos

import (
	"math/rand/v2"
	"time"
)

// A kind is what breaks.
type kind string

const (
	killNATS       kind = "kill -9 of a NATS server"
	stopNATS       kind = "a NATS server is stopped"
	cutRoutes      kind = "a NATS server is cut off from the others"
	muteRoute      kind = "what a NATS server sends to another one vanishes"
	cutNATS        kind = "a NATS server is cut off from everybody"
	retireNATS     kind = "a NATS server retires (lame duck)"
	rollingRestart kind = "all NATS servers restart, one after the other"
	cutClient      kind = "a server is cut off from its NATS server"
	muteClient     kind = "what a server sends to its NATS server vanishes"
	cutServer      kind = "a server is cut off from everybody"
	stopServer     kind = "a server is stopped"
	killServer     kind = "kill -9 of a server while all is well"
	killEmitter    kind = "kill -9 of an emitter while all is well"
)

var kinds = []kind{killNATS, stopNATS, cutRoutes, muteRoute, cutNATS, retireNATS, rollingRestart,
	cutClient, muteClient, cutServer, stopServer, killServer, killEmitter}

// A fault is something that breaks: what, which, and for how long.
type fault struct {
	kind  kind
	which int // of those that there are to choose from
	last  time.Duration
	pause time.Duration // before it
}

// faultsOf are the faults of a round, each kind once.
func faultsOf(seed uint64) []fault {
	rng := rand.New(rand.NewPCG(seed, 1))
	faults := make([]fault, len(kinds))
	for i, k := range rng.Perm(len(kinds)) {
		faults[i] = fault{
			kind:  kinds[k],
			which: rng.IntN(1000),
			last:  2500*time.Millisecond + time.Duration(rng.Int64N(int64(5500*time.Millisecond))),
			pause: time.Duration(rng.Int64N(int64(1500 * time.Millisecond))),
		}
	}
	return faults
}

// A visit is what somebody does who comes and goes: an emitter, or a server with members.
type visit struct {
	server bool
	emits  int           // an emitter
	last   time.Duration // a server, or whoever is killed
	kill   bool
	pause  time.Duration // before it
}

// visits are the visits of one of those who come and go, one after the other.
func visits(seed uint64, guest int) func() visit {
	rng := rand.New(rand.NewPCG(seed, uint64(2+guest)))
	return func() visit {
		v := visit{
			server: rng.IntN(3) == 0,
			emits:  20 + rng.IntN(300),
			last:   time.Duration(rng.Int64N(int64(3 * time.Second))),
			pause:  time.Duration(rng.Int64N(int64(time.Second))),
		}
		v.kill = rng.IntN(3) == 0
		return v
	}
}
