package msgpack_test

import (
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/msgpack"
)

// A packet is one binary message, and comes back with the arguments that the default codec would have brought.
func Example() {
	var codec packet.Codec = msgpack.Codec{} // what wsserver.Config takes as its Codec

	args, err := packet.MarshalEvent("said", map[string]any{"text": "hello", "image": []byte("pixels")})
	if err != nil {
		panic(err)
	}
	encoded, err := codec.Encode(&packet.Packet{Type: packet.Event, Args: args})
	if err != nil {
		panic(err)
	}
	fmt.Printf("messages: %d, bytes: %d\n", len(encoded.Attachments), len(encoded.Attachments[0]))

	p, err := codec.NewDecoder(nil).Binary(encoded.Attachments[0])
	if err != nil {
		panic(err)
	}
	var line struct {
		Text  string
		Image []byte
	}
	if err := p.Decode(&line); err != nil {
		panic(err)
	}
	fmt.Printf("%s: %s, %s\n", p.Event(), line.Text, line.Image)
	// Output:
	// messages: 1, bytes: 50
	// said: hello, pixels
}
