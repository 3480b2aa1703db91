package config_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestReload: a reload changes what can change, names what cannot, and changes nothing if something is
// wrong.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.yaml")
	write(t, path, "log: {level: warn}\nlimits: {max-rooms: 5, max-payload: 2MB}\nping-interval: 20s\n")
	p := program("-config", path)
	log := new(kit.Log)
	p.Log = log
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	srv := wsserver.New(cfg.Server)
	defer kit.Close(t, srv)
	cfg.Logger.Info("not logged")

	write(t, path, "log: {level: debug}\nlimits: {max-rooms: 7, max-payload: 3MB, max-evnts: 1}\n")
	before := log.String()
	if err := cfg.Reload(srv); err == nil {
		t.Error("a wrong key: no error")
	}
	cfg.Logger.Info("not logged")
	if got := strings.TrimPrefix(log.String(), before); strings.Count(got, "\n") != 1 || !strings.Contains(got, "want limits.max-events") {
		t.Errorf("after a wrong file the log has %q, want one line", got)
	}

	write(t, path, "log: {level: debug}\nlimits: {max-rooms: 7, max-payload: 3MB}\nping-interval: 30s\n")
	for range 2 { // what needs a restart is named as long as it does
		before = log.String()
		if err := cfg.Reload(srv); err != nil {
			t.Fatal(err)
		}
		got := strings.TrimPrefix(log.String(), before)
		if strings.Count(got, "\n") != 1 || !strings.Contains(got, `restart="[ping-interval limits.max-payload]"`) {
			t.Errorf("the log has %q, want the names of what needs a restart", got)
		}
	}
	if !strings.Contains(log.String(), `changed="[log.level limits.max-rooms]"`) {
		t.Errorf("the log does not say what has changed:\n%s", log)
	}
	cfg.Logger.Debug("now logged")
	if text := log.String(); strings.Contains(text, "not logged") || !strings.Contains(text, "now logged") {
		t.Errorf("the level has not changed as it should:\n%s", text)
	}
	// The limit is the server's.
	joined := make(chan error, 1)
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		joined <- s.Join(ctx, "1", "2", "3", "4", "5", "6", "7")
		joined <- s.Join(ctx, "8")
		return nil
	})
	dial(t, srv)
	if err := kit.Receive(t, "the first Join", joined); err != nil {
		t.Errorf("seven rooms: %v", err)
	}
	if err := kit.Receive(t, "the second Join", joined); !errors.Is(err, wsserver.ErrTooManyRooms) {
		t.Errorf("an eighth room: %v, want ErrTooManyRooms", err)
	}
}

// TestCertificateAnew: Run serves with TLS, and after a reload with the certificate that is in the
// files now; while they are wrong, with the old one.
func TestCertificateAnew(t *testing.T) {
	dir := t.TempDir()
	old, next := newCA(t), newCA(t)
	cert, key := old.files(t, dir, "127.0.0.1")
	addr := freeAddr(t)
	p := program("-addr", addr, "-tls.cert", cert, "-tls.key", key, "-shutdown-time=5s")
	p.Log = new(kit.Log)
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	srv := wsserver.New(cfg.Server)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cfg.Run(ctx, srv, srv) }()
	shows := func(by *ca) error {
		pool := x509.NewCertPool()
		pool.AddCert(by.cert)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
		res, err := (&http.Client{Transport: transport}).Get("https://" + addr + "/socket.io/?EIO=4&transport=polling")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	kit.Until(t, func() error { return shows(old) })
	write(t, cert, "no certificate")
	if err := cfg.Reload(srv); err == nil {
		t.Error("a file without a certificate: no error")
	}
	if err := shows(old); err != nil {
		t.Error(err)
	}
	next.files(t, dir, "127.0.0.1")
	if err := cfg.Reload(srv); err != nil {
		t.Error(err)
	}
	if err := shows(next); err != nil {
		t.Error(err)
	}
	cancel()
	if err := kit.Receive(t, "the end of Run", ended); err != nil {
		t.Error(err)
	}
}

// TestAddrTaken: Run says that its address is not free, and closes the server.
func TestAddrTaken(t *testing.T) {
	first, err := config.Load(program("-addr", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := first.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer listeners[0].Close()
	addr := listeners[0].Addr().String()
	p := program("-addr", addr)
	p.Log = new(kit.Log)
	cfg, err := config.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	srv := wsserver.New(cfg.Server)
	err = cfg.Run(t.Context(), srv, srv)
	if want := "flag -addr: another program listens on " + addr + ": want another port, or 0 for a free one"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
