package crowd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// MessagePack is the [Config] codec of socket.io-msgpack-parser: a packet is one binary message, a map with
// the keys type, data, nsp and id (https://github.com/socketio/socket.io-msgpack-parser).
const MessagePack = "msgpack"

var errPacked = errors.New("the server has sent a binary message that is no packet in MessagePack")

// packed takes a packet.
func (c *Crowd) packed(cl *client, p []byte, now time.Duration) error {
	kind, _ := packedNumber(packedField(p, "type"))
	data := packedField(p, "data")
	switch {
	case packedSize(p) != len(p) || packedField(p, "type") == nil:
		return errPacked
	case kind == 0 && cl.state == asking:
		id := packedText(packedField(data, "sid"))
		if id == "" {
			return refused("no id of a session in the answer to CONNECT: %.100q", p)
		}
		c.connected(cl, id)
	case kind == 1:
		return errors.New("disconnected by the server")
	case kind == 2:
		c.payload(cl, data, now)
	case kind == 3:
		id, ok := packedNumber(packedField(p, "id"))
		if !ok {
			return errPacked
		}
		if cl.busy { // the arguments are asked for as JSON
			said := ""
			if _, header := packedItems(data); len(data) > header {
				said = packedText(data[header:])
			}
			data, _ = json.Marshal([]string{said}) // of text it cannot fail
		}
		c.answered(cl, id, data, now)
	case kind == 4:
		return refused("%s", packedText(packedField(data, "message")))
	}
	return nil
}

// packedItems is how many values follow the one that p begins with as parts of it, and the length of that
// without them, or 0 if p does not hold it.
func packedItems(p []byte) (items, size int) {
	if len(p) == 0 {
		return 0, 0
	}
	number := func(width int) int { // the length that follows the first byte
		if len(p) < 1+width {
			return math.MaxInt32
		}
		var wide [8]byte
		copy(wide[8-width:], p[1:1+width])
		return int(binary.BigEndian.Uint64(wide[:]))
	}
	switch b := p[0]; {
	case b < 0x80 || b >= 0xe0 || b >= 0xc0 && b <= 0xc3:
		size = 1
	case b < 0x90:
		items, size = 2*int(b&0xf), 1
	case b < 0xa0:
		items, size = int(b&0xf), 1
	case b < 0xc0:
		size = 1 + int(b&0x1f)
	case b <= 0xc6: // bin
		width := 1 << (b - 0xc4)
		size = 1 + width + number(width)
	case b <= 0xc9: // ext
		width := 1 << (b - 0xc7)
		size = 2 + width + number(width)
	case b <= 0xcb: // float
		size = 1 + 4<<(b-0xca)
	case b <= 0xcf: // unsigned
		size = 1 + 1<<(b-0xcc)
	case b <= 0xd3: // signed
		size = 1 + 1<<(b-0xd0)
	case b <= 0xd8: // fixext
		size = 2 + 1<<(b-0xd4)
	case b <= 0xdb: // str
		width := 1 << (b - 0xd9)
		size = 1 + width + number(width)
	case b <= 0xdd: // array
		width := 2 << (b - 0xdc)
		items, size = number(width), 1+width
	default: // map
		width := 2 << (b - 0xde)
		items, size = 2*number(width), 1+width
	}
	if size > len(p) {
		return 0, 0
	}
	return items, size
}

// packedSize is the length of the value that p begins with, with all its parts; 0 if p does not hold it.
func packedSize(p []byte) (size int) {
	for left := 1; left > 0; left-- {
		items, n := packedItems(p[size:])
		if n == 0 || items > len(p) {
			return 0
		}
		left += items
		size += n
	}
	return size
}

// packedField is a value of the map that p begins with; nil if it has none with this key.
func packedField(p []byte, key string) []byte {
	if len(p) == 0 || p[0]&0xf0 != 0x80 && p[0] != 0xde && p[0] != 0xdf {
		return nil
	}
	items, size := packedItems(p)
	for ; items > 0 && size > 0; items -= 2 {
		p = p[size:]
		size = packedSize(p)
		found := packedText(p) == key
		p = p[size:]
		if size = packedSize(p); found && size > 0 {
			return p[:size]
		}
	}
	return nil
}

