package config_test

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// ready loads a program and has its server join the cluster. It returns why that fails.
func ready(t *testing.T, p config.Program) error {
	t.Helper()
	log := new(kit.Log)
	p.Log = log
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	defer cfg.Close()
	srv := wsserver.New(cfg.Server)
	defer kit.Close(t, srv)
	err = cfg.Ready(t.Context(), srv)
	if strings.Contains(log.String(), "hidden") || err != nil && strings.Contains(err.Error(), "hidden") {
		t.Errorf("a secret is in the log or in the error %v:\n%s", err, log)
	}
	return err
}

// TestCredentials: every way to tell NATS who the node is, right and wrong, against servers that ask.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	in := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t)
	ca, stranger := newCA(t), newCA(t)
	start := func(options natsserver.Options) string {
		return natstest.Start(t, embedded.Config{Options: &options}).URL()
	}
	user := start(natsserver.Options{Username: "u", Password: "hidden-right"})
	token := start(natsserver.Options{Authorization: "hidden-right"})
	nkey := start(natsserver.Options{Nkeys: []*natsserver.NkeyUser{{Nkey: public(t, key)}}})
	jwts := start(o.options(t))
	secure := start(natsserver.Options{TLS: true, TLSVerify: true, TLSConfig: mutual(ca.server(t, "127.0.0.1"))})
	elsewhere := start(natsserver.Options{TLS: true, TLSConfig: ca.server(t, "nats.example")})
	limited := start(natsserver.Options{Users: []*natsserver.User{{Username: "u", Password: "hidden-right", Permissions: &natsserver.Permissions{
		Publish:   &natsserver.SubjectPermission{Allow: []string{"other.>"}},
		Subscribe: &natsserver.SubjectPermission{Allow: []string{"belfry.v1.rchat.>"}},
	}}}})
	open := start(natsserver.Options{})
	one, err := embedded.Start(t.Context(), embedded.Config{ClusterName: "c", Options: &natsserver.Options{Cluster: natsserver.ClusterOpts{NoAdvertise: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.Shutdown)
	routes := one.ClusterURL()
	dead := closedPort(t)

	right, wrong := in("right", "hidden-right\n"), in("wrong", "hidden-wrong\n")
	mine, others := in("mine.nk", seed(t, key)), in("others.nk", seed(t, other))
	creds := in("right.creds", o.creds(t, 0))
	expired := in("expired.creds", o.creds(t, 1000))
	foreign := in("foreign.creds", newOperator(t).creds(t, 0))
	caFile, strangerFile := in("ca.pem", ca.pem()), in("stranger.pem", stranger.pem())
	cert, certKey := ca.files(t, dir, "client")
	badCert, badKey := stranger.files(t, dir, "stranger")
	at := func(url string) string { return strings.TrimPrefix(url, "nats://") }
	tlsAt := "tls://" + at(secure)

	for _, test := range []struct{ name, args, want string }{
		{"user", "-adapter " + user + " -nats.user u -nats.password-file " + right, ""},
		{"user in the address", "-adapter nats://u:hidden-right@" + at(user), ""},
		{"token", "-adapter " + token + "?token-file=" + right, ""},
		{"nkey", "-adapter " + nkey + " -nats.nkey " + mine, ""},
		{"creds", "-adapter " + jwts + "?creds=" + creds, ""},
		{"certificate", "-adapter " + tlsAt + " -nats.ca " + caFile + " -nats.cert " + cert + " -nats.key " + certKey, ""},
		{"no user", "-adapter " + user, "nats.creds: not set, and the NATS server asks for credentials (" + user + "): want nats.creds, nats.nkey, nats.token-file, or nats.user and nats.password-file"},
		{"wrong password", "-adapter " + user + " -nats.user u -nats.password-file " + wrong, "flag -nats.user: the NATS server turns down these credentials (" + user + "): want those of a user that it has"},
		{"wrong password in the address", "-adapter nats://u:hidden-wrong@" + at(user), "flag -adapter: the NATS server turns down these credentials (" + user + "): want those of a user that it has"},
		{"wrong token", "-adapter " + token + " -nats.token-file " + wrong, "flag -nats.token-file: the NATS server turns down these credentials (" + token + "): want those of a user that it has"},
		{"wrong nkey", "-adapter " + nkey + " -nats.nkey " + others, "flag -nats.nkey: the NATS server turns down these credentials (" + nkey + "): want those of a user that it has"},
		{"foreign creds", "-adapter " + jwts + " -nats.creds " + foreign, "flag -nats.creds: the NATS server turns down these credentials (" + jwts + "): want those of a user that it has"},
		{"expired creds", "-adapter " + jwts + " -nats.creds " + expired, "flag -nats.creds: the NATS server turns down these credentials (" + jwts + "): want those of a user that it has"},
		{"no CA", "-adapter " + tlsAt, "nats.ca: not set, and nobody whom this host trusts vouches for the NATS server's certificate (" + tlsAt + "): want the file of the CA's certificate"},
		{"another CA", "-adapter " + tlsAt + " -nats.ca " + strangerFile, "flag -nats.ca: another CA vouches for the NATS server's certificate (" + tlsAt + "): want the file of that CA's certificate"},
		{"no certificate", "-adapter " + tlsAt + " -nats.ca " + caFile, "nats.cert: not set, and the NATS server asks for a certificate (" + tlsAt + "): want nats.cert and nats.key"},
		{"another CA's certificate", "-start-time 5s -adapter " + tlsAt + " -nats.ca " + caFile + " -nats.cert " + badCert + " -nats.key " + badKey,
			"flag -nats.cert: the NATS server does not accept this certificate (" + tlsAt + "): want one of a CA that the server trusts"},
		{"another host", "-adapter tls://" + at(elsewhere) + " -nats.ca " + caFile,
			"flag -adapter: the NATS server's certificate is not for the host 127.0.0.1 (tls://" + at(elsewhere) + "): want a host that it names: nats.example"},
		{"no TLS", "-adapter tls://" + at(open), "flag -adapter: the NATS server does not offer TLS (tls://" + at(open) + "): want nats:// for tls://, and no nats.ca and nats.cert, or TLS on the server"},
		{"permissions", "-adapter " + limited + " -nats.user u -nats.password-file " + right, "flag -nats.user: the NATS server denies this user permission to publish to "},
		{"nobody there", "-start-time 1s -adapter " + dead, "flag -adapter: no NATS server has answered: no connection could be made (" + dead + "): want the address of a NATS server that runs"},
		{"a port for routes", "-adapter " + routes, "flag -adapter: this port of the NATS server is for other servers (" + routes + "): want its port for clients, 4222 as a rule"},
		{"no such host", "-start-time 500ms -adapter nats://nobody.invalid", "flag -adapter: no NATS server has answered: no such host (nats://nobody.invalid): want the address of a NATS server that runs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := ready(t, program(strings.Fields(test.args)...))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && err == nil:
				t.Errorf("no error, want %q", test.want)
			case test.name == "permissions":
				if want := "want a user that may publish and subscribe to belfry.v1.rchat.>, or nats.cluster and nats.prefix as this one may"; !strings.HasPrefix(err.Error(), test.want) ||
					!strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want %s ... %s", err, test.want, want)
				}
			case test.want != "" && err.Error() != test.want:
				t.Errorf("\n got %v\nwant %s", err, test.want)
			}
		})
	}
}

// mutual has clients show a certificate.
func mutual(c *tls.Config) *tls.Config {
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c
}

// closedPort is the address of a server that is not there. Its port is that of a connection, so that no other server gets it.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return "nats://" + nc.LocalAddr().String()
}

// TestSecretAnew: a password that has changed in its file is there with the next connection.
func TestSecretAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write(t, path, "hidden-old")
	options := &natsserver.Options{Username: "u", Password: "hidden-old"}
	s := natstest.Start(t, embedded.Config{Options: options})
	p := program("-adapter", s.URL(), "-nats.user", "u", "-nats.password-file", path)
	p.Log = new(kit.Log)
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	options.Password = "hidden-new"
	write(t, path, "hidden-new")
	s.Restart()
	srv := wsserver.New(cfg.Server)
	defer kit.Close(t, srv)
	if err := cfg.Ready(t.Context(), srv); err != nil {
		t.Error(err)
	}
}
