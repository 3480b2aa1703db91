package engineio

import (
	"github.com/belfry-io/belfry/test/kit"
	"slices"
	"testing"
)

func TestSessionReceive(t *testing.T) {
	fresh := func() *State { return new(State) }
	awaiting := func() *State {
		s := new(State)
		s.Expired(Evidence{})
		return s
	}
	tests := []struct {
		rule    string
		session *State
		binary  bool
		data    string
		event   Event
		payload string
		err     error
		ended   bool
	}{
		{"text message", fresh(), false, "4hello", EventMessage, "hello", nil, false},
		{"empty text message", fresh(), false, "4", EventMessage, "", nil, false},
		{"message that looks like a ping", fresh(), false, "42", EventMessage, "2", nil, false},
		{"binary frame is a message without a type", fresh(), true, "\x01\x02", EventMessage, "\x01\x02", nil, false},
		{"binary frame that looks like a close packet", fresh(), true, "1", EventMessage, "1", nil, false},
		{"empty binary frame", fresh(), true, "", EventMessage, "", nil, false},
		{"message while a pong is awaited", awaiting(), false, "4hello", EventMessage, "hello", nil, false},
		{"pong", awaiting(), false, "3", EventPong, "", nil, false},
		{"pong with a payload", awaiting(), false, "3probe", EventPong, "", nil, false},
		{"stray pong", fresh(), false, "3", EventNone, "", nil, false},
		{"noop", fresh(), false, "6", EventNone, "", nil, false},
		{"upgrade outside of an upgrade", fresh(), false, "5", EventNone, "", nil, false},
		{"close", fresh(), false, "1", EventClose, "", nil, true},
		{"close while a pong is awaited", awaiting(), false, "1", EventClose, "", nil, true},
		{"ping from a client", fresh(), false, "2", EventNone, "", ErrDirection, true},
		{"probe on an open session", fresh(), false, "2probe", EventNone, "", ErrDirection, true},
		{"open from a client", fresh(), false, `0{"sid":"x"}`, EventNone, "", ErrDirection, true},
		{"empty text", fresh(), false, "", EventNone, "", ErrParse, true},
		{"unknown type 7", fresh(), false, "7", EventNone, "", ErrParse, true},
		{"unknown type b", fresh(), false, "bAQID", EventNone, "", ErrParse, true},
		{"unknown type, UTF-8", fresh(), false, "é", EventNone, "", ErrParse, true},
	}
	for _, test := range tests {
		event, payload, err := test.session.Receive(test.binary, []byte(test.data))
		if event != test.event || string(payload) != test.payload || err != test.err || test.session.Ended() != test.ended {
			t.Errorf("%s: got %d, %q, %v, ended %v; want %d, %q, %v, ended %v", test.rule,
				event, payload, err, test.session.Ended(), test.event, test.payload, test.err, test.ended)
		}
		if !test.ended {
			continue
		}
		for _, later := range []string{"4late", "3", "1", "2", ""} {
			if event, payload, err := test.session.Receive(false, []byte(later)); event != EventNone || payload != nil || err != nil {
				t.Errorf("%s, then %q: got %d, %q, %v, want nothing", test.rule, later, event, payload, err)
			}
		}
		if ping, next, err := test.session.Expired(Evidence{}); ping || next != WaitNothing || err != nil {
			t.Errorf("%s, then the deadline: got %v, %d, %v, want nothing", test.rule, ping, next, err)
		}
	}
}

