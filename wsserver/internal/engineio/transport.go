package engineio

import "strconv"

// A Transport is what carries a session's packets (Engine.IO 4, "Transports"). Joined with |, several are a set.
type Transport uint8

const (
	TransportPolling Transport = 1 << iota // HTTP long-polling
	TransportWebSocket
)

// String is the transport's name in queries and in [Open].
func (t Transport) String() string {
	switch t {
	case TransportPolling:
		return "polling"
	case TransportWebSocket:
		return "websocket"
	}
	return "Transport(" + strconv.Itoa(int(t)) + ")"
}

func parseTransport(name string) (t Transport, ok bool) {
	switch name {
	case "polling":
		return TransportPolling, true
	case "websocket":
		return TransportWebSocket, true
	}
	return 0, false
}
