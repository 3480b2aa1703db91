package engineio

import (
	"encoding/json"
	"fmt"
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

// ParseOpen decodes an open packet, type included, for test clients.
func ParseOpen(packet []byte) (Open, error) {
	if len(packet) == 0 || PacketType(packet[0]) != PacketOpen {
		return Open{}, fmt.Errorf("engineio: %.64q is no open packet", packet)
	}
	var o openJSON
	if err := json.Unmarshal(packet[1:], &o); err != nil {
		return Open{}, fmt.Errorf("engineio: open packet: %w", err)
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	if o.SID == "" || min(o.PingInterval, o.PingTimeout) < 0 || max(o.PingInterval, o.PingTimeout) > most {
		return Open{}, fmt.Errorf("engineio: open packet %.64q without an id or with a time out of range", packet)
	}
	return Open{
		SID: o.SID, Upgrades: o.Upgrades, MaxPayload: o.MaxPayload,
		PingInterval: time.Duration(o.PingInterval) * time.Millisecond,
		PingTimeout:  time.Duration(o.PingTimeout) * time.Millisecond,
	}, nil
}
