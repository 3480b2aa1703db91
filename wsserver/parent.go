package wsserver

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/belfry-io/belfry/adapter/shrink"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// A ParentNamespace stands for all namespaces whose names it matches, its children. A child is made
// when the first client asks for it. The parent's handlers run before the child's own, also those
// that are set later. Its methods may be called concurrently.
//
// A child that clients have made goes when its last socket has gone, with the handlers that were
// set on it. A *Namespace that the program has kept still works: its broadcasts reach whatever
// sockets the name has then, on all nodes, and its methods show those of this node. Only handlers
// that are set on it have no effect.
type ParentNamespace struct {
	hooks
	server *Server
	match  func(name string) bool

	// Server.mu guards what follows.
	children map[*Namespace]struct{}
	peak     int // of children; see shrink.Map
}

// OfFunc makes a parent of all namespaces for which match returns true, such as
// regexp.MustCompile(`^/room-\d+$`).MatchString, and that [Server.Of] has not made. Clients may
// then connect to them. If several parents match, the first one that was made gets the child.
//
// match gets a name with its "/". It is called concurrently: for a client that connects, which
// waits for it alone; by [Server.Of]; and for a server-side event of a namespace that does not
// exist here, where later events of the same node wait for it. A panic of match is logged, counted
// in Stats.Failures, and means false. Config.Limits.MaxNamespaces bounds the children that clients
// make.
func (srv *Server) OfFunc(match func(name string) bool) *ParentNamespace {
	p := &ParentNamespace{server: srv, match: match, children: make(map[*Namespace]struct{})}
	p.listen = func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		for child := range p.children {
			child.listenToRooms()
		}
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.parents = append(slices.Clip(srv.parents), p)
	return p
}

// Namespaces returns the children that exist now, in no order.
func (p *ParentNamespace) Namespaces() []*Namespace {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return slices.Collect(maps.Keys(p.children))
}

// parentOf returns the first of parents that matches name; nil if none does.
func (srv *Server) parentOf(parents []*ParentNamespace, name string) *ParentNamespace {
	i := slices.IndexFunc(parents, func(p *ParentNamespace) bool { return p.matches(name) })
	if i < 0 {
		return nil
	}
	return parents[i]
}

func (p *ParentNamespace) matches(name string) bool {
	defer onPanic(func(err error) {
		srv := p.server
		srv.counts.failures.Add(1)
		if _, ok := srv.unmatched.allow(); ok {
			srv.cfg.Logger.Error("belfry: the function given to OfFunc failed; further failures of this minute are only counted",
				"namespace", clip(name), "error", err)
		}
	})
	return p.match(name)
}

// clip is the part of a client's text that the log gets.
func clip(text string) string { return text[:min(len(text), 64)] }

// known reports whether a CONNECT to name may be granted.
func (srv *Server) known(name string) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.namespaces.byName[name] != nil || len(srv.parents) > 0
}

// enter returns the namespace of this name for one more socket, which must exit from it. It makes
// the namespace if a parent matches, for the client v, which may be nil. Otherwise it returns nil and
// why.
func (srv *Server) enter(name string, v *visitor) (ns *Namespace, refusal string) {
	srv.mu.Lock()
	ns, parents := srv.namespaces.byName[name], srv.parents
	if ns == nil {
		srv.mu.Unlock()
		parent := srv.parentOf(parents, name)
		if parent == nil {
			return nil, "Invalid namespace"
		}
		srv.mu.Lock()
		ns = srv.namespaces.byName[name] // somebody else may have made it meanwhile
		if ns == nil {
			if why, over := srv.crowded(v); over {
				srv.mu.Unlock()
				srv.decline(why, "namespace", clip(name))
				return nil, "too many namespaces"
			}
			ns = srv.newNamespace(name, parent)
			if v != nil && v.address.IsValid() {
				ns.maker = v.address
				srv.madeBy.add(ns.maker)
			}
		}
	}
	ns.users++
	srv.mu.Unlock()
	return ns, ""
}

// crowded reports whether v may make no namespace, because of which limit. srv.mu must be held.
func (srv *Server) crowded(v *visitor) (why declined, over bool) {
	l := srv.bounds.Load()
	if srv.dynamic >= l.MaxNamespaces {
		return declinedNamespaces, true
	}
	return declinedOfAddress, v != nil && v.address.IsValid() && reached(srv.madeBy.counts[v.address], l.NamespacesPerAddress)
}

// notDynamic says that a namespace is not one any more that clients have made. srv.mu must be held.
func (srv *Server) notDynamic(ns *Namespace) {
	srv.dynamic--
	if ns.maker.IsValid() {
		srv.madeBy.remove(ns.maker)
		ns.maker = netip.Addr{}
	}
}

// stay counts a session in its namespace, which it must exit from. A socket of the namespace is there.
func (srv *Server) stay(ns *Namespace) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	ns.users++
}

// exit takes a socket or a session out of what enter has counted it in. It is no member any more. The last one
// takes a dynamic namespace with it.
func (srv *Server) exit(ns *Namespace) {
	if ns.parent == nil {
		return
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	ns.users--
	if ns.users > 0 || ns.stays {
		return
	}
	srv.notDynamic(ns)
	srv.namespaces.remove(ns)
	delete(ns.parent.children, ns)
	ns.parent.children = shrink.Map(ns.parent.children, &ns.parent.peak)
	ns.rooms.Discard() // in one step with the rest: the next child of this name has rooms of its own
}

// newNamespace makes a namespace; parent may be nil. srv.mu must be held.
func (srv *Server) newNamespace(name string, parent *ParentNamespace) *Namespace {
	ns := &Namespace{server: srv, name: name, parent: parent}
	ns.listen = func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		ns.listenToRooms()
	}
	if parent != nil {
		srv.dynamic++
		parent.children[ns] = struct{}{}
	}
	ns.rooms = srv.hub.Rooms(name, ns.delivery)
	ns.all = sockets.NewNamespace(name, ns.rooms, sockets.NamespaceConfig{
		Codec: srv.codec, Limits: &srv.limits, AckTimeout: srv.cfg.AckTimeout, Unusable: srv.unusable,
		Tracer: srv.cfg.sends(), Node: srv.hub.Node(),
	})
	ns.listenToRooms()
	srv.namespaces.add(ns)
	return ns
}
