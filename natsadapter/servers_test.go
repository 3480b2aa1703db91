package natsadapter

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// TestServersOfCluster checks that a link that knows one server finds the others when that one is gone, over TLS too, where the
// certificate names hosts and the cluster tells addresses.
func TestServersOfCluster(t *testing.T) {
	t.Run("Plain", func(t *testing.T) {
		servers := natstest.NewCluster(t, 2)
		a := open(t, quiet(servers[0].URL()))
		a.until(adapter.Connected)
		old := a.current()
		servers[0].Shutdown()
		a.another(old)
	})
	t.Run("TLS", func(t *testing.T) {
		cert, roots := localCertificate(t)
		servers := natstest.StartCluster(t, 2, embedded.Config{
			Username: "u", Password: "p",
			Options: &natsserver.Options{TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}},
		})
		url := strings.Replace(servers[0].URL(), "nats://127.0.0.1", "tls://u:p@localhost", 1)
		a := open(t, quiet(url, nats.RootCAs(roots)))
		a.until(adapter.Connected)
		old := a.current()
		servers[0].Shutdown()
		a.another(old)

		if l, err := quiet(url).Open(t.Context(), func([]byte) {}); err != nil {
			t.Fatalf("Open with a server that is down: %v", err)
		} else if err := l.Close(); err != nil {
			t.Error(err)
		}
		servers[0].Restart()
		if l, err := quiet(url).Open(t.Context(), func([]byte) {}); err == nil {
			t.Errorf("Open without the root certificate: no error; Close: %v", l.Close())
		}
	})
}

// localCertificate returns a certificate for localhost, not for any address, and the name of a file that makes clients trust it.
func localCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	kit.OK(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"localhost"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	kit.OK(t, err)
	file := filepath.Join(t.TempDir(), "roots.pem")
	var text bytes.Buffer
	kit.OK(t, pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	kit.OK(t, os.WriteFile(file, text.Bytes(), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
