package engineio

import (
	"github.com/belfry-io/belfry/test/kit"
	"reflect"
	"testing"
	"time"
)

func TestOpenPacket(t *testing.T) {
	for _, test := range []struct {
		open Open
		want string
	}{
		{
			Open{SID: "lv_VI97HAXpY6yYWAAAC", PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxPayload: 1_000_000},
			`0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`,
		},
		{
			Open{SID: "a", Upgrades: []string{"websocket"}, PingInterval: 300 * time.Millisecond, PingTimeout: 200*time.Millisecond + 999*time.Microsecond},
			`0{"sid":"a","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":0}`,
		},
	} {
		kit.Want(t, string(test.open.Packet()), test.want)
	}
}

func TestParseOpen(t *testing.T) {
	want := Open{SID: "abc", Upgrades: []string{}, PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxPayload: 100}
	if got, err := ParseOpen(want.Packet()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "0", "4{}", "0{}", "0[]", `0{"sid":"a"`, `0{"sid":1}`, `0{"sid":"a","pingInterval":-1}`, `0{"sid":"a","pingTimeout":9223372036854775807}`} {
		if got, err := ParseOpen([]byte(bad)); err == nil {
			t.Errorf("%s: got %+v, want an error", bad, got)
		}
	}
}

func FuzzParseOpen(f *testing.F) {
	f.Add(Open{SID: "abc", PingInterval: time.Second, PingTimeout: time.Second, MaxPayload: 1}.Packet())
	f.Add([]byte(`0{"sid":"a","upgrades":null}`))
	f.Fuzz(func(t *testing.T, packet []byte) {
		open, err := ParseOpen(packet)
		if err != nil {
			return
		}
		again, err := ParseOpen(open.Packet())
		if open.Upgrades == nil {
			open.Upgrades = []string{}
		}
		kit.Check(t, err == nil && reflect.DeepEqual(again, open),
			"got %+v, %v, want %+v", again, err, open)
	})
}
