package wsserver

import (
	"cmp"
	"slices"
	"strings"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// namespaces are those of a server, by their names. Server.mu guards them.
type namespaces struct {
	byName  map[string]*Namespace
	peak    int           // of byName; see shrink.Map
	changed chan struct{} // closed at the next change; nil while nobody waits for one
}

func (n *namespaces) add(ns *Namespace) {
	n.byName[ns.name] = ns
	n.wake()
}

func (n *namespaces) remove(ns *Namespace) {
	delete(n.byName, ns.name)
	n.byName = shrink.Map(n.byName, &n.peak)
	n.wake()
}

func (n *namespaces) wake() {
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

// Namespaces returns the namespaces that exist, sorted by name, and a channel that is closed at the
// next change: [Server.Of] or a client makes a namespace, or a child of a parent goes with its last
// socket. To watch them, call Namespaces again after each change.
func (srv *Server) Namespaces() (all []*Namespace, changed <-chan struct{}) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, ns := range srv.namespaces.byName {
		all = append(all, ns)
	}
	slices.SortFunc(all, func(a, b *Namespace) int { return cmp.Compare(a.name, b.name) })
	if srv.namespaces.changed == nil {
		srv.namespaces.changed = make(chan struct{})
	}
	return all, srv.namespaces.changed
}

// Lookup returns a namespace if it exists. Unlike [Server.Of] it makes none.
func (srv *Server) Lookup(name string) (ns *Namespace, ok bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	ns, ok = srv.namespaces.byName[fullName(name)]
	return ns, ok
}

// fullName is the name with the "/" that a program may leave out.
func fullName(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + name
}
