package engineio

// A ProbeAction is what the owner of a [Probe] does next.
type ProbeAction uint8

const (
	// ProbeAbort closes the WebSocket. The session goes on polling, and its client may open another.
	ProbeAbort ProbeAction = iota

	// ProbePong sends [ProbePongPacket] on the WebSocket. From now on a poll that finds nothing to send is answered with [NoopPacket], for
	// the client waits for its end before it sends the upgrade packet.
	ProbePong

	// ProbeSwitch moves the session to the WebSocket. A poll that still waits has to be answered.
	ProbeSwitch
)

// A Probe is the state of a WebSocket that was opened for a session that polls, until the session moves to it (Engine.IO 4, "Upgrade").
// Meanwhile the session goes on polling, in both directions. The zero value is a WebSocket that has just been opened. The time that the
// client has, and that there is one probe for a session at a time, are its owner's business.
//
// The methods must not be called concurrently.
type Probe struct {
	state probeState
}

type probeState uint8

const (
	unprobed probeState = iota
	probed
	decided
)

// Receive takes a message from the WebSocket. What it may be is a probe, which a client may repeat, and after that an upgrade packet;
// anything else aborts, and so does whatever comes after [ProbeAbort] or [ProbeSwitch]. The reference also takes an upgrade packet that no
// probe came before.
func (p *Probe) Receive(binary bool, data []byte) ProbeAction {
	switch {
	case p.state != decided && !binary && string(data) == ProbePingPacket:
		p.state = probed
		return ProbePong
	case p.state == probed && !binary && string(data) == UpgradePacket:
		p.state = decided
		return ProbeSwitch
	}
	p.state = decided
	return ProbeAbort
}
