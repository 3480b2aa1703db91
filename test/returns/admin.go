package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// admin is what the run asks of a node. Each answer is JSON, or a text with the status 500.
func (n *singer) admin() http.Handler {
	mux := http.NewServeMux()
	handle := func(name string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(name, func(w http.ResponseWriter, r *http.Request) {
			answer, err := do(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			json.NewEncoder(w).Encode(answer)
		})
	}
	handle("/sing", func(*http.Request) (any, error) {
		n.stop = make(chan struct{})
		n.singing.Go(n.sing)
		return nil, nil
	})
	handle("/hush", func(*http.Request) (any, error) {
		n.hush()
		return nil, nil
	})
	handle("/sung", func(r *http.Request) (any, error) { // from a number on
		from, err := strconv.Atoi(r.FormValue("from"))
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.sung[min(from, len(n.sung)):len(n.sung):len(n.sung)], err
	})
	handle("/change", func(r *http.Request) (any, error) {
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		return change(ctx, n.srv.To(r.FormValue("id")), r.FormValue("room"), r.FormValue("joins") != "")
	})
	handle("/whisper", func(r *http.Request) (any, error) { // answers with the numbers of those that failed
		var all []whisper
		failed := []uint32{}
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
			return nil, err
		}
		for _, w := range all {
			if w.Ask {
				n.singing.Go(func() { n.whisper(context.Background(), w) })
			} else if err := n.whisper(r.Context(), w); err != nil {
				failed = append(failed, w.Number)
			}
		}
		return failed, nil
	})
	handle("/stats", func(*http.Request) (any, error) {
		stats := n.srv.Stats()
		stats.Adapter.State.Reason = nil
		return map[string]any{"Stats": stats, "Errors": n.errors.Load(), "Halves": n.halves.Load(),
			"Sockets": n.srv.Of("/").SocketCount()}, nil
	})
	handle("/drain", func(r *http.Request) (any, error) {
		pace, err := strconv.Atoi(r.FormValue("pace"))
		if err != nil {
			return nil, err
		}
		return nil, drain(r.Context(), n.srv, pace)
	})
	handle("/close", func(r *http.Request) (any, error) { return nil, n.srv.Close(r.Context()) })
	return mux
}
