package crowd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A template is a Socket.IO event whose arguments have gaps.
type template struct {
	namespace string // as packets have it
	args      []byte // JSON of event and arguments
	binary    bool   // the payload is an attachment
	packed    bool   // packets are MessagePack
}

// payloadGap is where the payload goes.
const payloadGap = "{payload}"

// newTemplate reads what is to be emitted: an array of the event's name and its arguments.
func newTemplate(emit []any, cfg Config, binary bool) (template, error) {
	if name, ok := "", false; len(emit) > 0 {
		if name, ok = emit[0].(string); !ok || name == "" {
			return template{}, fmt.Errorf("what is emitted begins with %v: want the name of an event", emit[0])
		}
	} else {
		return template{}, errors.New("nothing to emit: want the name of an event, and its arguments")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(emit); err != nil {
		return template{}, err
	}
	t := template{args: bytes.TrimSpace(b.Bytes()), binary: binary}
	if cfg.Codec == MessagePack {
		t.packed, t.namespace = true, cfg.Namespace
		return t, nil
	}
	if binary {
		const placeholder = `{"_placeholder":true,"num":0}`
		t.args = bytes.Replace(t.args, []byte(`"`+payloadGap+`"`), []byte(placeholder), 1)
	}
	if cfg.Namespace != "/" {
		t.namespace = cfg.Namespace + ","
	}
	return t, nil
}

// fill fills all gaps but that of the payload of a size, at which it cuts the arguments in two; the second
// is nil if there is none.
func (t template) fill(cl *client, room string, size int) (before, after []byte) {
	filled := strings.NewReplacer(
		"{room}", inJSON(room), "{id}", inJSON(cl.id), "{socket}", strconv.Itoa(cl.index),
	).Replace(string(t.args))
	if t.packed {
		return t.pack(filled, size)
	}
	first, second, found := strings.Cut(filled, payloadGap)
	if !found {
		return []byte(first), nil
	}
	return []byte(first), []byte(second)
}

// inJSON is text as it stands between the quotes of a string.
func inJSON(text string) string {
	quoted, _ := json.Marshal(text) // of a string it cannot fail
	return string(quoted[1 : len(quoted)-1])
}

// appendHead appends what a packet has before its arguments; ack is less than 0 if none is asked for.
func (t template) appendHead(dst []byte, ack int) []byte {
	if t.binary {
		dst = append(dst, "451-"...)
	} else {
		dst = append(dst, "42"...)
	}
	dst = append(dst, t.namespace...)
	if ack >= 0 {
		dst = strconv.AppendInt(dst, int64(ack), 10)
	}
	return dst
}
