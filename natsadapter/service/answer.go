package service

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// An answer is what is known of what was done, in JSON.
type answer interface{ result() *outcome }

// An outcome is the part of an answer that says whether it is whole.
type outcome struct {
	OK          bool              `json:"ok"`
	Error       string            `json:"error,omitempty"`
	Missing     []string          `json:"missing,omitempty"`
	Unconfirmed []string          `json:"unconfirmed,omitempty"`
	Names       map[string]string `json:"names,omitempty"`
}

// maxNames bounds the names in an answer, so that they fit into what is reserved for them.
const maxNames = 64

// name notes the names of servers, where they are known.
func (o *outcome) name(ids, names []string) {
	for i, name := range names {
		if name != "" && len(o.Names) < maxNames {
			if o.Names == nil {
				o.Names = make(map[string]string)
			}
			o.Names[ids[i]] = name
		}
	}
}

// set makes o of the error of a call. What is no outcome, since nothing was done, is returned.
func (o *outcome) set(err error) error {
	var partial *cluster.PartialError
	var unfenced *cluster.UnfencedError
	if errors.As(err, &partial) {
		o.Missing = partial.Nodes
		o.name(partial.Nodes, partial.Names)
	}
	if errors.As(err, &unfenced) {
		o.Unconfirmed = unfenced.Nodes
		o.name(unfenced.Nodes, unfenced.Names)
	}
	switch {
	case err == nil:
		o.OK = true
	case partial == nil && unfenced == nil:
		return err
	default:
		o.Error = line(err.Error())
	}
	return nil
}

func (o *outcome) result() *outcome { return o }

type plainAnswer struct{ outcome }

type countAnswer struct {
	outcome
	Count int `json:"count"`
}

type fetchAnswer struct {
	outcome
	Sockets []socket `json:"sockets"`
	More    bool     `json:"more,omitempty"`
}

// A socket is what fetch says of one.
type socket struct {
	ID        string             `json:"id"`
	Node      string             `json:"node"`
	NodeName  string             `json:"node_name,omitempty"`
	Rooms     []string           `json:"rooms,omitempty"`
	Transport string             `json:"transport,omitempty"`
	Data      json.RawMessage    `json:"data,omitempty"`
	Handshake *sockets.Handshake `json:"handshake,omitempty"`
	Truncated bool               `json:"truncated,omitempty"`
}

// newFetchAnswer says as much of selected as is wanted, in the order of their ids: of those behind
// after, limit at the most, and as many as fit into an answer of most bytes. names are those of
// nodes.
func newFetchAnswer(selected []sockets.RemoteSocket, names map[string]string, after string, limit int, handshake bool, most int) *fetchAnswer {
	const reserve = 16 << 10 // for what else is in an answer
	left := max(most-reserve, most/2)
	slices.SortFunc(selected, func(a, b sockets.RemoteSocket) int { return strings.Compare(a.ID, b.ID) })
	a := &fetchAnswer{Sockets: []socket{}}
	for _, r := range selected {
		if r.ID <= after {
			continue
		}
		s := socket{
			ID: r.ID, Node: r.Node, NodeName: names[r.Node], Rooms: r.Rooms, Transport: r.Transport, Data: r.Data,
		}
		if handshake {
			s.Handshake = &r.Handshake
		}
		size := s.size()
		if size > left && len(a.Sockets) == 0 { // it would never fit
			s = socket{ID: r.ID, Node: r.Node, Truncated: true}
			size = s.size()
		}
		if size > left || len(a.Sockets) == limit {
			a.More = true
			break
		}
		left -= size
		a.Sockets = append(a.Sockets, s)
	}
	return a
}

// size is how many bytes the socket takes of an answer.
func (s *socket) size() int {
	data, _ := json.Marshal(s) // what is of a program was JSON when it came
	return len(data) + 1
}
