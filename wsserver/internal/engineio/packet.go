// Package engineio holds the rules of Engine.IO 4 as values and state machines without I/O, for both of its transports: what a request
// asks for ([Request]), what a payload of HTTP long-polling contains ([DecodePayload]), what a session's packets mean and when its client
// is gone ([State]), and when a session that polls moves to a WebSocket ([Probe]). [Deadlines] is the clock of all sessions.
package engineio

// A PacketType is the first character of a packet (Engine.IO 4, "Packet encoding"). In a binary frame of a WebSocket, and in a binary
// packet of a payload, there is none: it is the payload of a message.
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

// Whole packets that are always the same, as text.
const (
	ClosePacket     = "1"      // the answer to a poll when the session ends
	PingPacket      = "2"      // from the server (Engine.IO 4, "Heartbeat")
	PongPacket      = "3"      // the client's answer to it
	ProbePingPacket = "2probe" // from the client, first on a WebSocket for a session that polls (Engine.IO 4, "Upgrade")
	ProbePongPacket = "3probe" // the server's answer to it
	UpgradePacket   = "5"      // from the client, once it polls no more
	NoopPacket      = "6"      // the answer to a poll that has to end without a packet
)
