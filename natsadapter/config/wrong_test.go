package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// A wrongCase is a program that somebody has configured wrongly. In all texts, DIR is a folder with
// its files.
type wrongCase struct {
	args  string // separated by blanks
	env   string // likewise
	file  string // of DIR/chat.yaml, which -config names unless args do
	other string // of DIR/other
	want  string // the error, which is one line
}

var wrongCases = []wrongCase{
	// A wrong key.
	{args: "-limits.max-paylod 1MB", want: "flag -limits.max-paylod: there is no such setting: want -limits.max-payload"},
	{args: "--max-payload=1MB", want: "flag -max-payload: there is no such setting: want -limits.max-payload"},
	{args: "-pingInterval 1s", want: "flag -pingInterval: there is no such setting: want -ping-interval"},
	{args: "-greetign hi", want: "flag -greetign: there is no such setting: want -greeting"},
	{args: "-zzz", want: "flag -zzz: there is no such setting: want one of those that -h lists"},
	{env: "CHAT_ADRR=:80", want: "environment variable CHAT_ADRR: there is no such setting: want CHAT_ADDR"},
	{env: "CHAT_LIMITS_MAXPAYLOAD=1MB", want: "environment variable CHAT_LIMITS_MAXPAYLOAD: there is no such setting: want CHAT_LIMITS_MAX_PAYLOAD"},
	{file: "addr: :80\nlimits:\n  max-events: 5\n  max-socket: 5\n", want: "DIR/chat.yaml:4: limits.max-socket: there is no such setting: want limits.max-sockets"},
	{file: "log: {levle: info}", want: "DIR/chat.yaml:1: log.levle: there is no such setting: want log.level"},
	{file: "log.levle: info", want: "DIR/chat.yaml:1: log.levle: there is no such setting: want log.level"},
	{args: "-adapter nats://h?clutser=a", want: "flag -adapter, parameter clutser: there is no such parameter: want cluster"},
	{args: "-adapter embedded:?lisen=:1", want: "flag -adapter, parameter lisen: there is no such parameter: want listen"},

	// A wrong value.
	{args: "-limits.max-payload 1MX", want: `flag -limits.max-payload: "1MX" is no size: want bytes, such as 512KiB or 1MB`},
	{args: "-limits.max-payload 99999999999GiB", want: `flag -limits.max-payload: "99999999999GiB" is beyond what a size can be: want less`},
	{args: "-limits.max-events many", want: `flag -limits.max-events: "many" is no whole number: want digits, such as 1000`},
	{args: "-limits.max-events -5", want: `flag -limits.max-events: "-5" is negative: want 0 or more`},
	{args: "-limits.max-events 0", want: "flag -limits.max-events: 0 is no value of this setting: want more than 0, or nothing for the default of 256"},
	{args: "-limits.budget-bytes 1kB", want: "flag -limits.budget-bytes: 1000 for all clients is less than limits.queue-bytes (1048576) or limits.max-payload (1000000) for one: want at least the larger of both"},
	{env: "CHAT_PING_INTERVAL=25", want: `environment variable CHAT_PING_INTERVAL: ping-interval: "25" has no unit: want 25s, 25ms or 25m`},
	{args: "-ping-interval soon", want: `flag -ping-interval: "soon" is no duration: want a duration, such as 25s, 1m30s or 500ms`},
	{args: "-ping-interval 1us", want: "flag -ping-interval: \"1us\" is out of range: want at least 1ms"},
	{args: "-log.level loud", want: `flag -log.level: "loud" is no level: want debug, info, warn or error`},
	{args: "-log.format jsno", want: `flag -log.format: "jsno" (json?): want text or json`},
	{args: "-transports polling,websockets", want: `flag -transports: "websockets" (websocket?): want polling or websocket`},
	{args: "-disable-upgrades=maybe", want: `flag -disable-upgrades: "maybe": want true or false`},
	{file: "compression:\n  http: sure", want: `DIR/chat.yaml:2: compression.http: "sure": want true or false`},
	{args: "-addr 8080", want: `flag -addr: "8080" has no colon: want :8080`},
	{args: "-addr localhost", want: `flag -addr: "localhost" has no port: want localhost:8080`},
	{args: "-addr :99999", want: `flag -addr: ":99999": the port "99999": want a port from 0 to 65535, as in 127.0.0.1:8080`},
	{args: "-path /a/../b", want: `flag -path: "/a/../b" has the segment "..", which no request has: remove it`},
	{args: "-cors.origins app.example", want: `flag -cors.origins: "app.example" is not an origin: want one such as https://app.example, without a path`},
	{args: "-cors.origins=* -cors.credentials", want: `flag -cors.origins: cors.credentials with the origin "*" lets any page act for its user: list the origins`},
	{args: "-cors.credentials", want: "flag -cors.credentials: it is of no use without cors.origins: want cors.origins, too"},
	{args: "-trusted-proxies 10.0.0.0/33", want: `flag -trusted-proxies: "10.0.0.0/33" is no address: want addresses, such as 10.0.0.0/8 or 192.0.2.7`},
	{args: "-cookie.name io -cookie.same-site loose", want: `flag -cookie.same-site: "loose": want lax, strict or none`},
	{args: "-keep 1s", want: `flag -keep: "1s" is out of range: want at least 1m`},
	{args: "-color gren", want: `flag -color: "gren" (green?): want red or green`},
	{args: "-greeting=", want: "flag -greeting: a newcomer must be told something: want a word"},
	{env: "CHAT_SECRET=", want: "environment variable CHAT_SECRET: secret: it is empty: want -secret-file, CHAT_SECRET_FILE, or secret-file in the file"},
	{args: "-addr", want: "flag -addr: its value is missing: want -addr=:8080"},
	{args: "start", want: "argument 1: it stands alone: want flags only, such as -addr :8080"},
	{args: "-addr :1 -addr :2", want: "flag -addr: given twice, also by flag -addr: want one of them"},
	{args: "-node-name " + strings.Repeat("n", 129), want: `flag -node-name: "` + strings.Repeat("n", 64) + `", of 129 bytes, cannot be a node's name: want at most 128 bytes of printable UTF-8`},
	{args: "-recovery-max-away 5m", want: "flag -recovery-max-away: it is of no use without recovery: want recovery, too"},
	{args: "-recovery-secret-file DIR/other", other: "hidden", want: "flag -recovery-secret-file: it is of no use without recovery: want recovery, too"},
	{args: "-recovery -recovery-max-away 5ms", want: `flag -recovery-max-away: "5ms" is out of range: want at least 1s`},
	{args: "-recovery -recovery-log-bytes -1", want: `flag -recovery-log-bytes: "-1" is negative: want 0 or more`},
	{args: "-recovery -recovery-secret hidden", want: "flag -recovery-secret: it has 6 bytes: want 16 random bytes or more"},

	// A wrong file.
	{args: "-config DIR/chatt.yaml", file: "addr: :1", want: "flag -config: there is no file DIR/chatt.yaml: want DIR/chat.yaml"},
	{args: "-config DIR", want: "flag -config: DIR is a folder: want a file"},
	{args: "-config DIR/chat.toml", want: `flag -config: files that end in .toml are not understood: want a file in YAML or JSON: .yaml, .yml or .json`},
	{file: "addr: :1\n\tlog: x", want: `DIR/chat.yaml: line 2: found a tab character that violates indentation: want YAML, such as "addr: :8080" on a line`},
	{file: "- a", want: `DIR/chat.yaml:1: no settings stand here: want keys with values, such as "addr: :8080"`},
	{file: "addr: :1\npath: /x\naddr: :2", want: "DIR/chat.yaml:3: addr: given twice, also by DIR/chat.yaml:1: want one of them"},
	{file: "path: [a, b]", want: "DIR/chat.yaml:1: path: it is a list: want one value"},
	{file: "path:\nlog: {level: info}", want: "DIR/chat.yaml:1: path: it has no value: want a value, or no such line"},
	{file: "limits: 5", want: `DIR/chat.yaml:1: limits: no settings stand here: want keys with values, such as "addr: :8080"`},
	{args: "-tls.cert DIR/other", other: "x", want: "flag -tls.cert: it is of no use without tls.key: want tls.key, too"},
	{args: "-tls.cert DIR/other -tls.key DIR/other", other: "x", want: "flag -tls.cert: file DIR/other has no certificate: want PEM, which begins with -----BEGIN CERTIFICATE-----"},
	{args: "-tls.cert DIR/none -tls.key DIR/other", other: "x", want: "flag -tls.cert: there is no file DIR/none: want the path of a file"},
	{args: "-secret-file DIR/other", other: "\n", want: "flag -secret-file: file DIR/other is empty: want secret in it"},
	{args: "-secret a -secret-file DIR/other", other: "b", want: "flag -secret: given twice, also by flag -secret-file: want one of them"},

	// A wrong adapter.
	{args: "-adapter redis://u:hidden@h", want: "flag -adapter: the scheme before the first colon is unknown: want memory:, nats://host:4222, tls://host:4222 or embedded:"},
	{args: "-adapter nat://u:hidden@h", want: "flag -adapter: the scheme before the first colon is unknown: want nats:"},
	{args: "-adapter memory:x", want: "flag -adapter: there is something behind memory:: want memory: alone"},
	{args: "-adapter nats://h:0", want: `flag -adapter: server 1 of the URL: port "0": want 1 to 65535`},
	{args: "-adapter nats://u:hidden@h,", want: "flag -adapter: server 2 of the URL: no host: want nats://host:port"},
	{args: "-adapter nats://h -nats.prefix a..b", want: `flag -nats.prefix: prefix "a..b": want up to 64 letters, digits, '-' and '_', with single dots between them`},
	{args: "-adapter nats://h?cluster=a -nats.cluster b", want: "flag -adapter, parameter cluster: given twice, also by flag -nats.cluster: want one of them"},
	{args: "-nats.cluster b", want: "flag -nats.cluster: it is of no use without an adapter: want adapter nats://host:4222, too"},
	{args: "-adapter embedded:x", want: "flag -adapter: there is something behind embedded:: want embedded: or embedded:?listen=:6222&routes=nats://a:6222"},
	{args: "-adapter embedded: -embedded.listen :0", want: `flag -embedded.listen: ":0" is open to others, and any server could join the cluster: want embedded.secret-file, the same on all nodes, or an address such as 127.0.0.1:6222`},
	{args: "-adapter embedded: -embedded.clients :0", want: `flag -embedded.clients: ":0" is open to others, and any of them could read and write all messages: want embedded.user and embedded.password, or an address such as 127.0.0.1:4222`},
	{args: "-adapter embedded: -embedded.routes nats://a:6222", want: "flag -embedded.routes: the other nodes could not connect to this one: want embedded.listen, too, such as :6222"},
	{args: "-adapter embedded:?listen=127.0.0.1:0&routes=nats://u:hidden@a", want: "flag -adapter, parameter routes: a route is no address of a server: want nats://host:6222"},

	// Wrong credentials, as far as files show it.
	{args: "-adapter nats://h -nats.creds DIR/nats.creds", want: "flag -nats.creds: there is no file DIR/nats.creds: want the path of a file"},
	{args: "-adapter nats://h -nats.creds DIR/other", other: "x", want: "flag -nats.creds: file DIR/other has no user's seed: want a .creds file as nsc and the nats command make it, with a BEGIN NATS USER JWT and a BEGIN USER NKEY SEED part"},
	{args: "-adapter nats://h -nats.nkey DIR/other", other: "SUhidden", want: "flag -nats.nkey: file DIR/other has no user's seed: want the seed of a user, which begins with SU, as nk -gen user makes it"},
	{args: "-adapter tls://h -nats.ca DIR/other", other: "x", want: "flag -nats.ca: file DIR/other has no certificate: want PEM, which begins with -----BEGIN CERTIFICATE-----"},
	{args: "-adapter tls://h -nats.cert DIR/other", other: "x", want: "flag -nats.cert: it is of no use without nats.key: want nats.key, too"},
	{args: "-adapter nats://h -nats.user u", want: "flag -nats.user: it is of no use without nats.password: want nats.password, too"},
	{args: "-adapter nats://h -nats.token hidden -nats.user u -nats.password hidden", want: "flag -nats.user: there is nats.token, too: want one of them"},
	{args: "-adapter nats://u:hidden@h -nats.token hidden", want: "flag -nats.token: there is a user in the adapter's address, too: want one of them"},
	{args: "-adapter embedded: -nats.token hidden", want: "flag -nats.token: the NATS server is in this program, and asks for none: want no such setting beside the adapter embedded:"},
}