// packedText is the text that p begins with; empty if that is none.
func packedText(p []byte) string {
	_, size := packedItems(p)
	switch {
	case size == 0:
	case p[0]&0xe0 == 0xa0:
		return string(p[1:size])
	case p[0] >= 0xd9 && p[0] <= 0xdb:
		return string(p[1+1<<(p[0]-0xd9) : size])
	}
	return ""
}

// packedNumber is the whole number, of no sign, that p begins with.
func packedNumber(p []byte) (n int, ok bool) {
	_, size := packedItems(p)
	switch {
	case size == 0:
		return 0, false
	case p[0] < 0x80:
		return int(p[0]), true
	case p[0] < 0xcc || p[0] > 0xcf:
		return 0, false
	}
	for _, b := range p[1:size] {
		n = n<<8 | int(b)
	}
	return n, n >= 0
}

// A packer writes MessagePack.
type packer struct {
	out    []byte
	size   int  // of the payload
	binary bool // that is binary
	gap    int  // where it goes in out; 0 if it has not come yet
}

// head appends how long something is, with a width that is enough for everything.
func (k *packer) head(first byte, length int) {
	k.out = binary.BigEndian.AppendUint32(append(k.out, first), uint32(length))
}

// text appends text, in which the payload may have its gap.
func (k *packer) text(s string) {
	before, after, found := bytes.Cut([]byte(s), []byte(payloadGap))
	switch {
	case !found || k.gap > 0 || k.size == 0:
		k.head(0xdb, len(s))
		k.out = append(k.out, s...)
		return
	case k.binary && s == payloadGap:
		k.head(0xc6, k.size)
	default:
		k.head(0xdb, len(before)+k.size+len(after))
	}
	k.out = append(k.out, before...)
	k.gap = len(k.out)
	k.out = append(k.out, after...)
}

// value appends what encoding/json has read.
func (k *packer) value(v any) {
	switch v := v.(type) {
	case nil:
		k.out = append(k.out, 0xc0)
	case bool:
		k.out = append(k.out, map[bool]byte{false: 0xc2, true: 0xc3}[v])
	case float64:
		k.out = binary.BigEndian.AppendUint64(append(k.out, 0xcb), math.Float64bits(v))
	case string:
		k.text(v)
	case []any:
		k.head(0xdd, len(v))
		for _, e := range v {
			k.value(e)
		}
	case map[string]any:
		k.head(0xdf, len(v))
		for key, e := range v {
			k.text(key)
			k.value(e)
		}
	}
}

// pack makes an event of its arguments in JSON, cut at the payload, whose size is given; without the head
// that appendPackedHead has and the id. after is nil if there is no payload in it.
func (t template) pack(args string, size int) (before, after []byte) {
	k := packer{size: size, binary: t.binary}
	k.text("data")
	var v any
	json.Unmarshal([]byte(args), &v) // newTemplate has made it
	k.value(v)
	k.packNamespace(t.namespace)
	if k.gap == 0 {
		return k.out, nil
	}
	return k.out[:k.gap:k.gap], slices.Clone(k.out[k.gap:])
}

func (k *packer) packNamespace(name string) {
	k.text("nsp")
	k.text(name)
}

// appendPackedHead appends what comes before the arguments of an event; ack is less than 0 if none is asked
// for, and otherwise appendPackedID must come after them.
func appendPackedHead(dst []byte, ack int) []byte {
	fields := byte(3)
	if ack >= 0 {
		fields++
	}
	return append(dst, 0x80|fields, 0xa4, 't', 'y', 'p', 'e', 2)
}

func appendPackedID(dst []byte, ack int) []byte {
	if ack < 0 {
		return dst
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xa2, 'i', 'd', 0xce), uint32(ack))
}

// packedConnect is a CONNECT packet.
func packedConnect(namespace string, auth []byte) []byte {
	k := packer{out: []byte{0x82, 0xa4, 't', 'y', 'p', 'e', 0}}
	k.packNamespace(namespace)
	var v any
	if len(auth) > 0 && json.Unmarshal(auth, &v) == nil {
		k.out[0]++
		k.text("data")
		k.value(v)
	}
	return k.out
}

// checkCodec is the error of a codec that does not go with the rest.
func checkCodec(cfg Config) error {
	switch {
	case cfg.Codec == "":
		return nil
	case cfg.Codec != MessagePack || cfg.Dialect != SocketIO:
		return fmt.Errorf("no codec %q of the dialect %s", cfg.Codec, cfg.Dialect)
	}
	return nil
}
