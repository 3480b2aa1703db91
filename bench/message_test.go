package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestMessage(t *testing.T) {
	for _, size := range []int{minSize, 17, 111, 112, 128, 70_000} { // across the lengths of a frame's header
		packet := appendEvent(nil, messagePrefix, 12, 345, size)
		var args []string
		if err := json.Unmarshal(packet[2:], &args); err != nil || len(args) != 2 || args[0] != "message" || len(args[1]) != size {
			t.Fatalf("size %d: got %.60q, %v; want an event with a string of that size", size, packet, err)
		}
		parser := newMessageParser(size)
		if publisher, number, ok := parser.parse(packet); publisher != 12 || number != 345 || !ok {
			t.Errorf("size %d: got %d, %d, %t; want 12, 345, true", size, publisher, number, ok)
		}
		for i := range min(len(packet), 200) {
			broken := bytes.Clone(packet)
			broken[i] = '~'
			if _, _, ok := parser.parse(broken); ok {
				t.Errorf("size %d: a packet with byte %d changed was taken for a whole one", size, i)
			}
		}
		if _, _, ok := parser.parse(packet[:len(packet)-1]); ok {
			t.Errorf("size %d: a packet cut short was taken for a whole one", size)
		}

		frame := appendFrame(nil, finText, packet)
		for n := range min(len(frame), 200) {
			if _, _, got, err := nextFrame(frame[:n]); got != 0 || err != nil {
				t.Fatalf("size %d: %d bytes of a frame: got %d, %v; want 0, nil", size, n, got, err)
			}
		}
		first, payload, n, err := nextFrame(append(frame, 'x'))
		if first != finText || !bytes.Equal(payload, packet) || n != len(frame) || err != nil {
			t.Errorf("size %d: got %#x, %.20q, %d, %v; want the frame back", size, first, payload, n, err)
		}
		if _, _, _, err := nextFrame(appendMasked(nil, finText, packet)); err == nil {
			t.Errorf("size %d: a masked frame was taken from a server", size)
		}
	}
}

func TestParse(t *testing.T) {
	cfg, err := parse([]string{"-nodes", "3, 1,3", "-inflight", "2"})
	if err != nil || len(cfg.Nodes) != 2 || cfg.Nodes[0] != 3 || cfg.Publishers != 2 {
		t.Errorf("got %+v, %v; want nodes 3 and 1, and no more publishers than are in flight", cfg, err)
	}
	for _, args := range []string{"-nodes 0", "-nodes x", "-members 0", "-size 15", "-inflight 0", "-publishers 17", "-runs 0", "-duration 0s", "-what", "more"} {
		if _, err := parse(strings.Fields(args)); exitCode(err) != 2 {
			t.Errorf("%s: got %v, want a usageError", args, err)
		}
	}
}
