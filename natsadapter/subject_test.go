package natsadapter

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

func mustNaming(t testing.TB, prefix, cluster string) naming {
	t.Helper()
	n, err := newNaming(prefix, cluster)
	kit.OK(t, err)
	return n
}

func TestSubjects(t *testing.T) {
	n := mustNaming(t, "belfry", "chat")
	for _, tc := range []struct {
		topic              adapter.Topic
		publish, subscribe string // subscribe is empty where it is the same
	}{
		{adapter.Topic{Kind: adapter.Cluster}, "belfry.v1.rchat.c", ""},
		{adapter.Topic{Kind: adapter.Cluster, Namespace: "/", Node: "n", Room: "r"}, "belfry.v1.rchat.c", ""},
		{adapter.Topic{Kind: adapter.Namespace, Namespace: "/"}, "belfry.v1.rchat.s.r=2F", ""},
		{adapter.Topic{Kind: adapter.Namespace}, "belfry.v1.rchat.s.r", ""},
		{adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: "lobby"}, "belfry.v1.rchat.r.r=2F.rlobby", ""},
		{adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: "a.*"}, "belfry.v1.rchat.r.r=2F.ra=2E=2A", ""},
		{adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: ">"}, "belfry.v1.rchat.r.r=2F.r=3E", ""},
		{adapter.Topic{Kind: adapter.Node, Node: "N1"}, "belfry.v1.rchat.n.rN1.c", "belfry.v1.rchat.n.rN1.>"},
		{adapter.Topic{Kind: adapter.Private, Namespace: "/", Node: "N1", Room: "N1-x"}, "belfry.v1.rchat.n.rN1.p.r=2F.rN1-x", ""},
	} {
		got, err := n.publish(tc.topic)
		if err != nil || got != tc.publish {
			t.Errorf("publish(%+v) = %q, %v, want %q", tc.topic, got, err, tc.publish)
		}
		want := tc.subscribe
		if want == "" {
			want = tc.publish
		}
		got, err = n.subscribe(tc.topic)
		if err != nil || got != want {
			t.Errorf("subscribe(%+v) = %q, %v, want %q", tc.topic, got, err, want)
		}
	}
	for _, kind := range []adapter.Kind{0, adapter.Private + 1} {
		if got, err := n.publish(adapter.Topic{Kind: kind}); err == nil {
			t.Errorf("publish of kind %d = %q, want an error", kind, got)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, prefix := range []string{"a", "belfry", "a.b-c._d", strings.Repeat("x", maxPrefix)} {
		if _, err := newNaming(prefix, "c"); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "a\r\n", "$SYS", "ä", strings.Repeat("x", maxPrefix+1)} {
		if _, err := newNaming(prefix, "c"); err == nil {
			t.Errorf("prefix %q: no error", prefix)
		}
	}
}

// token returns the token of name.
func token(name string) string { return string(appendToken(nil, name)) }

var validToken = regexp.MustCompile(`^(r([A-Za-z0-9_-]|=[0-9A-F]{2})*|h[A-Za-z0-9_-]{43})$`)

// checkToken fails unless name's token is harmless and leads back to name.
func checkToken(t *testing.T, name string) {
	t.Helper()
	tok := token(name)
	if len(tok) > maxToken || !validToken.MatchString(tok) {
		t.Fatalf("token of %q is %q", name, tok)
	}
	if tok[0] == 'h' {
		if len(name)*3+1 <= maxToken {
			t.Fatalf("token of %q is a hash, though the name is short", name)
		}
		return
	}
	var back []byte
	for rest := tok[1:]; rest != ""; {
		if rest[0] != '=' {
			back, rest = append(back, rest[0]), rest[1:]
			continue
		}
		b, err := hex.DecodeString(rest[1:3])
		kit.OK(t, err, "token of", name, tok)
		back, rest = append(back, b...), rest[3:]
	}
	if !bytes.Equal(back, []byte(name)) {
		t.Fatalf("token of %q is %q, which reads %q", name, tok, back)
	}
}

// hostileNames break a subject that takes them as they are.
var hostileNames = []string{
	"", "*", ">", ".", "..", ".a", "a.", "a..b", "a.b", "a b", "a\tb", "a\rb", "a\nb", "a\r\nPUB x 0\r\n\r\n", "\x00", "\xff\xfe", "ä", "\v\f",
	"=", "==", "=2E", "r", "h", "c", "n", "$SYS", "_INBOX.x", strings.Repeat("x", maxToken-1), strings.Repeat("x", maxToken),
	strings.Repeat("x", 5000), strings.Repeat(".", 42), strings.Repeat(".", 43), strings.Repeat("*", 70000),
}

func TestTokensOfHostileNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range hostileNames {
		checkToken(t, name)
		if other, ok := seen[token(name)]; ok {
			t.Errorf("%.40q and %.40q have the same token %s", name, other, token(name))
		}
		seen[token(name)] = name
	}
}

func TestTokensAreInjective(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	const alphabet = "ab=.*> \r\n/rh2E\x00\xff_-"
	seen := map[string]string{}
	for range 20000 {
		name := make([]byte, rnd.IntN(140))
		if rnd.IntN(2) == 0 {
			name = name[:len(name)/20]
		}
		for i := range name {
			name[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		checkToken(t, string(name))
		tok := token(string(name))
		if other, ok := seen[tok]; ok && other != string(name) {
			t.Fatalf("seed %d: %q and %q have the same token %s", seed, name, other, tok)
		}
		seen[tok] = string(name)
	}
}

// TestSubjectsAreDistinct puts names that resemble parts of a subject into every field.
func TestSubjectsAreDistinct(t *testing.T) {
	names := []string{"", "c", "n", "p", "r", "s", "c.p", "r.r", ">", "*"}
	n := mustNaming(t, "belfry", "belfry")
	seen := map[string]adapter.Topic{}
	add := func(topic adapter.Topic) {
		t.Helper()
		subject, err := n.publish(topic)
		kit.OK(t, err)
		if other, ok := seen[subject]; ok {
			t.Errorf("%+v and %+v have the same subject %s", topic, other, subject)
		}
		seen[subject] = topic
	}
	add(adapter.Topic{Kind: adapter.Cluster})
	for _, a := range names {
		add(adapter.Topic{Kind: adapter.Namespace, Namespace: a})
		add(adapter.Topic{Kind: adapter.Node, Node: a})
		for _, b := range names {
			add(adapter.Topic{Kind: adapter.Room, Namespace: a, Room: b})
			for _, c := range names {
				add(adapter.Topic{Kind: adapter.Private, Namespace: a, Node: b, Room: c})
			}
		}
	}
}

func TestLongestSubject(t *testing.T) {
	long := strings.Repeat(".", (maxToken-1)/3)
	n := mustNaming(t, strings.Repeat("p", maxPrefix), long)
	subject, err := n.publish(adapter.Topic{Kind: adapter.Private, Namespace: long, Node: strings.Repeat("n", 32), Room: long})
	kit.OK(t, err)
	if len(subject) >= 512 || len(subject) < 400 {
		t.Errorf("the longest subject has %d bytes, want 400 to 511", len(subject))
	}
}

func FuzzToken(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name, "a")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		checkToken(t, a)
		if (a == b) != (token(a) == token(b)) {
			t.Fatalf("tokens of %q and %q: %s and %s", a, b, token(a), token(b))
		}
	})
}

func BenchmarkSubject(b *testing.B) {
	n := mustNaming(b, "belfry", "chat")
	topic := adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: "document:123456"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.publish(topic); err != nil {
			b.Fatal(err)
		}
	}
}
