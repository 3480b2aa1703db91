package service

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// What can be asked about the cluster itself, rather than about sockets.

// An aboutRequest selects no sockets.
type aboutRequest struct {
	Timeout int `json:"timeout,omitempty"`
}

func (r *aboutRequest) selected() *selection { return &selection{Timeout: r.Timeout} }

func (r *aboutRequest) check() error { return nil }

// A pageRequest is for a part of a long list.
type pageRequest struct {
	aboutRequest
	Limit int    `json:"limit,omitempty"`
	After string `json:"after,omitempty"`
}

func (r *pageRequest) check() error {
	if r.Limit < 0 {
		return fmt.Errorf(`"limit" is %d: want the largest number of names, or leave it out`, r.Limit)
	}
	return nil
}

// page returns the items behind After, in the order of their names: as many as Limit allows, and as
// fit into an answer of most bytes.
func page[T any](r *pageRequest, items []T, name func(T) string, most int) (some []T, more bool) {
	left := most - most/8 // for what else is in an answer
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	some = []T{}
	for _, item := range items {
		if name(item) <= r.After && r.After != "" {
			continue
		}
		data, _ := json.Marshal(item) // strings and numbers always become JSON
		left -= len(data) + 1
		if left < 0 || r.Limit > 0 && len(some) == r.Limit {
			return some, true
		}
		some = append(some, item)
	}
	return some, false
}

type nodesRequest struct{ aboutRequest }

type nodesAnswer struct {
	outcome
	Nodes []server `json:"nodes"`
}

// A server is what nodes says of one.
type server struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	Suspect bool   `json:"suspect"`
}

func (r *nodesRequest) do(_ context.Context, s *Service) (answer, error) {
	a := &nodesAnswer{Nodes: []server{}}
	nodes, _ := s.emitter.Nodes()
	for _, n := range nodes {
		a.Nodes = append(a.Nodes, server(n))
	}
	return a, nil
}

type statsRequest struct{ pageRequest }

type statsAnswer struct {
	outcome
	Servers []json.RawMessage `json:"servers"`
	More    bool              `json:"more,omitempty"`
}

func (r *statsRequest) do(ctx context.Context, s *Service) (answer, error) {
	answers, err := s.emitter.CallServers(ctx, cluster.CallStats)
	type about struct {
		id   string
		Data json.RawMessage
	}
	var all []about
	for id, data := range answers {
		if json.Valid(data) {
			all = append(all, about{id, data})
		}
	}
	some, more := page(&r.pageRequest, all, func(a about) string { return a.id }, int(s.nc.MaxPayload()))
	a := &statsAnswer{Servers: []json.RawMessage{}, More: more}
	for _, about := range some {
		a.Servers = append(a.Servers, about.Data)
	}
	return a, err
}

type roomsRequest struct {
	pageRequest
	Namespace string `json:"namespace,omitempty"`
}

type roomsAnswer struct {
	outcome
	Rooms []string `json:"rooms"`
	More  bool     `json:"more,omitempty"`
}

func (r *roomsRequest) do(ctx context.Context, s *Service) (answer, error) {
	names, err := s.emitter.Of(r.Namespace).AllRooms(ctx)
	a := new(roomsAnswer)
	a.Rooms, a.More = page(&r.pageRequest, names, func(name string) string { return name }, int(s.nc.MaxPayload()))
	return a, err
}

type namespacesRequest struct{ pageRequest }

type namespacesAnswer struct {
	outcome
	Namespaces []namespace `json:"namespaces"`
	More       bool        `json:"more,omitempty"`
}

// A namespace is what namespaces says of one.
type namespace struct {
	Name    string `json:"name"`
	Sockets int    `json:"sockets"`
	Servers int    `json:"servers"`
}

func (r *namespacesRequest) do(ctx context.Context, s *Service) (answer, error) {
	answers, err := s.emitter.CallServers(ctx, cluster.CallNamespaces)
	sums := make(map[string]namespace)
	for _, data := range answers {
		var list []namespace
		_ = json.Unmarshal(data, &list) // what is no list adds nothing
		for _, ns := range list {
			sum := sums[ns.Name]
			sums[ns.Name] = namespace{ns.Name, sum.Sockets + ns.Sockets, sum.Servers + 1}
		}
	}
	var all []namespace
	for _, ns := range sums {
		all = append(all, ns)
	}
	a := new(namespacesAnswer)
	a.Namespaces, a.More = page(&r.pageRequest, all, func(ns namespace) string { return ns.Name }, int(s.nc.MaxPayload()))
	return a, err
}
