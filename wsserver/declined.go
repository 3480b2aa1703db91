package wsserver

// Declined counts what clients that are connected asked for beyond Config.Limits, by limit.
type Declined struct {
	Sockets           uint64 // CONNECTs beyond MaxSockets
	Auth              uint64 // CONNECTs whose auth was beyond HandshakeBytes
	Namespaces        uint64 // CONNECTs that would have made a namespace beyond MaxNamespaces
	AddressNamespaces uint64 // CONNECTs that would have made one beyond NamespacesPerAddress
	Rooms             uint64 // calls of Socket.Join beyond MaxRooms
}

// declined is a limit that was reached, as an index.
type declined uint8

const (
	declinedSockets declined = iota
	declinedAuth
	declinedNamespaces
	declinedOfAddress
	declinedRooms
	numDeclined
)

// declinedHints say to the operator what each is about.
var declinedHints = [numDeclined]string{
	declinedSockets:    "a client has as many sockets as it may: Config.Limits.MaxSockets",
	declinedAuth:       "a client's auth is too large: Config.Limits.HandshakeBytes",
	declinedNamespaces: "there are too many dynamic namespaces: raise Config.Limits.MaxNamespaces, or match fewer",
	declinedOfAddress:  "clients of one address have made as many namespaces as they may: Config.Limits.NamespacesPerAddress",
	declinedRooms:      "a socket is in as many rooms as it may: Config.Limits.MaxRooms",
}

// decline counts that a limit was reached, and logs it, each once a minute, with what it is about.
func (srv *Server) decline(why declined, key, value string) {
	srv.counts.declined[why].Add(1)
	if more, ok := srv.declined[why].allow(); ok {
		srv.cfg.Logger.Warn("belfry: clients are refused: "+declinedHints[why], key, value,
			"others since the last line", more)
	}
}

// declinedStats returns the counts.
func (srv *Server) declinedStats() Declined {
	n := func(why declined) uint64 { return srv.counts.declined[why].Load() }
	return Declined{
		Sockets: n(declinedSockets), Auth: n(declinedAuth), Namespaces: n(declinedNamespaces),
		AddressNamespaces: n(declinedOfAddress), Rooms: n(declinedRooms),
	}
}