// ownSettings are those of the program in these tests.
type ownSettings struct {
	Greeting string        `key:"greeting" default:"hello" help:"what a newcomer is told"`
	Secret   string        `key:"secret" secret:"true" help:"signs tokens"`
	Color    string        `key:"color" choices:"red,green" help:"the color of the page"`
	Keep     time.Duration `key:"keep" default:"24h" min:"1m" help:"how long messages are kept"`
	State    string        `help:"no setting: it has no key"`
	Store    struct {
		Size config.Bytes `key:"size" default:"64MiB"`
	} `key:"store"`
}

func (o *ownSettings) Check() error {
	if o.Greeting == "" {
		return &config.KeyError{Key: "greeting", Problem: "a newcomer must be told something", Want: "a word"}
	}
	return nil
}

// TestWrong: what is wrong is one line each, which says where it came from and what would be right,
// and is silent about secrets.
func TestWrong(t *testing.T) {
	for _, test := range wrongCases {
		dir := t.TempDir()
		in := func(text string) string { return strings.ReplaceAll(text, "DIR", filepath.ToSlash(dir)) }
		p := program(strings.Fields(in(test.args))...)
		p.Environ = append(p.Environ, strings.Fields(in(test.env))...)
		write(t, filepath.Join(dir, "other"), test.other)
		if test.file != "" {
			write(t, filepath.Join(dir, "chat.yaml"), test.file)
			if !strings.Contains(test.args, "-config") {
				p.Args = append(p.Args, "-config", in("DIR/chat.yaml"))
			}
		}
		var own ownSettings
		p.Own = &own
		cfg, err := config.Load(p)
		name := test.args + test.env + test.file
		if err == nil {
			cfg.Close()
			t.Errorf("%s: no error, want %q", name, test.want)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), filepath.ToSlash(dir), "DIR"); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
		if _, ok := errors.AsType[*config.KeyError](err); !ok {
			t.Errorf("%s: %T, want a KeyError", name, err)
		}
		if own != (ownSettings{}) {
			t.Errorf("%s: the program's settings have changed: %+v", name, own)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// program is one with an embedded server at hand and no environment.
func program(args ...string) config.Program {
	return config.Program{Name: "chat", Args: args, Environ: []string{"HOME=/"}, Embedded: embedded.FromURL}
}
