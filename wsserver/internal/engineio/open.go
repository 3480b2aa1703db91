package engineio

import (
	"encoding/json"
	"time"
)

// Open is what the server tells a client first (Engine.IO 4, "Handshake").
type Open struct {
	SID          string        // identifies the session; see [NewSID]
	Upgrades     []string      // transports that the client may change to
	PingInterval time.Duration // on the wire in whole milliseconds
	PingTimeout  time.Duration // on the wire in whole milliseconds
	MaxPayload   int           // most bytes that the client may send in one message or request
}

// openJSON is Open on the wire, in the order of the keys that the reference has.
type openJSON struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// Packet is the open packet, type included. All five keys are there; no upgrades are an empty list.
func (o Open) Packet() []byte {
	upgrades := o.Upgrades
	if upgrades == nil {
		upgrades = []string{}
	}
	// Strings and integers always have a JSON form.
	b, _ := json.Marshal(openJSON{o.SID, upgrades, o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload})
	return append([]byte{byte(PacketOpen)}, b...)
}