// TestSessionPayload gives a session the packets of payloads, as a POST does (Engine.IO 4, "Packet encoding", "HTTP long-polling").
func TestSessionPayload(t *testing.T) {
	for _, test := range []struct {
		rule    string
		payload string
		events  []string
		err     error
		ended   bool
	}{
		{"messages", "4a\x1ebAQID\x1eb\x1e4", []string{"text a", "binary \x01\x02\x03", "binary ", "text "}, nil, false},
		{"pong and message", "3\x1e4a", []string{"pong", "text a"}, nil, false},
		{"binary that looks like a ping", "bMg==", []string{"binary 2"}, nil, false},
		{"upgrade outside of an upgrade", "5\x1e4a", []string{"none", "text a"}, nil, false},
		{"nothing has a meaning after close", "4a\x1e1\x1e4b\x1e2", []string{"text a", "close", "none", "none"}, nil, true},
		{"ping from a client", "4a\x1e2\x1e4b", []string{"text a"}, ErrDirection, true},
		{"unknown type", "4a\x1e7\x1e4b", []string{"text a"}, ErrParse, true},
	} {
		var s State
		s.Expired(Evidence{}) // a pong is awaited
		var events []string
		err := DecodePayload([]byte(test.payload), func(binary bool, packet []byte) error {
			event, payload, err := s.Receive(binary, packet)
			if err != nil {
				return err
			}
			name := []string{EventNone: "none", EventMessage: "text " + string(payload), EventPong: "pong", EventClose: "close"}[event]
			if event == EventMessage && binary {
				name = "binary " + string(payload)
			}
			events = append(events, name)
			return nil
		})
		if !slices.Equal(events, test.events) || err != test.err || s.Ended() != test.ended {
			t.Errorf("%s: got %q, %v, ended %v; want %q, %v, ended %v", test.rule, events, err, s.Ended(), test.events, test.err, test.ended)
		}
	}
}

func TestSessionReceiveAllTypes(t *testing.T) {
	for c := range 256 {
		_, _, err := new(State).Receive(false, []byte{byte(c), 'x'})
		want := error(ErrParse)
		switch {
		case c == '0' || c == '2':
			want = ErrDirection
		case '1' <= c && c <= '6':
			want = nil
		}
		if err != want {
			t.Errorf("type %q: got %v, want %v", rune(c), err, want)
		}
	}
}

// TestSessionHeartbeat plays sequences of what can happen and checks each answer.
func TestSessionHeartbeat(t *testing.T) {
	type step struct {
		do   string // of play, or a packet
		want string
	}
	for _, test := range []struct {
		rule  string
		steps []step
	}{
		{"ping, pong, ping, pong", []step{{"expired", "ping, look"}, {"3", "pong"}, {"expired", "ping, look"}, {"taken", "await rest"}, {"3", "pong"},
			{"expired", "ping, look"}}},
		{"no pong", []step{{"expired", "ping, look"}, {"taken", "await rest"}, {"expired", "timeout"}}},
		{"a stray pong does not count for later", []step{{"3", "none"}, {"expired", "ping, look"}, {"taken", "await rest"}, {"expired", "timeout"}}},
		{"another packet instead of the pong extends the timeout once", []step{{"expired", "ping, look"}, {"taken", "await rest"},
			{"4x", "message"}, {"expired", "await pong"}, {"4x", "message"}, {"expired", "timeout"}}},
		{"a packet before the ping does not extend its timeout", []step{{"4x", "message"}, {"expired", "ping, look"}, {"taken", "await rest"},
			{"expired", "timeout"}}},
		{"each ping may be extended", []step{
			{"expired", "ping, look"}, {"taken", "await rest"}, {"4x", "message"}, {"expired", "await pong"}, {"3", "pong"},
			{"expired", "ping, look"}, {"taken", "await rest"}, {"6", "none"}, {"expired", "await pong"}, {"expired", "timeout"}}},
		{"the timeout begins when the client has got the ping", []step{{"expired", "ping, look"}, {"expired", "look"}, {"expired", "look"},
			{"expired", "look"}, {"taken", "await pong"}, {"expired", "timeout"}}},
		{"pong to a ping that was not seen to be taken", []step{{"expired", "ping, look"}, {"expired", "look"}, {"3", "pong"}, {"expired", "ping, look"}}},
		{"a client that takes nothing", []step{{"expired", "ping, look"}, {"expired", "look"}, {"silent", "timeout"}}},
		{"no pong can come inside a message", []step{{"expired", "ping, look"}, {"taken", "await rest"}, {"partial", "await pong"},
			{"partial", "await pong"}, {"partial", "await pong"}, {"expired", "timeout"}}},
		{"a ping that is not due", []step{{"ping", "look"}, {"taken", "await rest"}, {"3", "pong"}, {"ping", "look"}, {"taken", "await rest"},
			{"expired", "timeout"}}},
		{"while packets wait for handlers, any of them shows life", []step{{"pause", ""}, {"expired", "ping, look"}, {"taken", "await rest"},
			{"4x", "message"}, {"expired", "await pong"}, {"4x", "message"}, {"expired", "await pong"}, {"4x", "message"}, {"expired", "await pong"},
			{"expired", "timeout"}}},
		{"what is not read counts against nobody", []step{{"pause", ""}, {"expired", "ping, look"}, {"taken", "await rest"},
			{"not heard", "await pong"}, {"not heard", "await pong"}, {"expired", "timeout"}}},
		{"forgiven", []step{{"pause", ""}, {"expired", "ping, look"}, {"forgive", "await ping"}, {"forgive", "unchanged"},
			{"3", "none"}, {"expired", "ping, look"}, {"taken", "await rest"}, {"expired", "timeout"}}},
		{"pause and resume before the ping change nothing", []step{{"pause", ""}, {"resume", "unchanged"}, {"expired", "ping, look"}}},
		{"a ping that is out gets its timeout again", []step{{"expired", "ping, look"}, {"taken", "await rest"}, {"pause", ""}, {"resume", "await pong"},
			{"expired", "timeout"}}},
		{"a resumed timeout may be extended", []step{
			{"expired", "ping, look"}, {"taken", "await rest"}, {"4x", "message"}, {"expired", "await pong"}, {"pause", ""},
			{"resume", "await pong"}, {"4x", "message"}, {"expired", "await pong"}, {"expired", "timeout"}}},
		{"nothing after the end", []step{{"1", "close"}, {"pause", ""}, {"resume", "unchanged"}, {"forgive", "unchanged"}, {"ping", "await nothing"},
			{"expired", "await nothing"}}},
	} {
		var s State
		for i, step := range test.steps {
			kit.Want(t, play(&s, step.do), step.want, test.rule, "step", i, step.do)
		}
	}
}

