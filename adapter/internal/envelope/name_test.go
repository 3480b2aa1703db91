package envelope

import (
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// What a broken node calls itself does not come further than here, and does not keep it out of the cluster.
func TestNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"web-1": true, "chat-7f9c.eu": true, "Glockenstuhl Süd": true, "塔": true, strings.Repeat("n", MaxName): true,
		"":                                   false,
		strings.Repeat("n", MaxName+1):       false,
		strings.Repeat("n", 1<<20):           false,
		"a\nERROR forged":                    false,
		"\x00":                               false,
		"\x1b[2J":                            false,
		"\x7f":                               false,
		"\u0085":                             false, // next line
		"\u2028":                             false, // line separator
		"\u202eback to front":                false,
		"\xff\xfe":                           false,
		strings.Repeat("n", MaxName-1) + "ü": false,
	} {
		kit.Equal(t, ValidName(name), valid, "ValidName of", name)
		want := name
		if !valid {
			want = ""
		}
		for _, sent := range []mesh.Message{&mesh.Fence{Number: 1, Hello: true, Name: name}, &mesh.Ack{Fence: 1, Name: name}} {
			m, err := Decode(AppendMessage(nil, sender, "me", sent))
			if err != nil {
				t.Errorf("%T with the name %.64q: %v", sent, name, err)
				continue
			}
			got := ""
			switch msg := m.Mesh.(type) {
			case *mesh.Fence:
				got = msg.Name
			case *mesh.Ack:
				got = msg.Name
			}
			kit.Equal(t, got, want, "decoded name")
		}
	}
}
