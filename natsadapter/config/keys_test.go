package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// An operator makes users of one account, as nsc does.
type operator struct {
	key, account nkeys.KeyPair
	claims       string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	key, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.NewAccountClaims(public(t, account)).Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	return &operator{key, account, claims}
}

// options are those of a server that knows the operator's account.
func (o *operator) options(t *testing.T) natsserver.Options {
	t.Helper()
	known := new(natsserver.MemAccResolver)
	if err := known.Store(public(t, o.account), o.claims); err != nil {
		t.Fatal(err)
	}
	return natsserver.Options{TrustedKeys: []string{public(t, o.key)}, AccountResolver: known}
}

// creds is the file of a new user, who may connect until a Unix time; zero means for ever.
func (o *operator) creds(t *testing.T, until int64) string {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public(t, user))
	claims.Expires = until
	token, err := claims.Encode(o.account)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(token, []byte(seed(t, user)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func public(t *testing.T, key nkeys.KeyPair) string {
	t.Helper()
	text, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func seed(t *testing.T, key nkeys.KeyPair) string {
	t.Helper()
	text, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A ca vouches for certificates.
type ca struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newCA(t *testing.T) *ca {
	t.Helper()
	template := template(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{key, cert}
}

func template(c *x509.Certificate) *x509.Certificate {
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: "belfry's tests"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for a host, a name or an address, and its key, in PEM.
func (c *ca) issue(t *testing.T, host string) (cert, key []byte) {
	t.Helper()
	leaf := template(&x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{host}
	}
	private := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.cert, &private.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// files writes a certificate for a host and its key into dir, and returns their paths.
func (c *ca) files(t *testing.T, dir, host string) (cert, key string) {
	t.Helper()
	certPEM, keyPEM := c.issue(t, host)
	cert, key = filepath.Join(dir, host+".pem"), filepath.Join(dir, host+".key")
	write(t, cert, string(certPEM))
	write(t, key, string(keyPEM))
	return cert, key
}

func (c *ca) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw}))
}

// server is the TLS of a server that has the name host, and trusts clients of this CA.
func (c *ca) server(t *testing.T, host string) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(c.issue(t, host))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool}
}
