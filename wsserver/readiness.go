package wsserver

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/belfry-io/belfry/adapter"
)

// A ReadyState says whether a server should get clients.
type ReadyState string

// The states of a server.
const (
	StateReady    ReadyState = "ready"    // it serves clients
	StateDegraded ReadyState = "degraded" // it serves clients, and something is missing
	StateStarting ReadyState = "starting" // it has not met its cluster yet: see [Server.Ready]
	StateDraining ReadyState = "draining" // Drain, Close or Shutdown was called
	StateUnusable ReadyState = "unusable" // its Config is wrong
)

// A Readiness is a ReadyState and its reasons. As JSON it is what [Server.ServeReady] answers.
type Readiness struct {
	State    ReadyState `json:"state"`
	Node     string     `json:"node"`
	NodeName string     `json:"node_name"`
	Reasons  []string   `json:"reasons,omitempty"` // why it is not ready, for operators
}

// Serving reports whether clients should be sent to the server: it is ready or degraded. A cluster
// whose broker is away is degraded on all nodes: to take them all out of service would help nobody.
func (r Readiness) Serving() bool { return r.State == StateReady || r.State == StateDegraded }

// Readiness says whether the server should get clients, and if not, or if something is missing,
// why. It does not wait. A server is degraded while
//
//   - its broker is out of reach, or denies it something;
//   - there are other servers, and all of them are suspect;
//   - so much waits for the broker that broadcasts are refused, or the memory for data that waits
//     ([Limits].BudgetBytes) is used up.
func (srv *Server) Readiness() Readiness {
	r := Readiness{State: StateReady, Node: srv.Node(), NodeName: srv.NodeName()}
	srv.mu.Lock()
	closed := srv.closed
	srv.mu.Unlock()
	met, err := srv.hub.Met()
	switch {
	case closed:
		r.State = StateDraining
		r.Reasons = []string{"the server is closing, or closed"}
	case srv.unusable != nil:
		r.State = StateUnusable
		r.Reasons = []string{srv.unusable.Error()}
	case srv.drain.Load() != nil:
		s := srv.drainStats()
		r.State = StateDraining
		r.Reasons = []string{fmt.Sprintf("draining: %d of %d connections left", s.Left, s.Total)}
	case !met:
		r.State = StateStarting
		r.Reasons = []string{err.Error()}
	default:
		if r.Reasons = srv.lacks(); r.Reasons != nil {
			r.State = StateDegraded
		}
	}
	return r
}

// lacks says what is missing to a server that has met its cluster.
func (srv *Server) lacks() (reasons []string) {
	stats := srv.hub.Stats()
	switch state := stats.State; {
	case state.Reason != nil:
		reasons = append(reasons, fmt.Sprintf("the broker, %v: %v", state.Status, state.Reason))
	case state.Status != adapter.Connected:
		reasons = append(reasons, fmt.Sprintf("the broker, %v", state.Status))
	case stats.Standings.Alive == 0 && stats.Standings.Suspect > 0:
		reasons = append(reasons, fmt.Sprintf("none of the other servers answers: %d are suspect", stats.Standings.Suspect))
	}
	if stats.QueueMax > 0 && stats.Queued >= stats.QueueMax {
		reasons = append(reasons, "broadcasts are refused: Config.Cluster.QueueBytes wait for the broker")
	}
	if srv.budget.Full() {
		reasons = append(reasons, "clients are disconnected: Config.Limits.BudgetBytes wait in the server")
	}
	return reasons
}

// ServeReady answers whether the server should get clients, for a load balancer or Kubernetes'
// readiness probe: with [Server.Readiness] in JSON, and the status 200 if it is ready or degraded,
// 503 otherwise. It is an [http.HandlerFunc], for a path such as /readyz.
//
// Reasons name the hosts of brokers: serve it where clients do not get at.
func (srv *Server) ServeReady(w http.ResponseWriter, _ *http.Request) {
	r := srv.Readiness()
	r.serve(w, r.Serving())
}

// ServeHealth answers that the program runs, for Kubernetes' liveness probe: as ServeReady, but
// always with the status 200, since starting the program anew would not help a server that is not
// ready. It takes the locks that everything else needs, and so does not answer if the server hangs.
// It is an [http.HandlerFunc], for a path such as /healthz.
func (srv *Server) ServeHealth(w http.ResponseWriter, _ *http.Request) {
	srv.Readiness().serve(w, true)
}

func (r Readiness) serve(w http.ResponseWriter, ok bool) {
	body, _ := json.Marshal(r) // a struct of strings always becomes JSON
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(append(body, '\n'))
}
