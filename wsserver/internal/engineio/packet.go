// Package engineio holds the rules of Engine.IO 4 as values and state machines without I/O: which requests begin a session, what its
// packets mean and when its client is gone. [Deadlines] is the clock of all sessions.
package engineio

// A PacketType is the first character of a packet (Engine.IO 4, "Packet encoding"). In a binary frame of a WebSocket there is
// none: the frame is the payload of a message.
type PacketType byte

const (
	PacketOpen    PacketType = '0'
	PacketClose   PacketType = '1'
	PacketPing    PacketType = '2'
	PacketPong    PacketType = '3'
	PacketMessage PacketType = '4'
	PacketUpgrade PacketType = '5'
	PacketNoop    PacketType = '6'
)