func play(s *State, do string) string {
	wait := func(w Wait) string {
		return []string{WaitUnchanged: "unchanged", WaitNothing: "await nothing", WaitPing: "await ping", WaitTaken: "look", WaitRest: "await rest",
			WaitPong: "await pong"}[w]
	}
	evidence := map[string]Evidence{
		"expired": {}, "taken": {Taken: true}, "silent": {Silent: true}, "partial": {Partial: true}, "not heard": {NotHeard: true},
	}
	if e, ok := evidence[do]; ok {
		ping, next, err := s.Expired(e)
		switch {
		case err == ErrPingTimeout && !ping && next == WaitNothing && s.Ended():
			return "timeout"
		case err != nil:
			return err.Error()
		case ping:
			return "ping, " + wait(next)
		}
		return wait(next)
	}
	switch do {
	case "ping":
		return wait(s.Ping())
	case "forgive":
		return wait(s.Forgive())
	case "pause":
		s.Pause()
		return ""
	case "resume":
		return wait(s.Resume())
	}
	event, _, err := s.Receive(false, []byte(do))
	if err != nil {
		return err.Error()
	}
	return []string{EventNone: "none", EventMessage: "message", EventPong: "pong", EventClose: "close"}[event]
}

// FuzzSession checks that whatever a client sends, nothing panics, an ended session stays so, and a silent one ends.
func FuzzSession(f *testing.F) {
	f.Add([]byte("t4hello|t3|e|t3|p|e|r|e|t1"))
	f.Add([]byte("b\x00|e|e|t2"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var s State
		for step := range slices.Values(splitSteps(script)) {
			ended := s.Ended()
			var event Event
			var err error
			switch step[0] {
			case 'e':
				_, _, err = s.Expired(Evidence{Taken: len(step) > 1})
			case 'f':
				s.Forgive()
			case 'p':
				s.Pause()
			case 'r':
				s.Resume()
			default:
				event, _, err = s.Receive(step[0] == 'b', step[1:])
			}
			if ended && (!s.Ended() || event != EventNone || err != nil) {
				t.Fatalf("%q after the end: got %d, %v", step, event, err)
			}
			if (err != nil || event == EventClose) && !s.Ended() {
				t.Fatalf("%q: got %d, %v from a session that goes on", step, event, err)
			}
		}
		s.Resume()
		for range 4 { // a ping, which is taken, its timeout, its second timeout
			s.Expired(Evidence{Taken: true})
		}
		kit.Require(t, s.Ended(), "the session does not end although its client is silent")
	})
}

func splitSteps(script []byte) (steps [][]byte) {
	start := 0
	for i := range len(script) + 1 {
		if i == len(script) || script[i] == '|' {
			if i > start {
				steps = append(steps, script[start:i])
			}
			start = i + 1
		}
	}
	return steps
}
