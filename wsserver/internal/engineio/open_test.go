package engineio

import (
	"github.com/belfry-io/belfry/test/kit"
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
