package main

import (
	"flag"
	"net/http"
)

// What a floor answers a handshake with: the key is that of the crowd, whose accept (RFC 6455 section 4.2.2) is always the same.
const (
	floorAnswer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	floorOpen   = `0{"sid":"floor","upgrades":[],"pingInterval":3600000,"pingTimeout":3600000,"maxPayload":1000000}`
)

// serveHijack is the least that a server on net/http could do for clients that connect: it takes each connection over, and answers
// the handshake and the CONNECT packet with what is always the same.
func serveHijack(args []string) (string, error) {
	flags := flag.NewFlagSet("hijack", flag.ContinueOnError)
	certificate := flags.String("tls", "", "")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	if err := allowFiles(spareFiles); err != nil {
		return "", err
	}
	greeting := append([]byte(floorAnswer), appendFrame(nil, finText, []byte(floorOpen))...)
	connected := appendFrame(nil, finText, []byte(`40{"sid":"floor"}`))
	return serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		packet := make([]byte, 64)
		for _, answer := range [][]byte{greeting, connected} {
			if _, err := conn.Write(answer); err != nil {
				return
			}
			if _, err := conn.Read(packet); err != nil {
				return
			}
		}
	}), *certificate)
}
