package transport

import (
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"net/http"
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	const plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	const withBits = plain + "; server_max_window_bits=15"
	many := "permessage-deflate" + strings.Repeat("; x", 100_000)
	for _, test := range []struct {
		rule  string
		lines []string
		want  string
	}{
		{"RFC 7692 5.1 no offer", nil, ""},
		{"RFC 7692 5.1 plain offer", []string{"permessage-deflate"}, plain},
		{"RFC 7692 5.1 other extensions alone", []string{"foo, bar; baz=2", "x-webkit-deflate-frame"}, ""},
		{"RFC 7692 5.1 other extensions before it", []string{`foo; a="b", permessage-deflate`}, plain},
		{"RFC 7692 5.1 names are told from longer ones", []string{"permessage-deflate2, permessage"}, ""},
		{"RFC 7692 5.1 offers on two lines", []string{"permessage-deflate; unknown", "permessage-deflate"}, plain},
		{"RFC 7692 5.2 fallback to the second offer", []string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, plain},
		{"RFC 7692 5.2 the first acceptable offer", []string{"permessage-deflate; server_max_window_bits=15, permessage-deflate"}, withBits},
		{"RFC 7692 5.2 answered once", []string{"permessage-deflate, permessage-deflate; server_max_window_bits=15"}, plain},

		{"RFC 7692 7 unknown parameter", []string{"permessage-deflate; level=9"}, ""},
		{"RFC 7692 7 unknown parameter beside known ones", []string{"permessage-deflate; server_no_context_takeover; level"}, ""},
		{"RFC 7692 7 parameter twice", []string{"permessage-deflate; server_no_context_takeover; server_no_context_takeover"}, ""},
		{"RFC 7692 7 parameter twice, with values", []string{"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15"}, ""},
		{"RFC 7692 7 parameter twice, once without a value", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits=9"}, ""},
		{"RFC 7692 7 a great many parameters", []string{many}, ""},
		{"RFC 7692 7 all parameters", []string{"permessage-deflate; client_max_window_bits=9; server_no_context_takeover; server_max_window_bits=15; client_no_context_takeover"}, withBits},

		{"RFC 7692 7.1.1.1 server_no_context_takeover", []string{"permessage-deflate; server_no_context_takeover"}, plain},
		{"RFC 7692 7.1.1.1 server_no_context_takeover with a value", []string{"permessage-deflate; server_no_context_takeover=1"}, ""},
		{"RFC 7692 7.1.1.2 client_no_context_takeover", []string{"permessage-deflate; client_no_context_takeover"}, plain},
		{"RFC 7692 7.1.1.2 client_no_context_takeover with a value", []string{"permessage-deflate; client_no_context_takeover=true"}, ""},

		{"RFC 7692 7.1.2.1 server window of 32 KiB", []string{"permessage-deflate; server_max_window_bits=15"}, withBits},
		{"RFC 7692 7.1.2.1 quoted", []string{`permessage-deflate; server_max_window_bits="15"`}, withBits},
		{"RFC 7692 7.1.2.1 quoted with a backslash", []string{`permessage-deflate; server_max_window_bits="1\5"`}, withBits},
		{"RFC 7692 7.1.2.1 smaller server window, which cannot be had", []string{"permessage-deflate; server_max_window_bits=14"}, ""},
		{"RFC 7692 7.1.2.1 no value", []string{"permessage-deflate; server_max_window_bits"}, ""},
		{"RFC 7692 7.1.2.1 out of range", []string{"permessage-deflate; server_max_window_bits=16"}, ""},
		{"RFC 7692 7.1.2.1 leading zero", []string{"permessage-deflate; server_max_window_bits=015"}, ""},

		{"RFC 7692 7.1.2.2 without a value", []string{"permessage-deflate; client_max_window_bits"}, plain},
		{"RFC 7692 7.1.2.2 smallest", []string{"permessage-deflate; client_max_window_bits=8"}, plain},
		{"RFC 7692 7.1.2.2 greatest", []string{"permessage-deflate; client_max_window_bits=15"}, plain},
		{"RFC 7692 7.1.2.2 too small", []string{"permessage-deflate; client_max_window_bits=7"}, ""},
		{"RFC 7692 7.1.2.2 too great", []string{"permessage-deflate; client_max_window_bits=16"}, ""},
		{"RFC 7692 7.1.2.2 leading zero", []string{"permessage-deflate; client_max_window_bits=09"}, ""},
		{"RFC 7692 7.1.2.2 no number", []string{"permessage-deflate; client_max_window_bits=1x"}, ""},

		{"RFC 6455 9.1 space wherever it may be", []string{" \tpermessage-deflate\t; server_max_window_bits = 15 ;client_max_window_bits , foo "}, withBits},
		{"RFC 6455 9.1 empty elements of a list", []string{", ,permessage-deflate,,", ""}, plain},
		{"RFC 6455 9.1 nothing", []string{""}, "malformed"},
		{"RFC 6455 9.1 commas alone", []string{", ,"}, "malformed"},
		{"RFC 6455 9.1 no name", []string{"; a"}, "malformed"},
		{"RFC 6455 9.1 no name of a parameter", []string{"permessage-deflate;"}, "malformed"},
		{"RFC 6455 9.1 empty parameter", []string{"permessage-deflate; ; client_max_window_bits"}, "malformed"},
		{"RFC 6455 9.1 equals sign alone", []string{"permessage-deflate; client_max_window_bits="}, "malformed"},
		{"RFC 6455 9.1 two tokens", []string{"permessage deflate"}, "malformed"},
		{"RFC 6455 9.1 value of two tokens", []string{"permessage-deflate; client_max_window_bits=1 5"}, "malformed"},
		{"RFC 6455 9.1 empty quotes", []string{`permessage-deflate; client_max_window_bits=""`}, "malformed"},
		{"RFC 6455 9.1 no token inside quotes", []string{`foo; a="b c"`}, "malformed"},
		{"RFC 6455 9.1 quotes left open", []string{`foo; a="b`}, "malformed"},
		{"RFC 6455 9.1 quotes left open by a backslash", []string{`foo; a="b\"`}, "malformed"},
		{"RFC 6455 9.1 quoted name", []string{`"permessage-deflate"`}, "malformed"},
		{"RFC 6455 9.1 comment", []string{"permessage-deflate (mine)"}, "malformed"},
		{"RFC 6455 9.1 byte that no token has", []string{"permessage-deflate\x80"}, "malformed"},
		{"RFC 6455 9.1 malformed behind what is acceptable", []string{"permessage-deflate", "foo;"}, "malformed"},
	} {
		got, ok := negotiate(test.lines)
		if !ok {
			kit.Want(t, got, "", test.rule, "the answer to a malformed header")
			got = "malformed"
		}
		kit.Want(t, got, test.want, test.rule)
	}
}

func TestUpgradeDeflate(t *testing.T) {
	for _, test := range []struct {
		deflate bool
		header  string
		status  int
		answer  string
	}{
		{true, "", 101, ""},
		{true, "permessage-deflate; client_max_window_bits", 101, deflateAnswer},
		{true, "permessage-deflate; server_max_window_bits=9", 101, ""},
		{true, "permessage-deflate;", 400, ""},
		{false, "permessage-deflate", 101, ""},
		{false, "permessage-deflate;", 101, ""},
	} {
		t.Run(fmt.Sprintf("%t %s", test.deflate, test.header), func(t *testing.T) {
			addr, results := serve(t, test.deflate)
			raw := request()
			if test.header != "" {
				raw = request("\r\n\r\n", "\r\nSec-WebSocket-Extensions: "+test.header+"\r\n\r\n")
			}
			_, br := dial(t, addr, raw)
			resp := kit.Must(http.ReadResponse(br, nil))(t)
			u := <-results
			if u.conn != nil {
				defer u.conn.Close()
			}
			if resp.StatusCode != test.status || (u.err == nil) != (test.status == 101) {
				t.Errorf("got status %d and error %v, want %d", resp.StatusCode, u.err, test.status)
			}
			if got := strings.Join(resp.Header["Sec-Websocket-Extensions"], "|"); got != test.answer || u.deflate != (test.answer != "") {
				t.Errorf("got the answer %q and %t, want %q", got, u.deflate, test.answer)
			}
		})
	}
}

// FuzzNegotiate checks that an answer is one of the two that there are, and that what was taken up was offered.
func FuzzNegotiate(f *testing.F) {
	for _, header := range []string{"", "permessage-deflate", `foo; a="\b", permessage-deflate; server_max_window_bits=15`, "permessage-deflate; client_max_window_bits=10;", ", ,"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		answer, ok := negotiate([]string{header})
		switch {
		case answer == "":
		case !ok:
			t.Errorf("got the answer %q to a malformed header", answer)
		case answer != deflateAnswer && answer != deflateAnswer+"; server_max_window_bits=15":
			t.Errorf("got the answer %q", answer)
		case !strings.Contains(header, "permessage-deflate"):
			t.Errorf("got the answer %q to no offer", answer)
		}
	})
}
