package msgpack

import (
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
)

func show(p *packet.Packet) string {
	if p == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v %q id %d %t data %s args %s %x", p.Type, p.Namespace, p.ID, p.HasID, p.Data, p.Args.JSON(), p.Args.Attachments())
}
