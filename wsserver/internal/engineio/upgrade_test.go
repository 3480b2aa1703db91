package engineio

import (
	"github.com/belfry-io/belfry/test/kit"
	"slices"
	"testing"
)

func TestProbe(t *testing.T) {
	const abort, pong, move = ProbeAbort, ProbePong, ProbeSwitch
	for _, test := range []struct {
		rule     string // of Engine.IO 4, "Upgrade"
		messages []string
		want     []ProbeAction
	}{
		{"probe, upgrade", []string{"2probe", "5"}, []ProbeAction{pong, move}},
		{"the probe may be repeated", []string{"2probe", "2probe", "5"}, []ProbeAction{pong, pong, move}},
		{"upgrade without a probe", []string{"5", "2probe", "5"}, []ProbeAction{abort, abort, abort}},
		{"nothing but the probe may come first", []string{"4a", "2probe"}, []ProbeAction{abort, abort}},
		{"a message may not come before the upgrade", []string{"2probe", "4a", "5"}, []ProbeAction{pong, abort, abort}},
		{"the session moves once", []string{"2probe", "5", "5"}, []ProbeAction{pong, move, abort}},
		{"ping without the probe", []string{"2"}, []ProbeAction{abort}},
		{"another probe", []string{"2probe2"}, []ProbeAction{abort}},
		{"probe in capitals", []string{"2PROBE"}, []ProbeAction{abort}},
		{"probe as a message", []string{"42probe"}, []ProbeAction{abort}},
		{"the server's answer from the client", []string{"3probe"}, []ProbeAction{abort}},
		{"upgrade with a payload", []string{"2probe", "5probe"}, []ProbeAction{pong, abort}},
		{"pong", []string{"2probe", "3"}, []ProbeAction{pong, abort}},
		{"noop", []string{"2probe", "6"}, []ProbeAction{pong, abort}},
		{"close", []string{"1"}, []ProbeAction{abort}},
		{"empty text", []string{"", "2probe"}, []ProbeAction{abort, abort}},
	} {
		var p Probe
		var got []ProbeAction
		for _, message := range test.messages {
			got = append(got, p.Receive(false, []byte(message)))
		}
		kit.Check(t, slices.Equal(got, test.want),
			"%s: %q: got %d, want %d", test.rule, test.messages, got, test.want)
	}
}

// TestProbeBinary: a binary frame is a message (Engine.IO 4, "Packet encoding", "WebSocket"), whatever it looks like.
func TestProbeBinary(t *testing.T) {
	var unprobed, probed Probe
	probed.Receive(false, []byte(ProbePingPacket))
	kit.Want(t, unprobed.Receive(true, []byte(ProbePingPacket)), ProbeAbort,
		"probe in a binary frame (an abort)")
	kit.Want(t, probed.Receive(true, []byte(UpgradePacket)), ProbeAbort,
		"upgrade packet in a binary frame (an abort)")
}

// FuzzProbe checks that whatever a client sends, the session moves at most once, after a probe and by an upgrade packet alone.
func FuzzProbe(f *testing.F) {
	f.Add([]byte("t2probe|t5"))
	f.Add([]byte("t2probe|t2probe|b5|t5"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var p Probe
		pongs, over := 0, false
		for _, step := range splitSteps(script) {
			text := step[0] != 'b'
			action := p.Receive(!text, step[1:])
			var want ProbeAction
			switch {
			case !over && text && string(step[1:]) == "2probe":
				want = ProbePong
				pongs++
			case !over && text && string(step[1:]) == "5" && pongs > 0:
				want = ProbeSwitch
			}
			over = over || want != ProbePong
			kit.Require(t, action == want, "%q of %q: got %d, want %d", step, script, action, want)
		}
	})
}
