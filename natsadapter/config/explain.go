package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
)

// Explain returns an error of the cluster's connection, such as srv.Ready returns it, as the error of
// the setting that is wrong, in one line that says what would be right. Other errors, and nil, it
// returns as they are.
func (c *Config) Explain(err error) error {
	if err == nil || c.NATS == nil {
		return err
	}
	c.mu.Lock()
	l := c.loaded
	c.mu.Unlock()
	key, problem, want := l.explain(err, c.subjects())
	if problem == "" {
		return err
	}
	return &KeyError{Key: key, Source: l.source(key), Problem: problem + " (" + redacted(c.servers) + ")", Want: want, Err: err}
}

func (l *loaded) explain(err error, subjects string) (key, problem, want string) {
	says := func(text string) bool { return strings.Contains(strings.ToLower(err.Error()), text) }
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	host, otherHost := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case unknown && l.values.NATS.CA == "":
		return "nats.ca", "not set, and nobody whom this host trusts vouches for the NATS server's certificate", "the file of the CA's certificate"
	case unknown:
		return "nats.ca", "another CA vouches for the NATS server's certificate", "the file of that CA's certificate"
	case otherHost:
		return "adapter", fmt.Sprintf("the NATS server's certificate is not for the host %s", quoteName(host.Host)), "a host that it names: " + names(host.Certificate)
	case isInvalid && invalid.Reason == x509.Expired:
		return "adapter", "the NATS server's certificate has expired, or this host's clock is wrong", "a new certificate on the server"
	case errors.Is(err, nats.ErrSecureConnWanted) || plain:
		return "adapter", "the NATS server does not offer TLS", "nats:// for tls://, and no nats.ca and nats.cert, or TLS on the server"
	case says("certificate required"), says("bad certificate"), says("certificate unknown"), says("unknown certificate authority"):
		if l.values.NATS.Cert == "" {
			return "nats.cert", "not set, and the NATS server asks for a certificate", "nats.cert and nats.key"
		}
		return "nats.cert", "the NATS server does not accept this certificate", "one of a CA that the server trusts"
	case errors.Is(err, nats.ErrAuthExpired) || says("authentication expired"):
		return l.credentials(), "the NATS server says that the credentials have expired", "new ones"
	case errors.Is(err, nats.ErrAuthorization) || says("authorization violation"):
		key := l.credentials()
		if key == "adapter" && !strings.Contains(l.values.Adapter, "@") {
			return "nats.creds", "not set, and the NATS server asks for credentials", "nats.creds, nats.nkey, nats.token-file, or nats.user and nats.password-file"
		}
		return key, "the NATS server turns down these credentials", "those of a user that it has"
	case says("attempted to connect to"): // the route, leaf node or gateway port
		return "adapter", "this port of the NATS server is for other servers", "its port for clients, 4222 as a rule"
	case errors.Is(err, adapter.ErrRefused):
		_, denied, _ := strings.Cut(err.Error(), "permission to ")
		denied, _, _ = strings.Cut(denied, ": nats:")
		return l.credentials(), "the NATS server denies this user permission to " + denied,
			fmt.Sprintf("a user that may publish and subscribe to %s, or nats.cluster and nats.prefix as this one may", subjects)
	case errors.Is(err, context.DeadlineExceeded) && says("not connected"):
		return "adapter", "no NATS server has answered: " + reason(err), "the address of a NATS server that runs"
	}
	return "", "", ""
}

// credentials is the setting that says who this node is.
func (l *loaded) credentials() string {
	for _, key := range []string{"nats.creds", "nats.nkey", "nats.token", "nats.user"} {
		if s := l.book.byKey[key]; !s.value.IsZero() {
			if s.twin != nil && !s.twin.value.IsZero() {
				return s.twin.key
			}
			return key
		}
	}
	if l.values.NATS.Cert != "" {
		return "nats.cert"
	}
	return "adapter"
}

// subjects is what the user of NATS needs.
func (c *Config) subjects() string {
	service, err := c.NATS.ServiceSubject()
	if err != nil {
		return "<nats.prefix>.v1.<nats.cluster>.>"
	}
	return strings.Replace(service, ".service.", ".v1.", 1) + ".>"
}

// reason is the part of an error that says what is wrong with the network.
func reason(err error) string {
	text := err.Error()
	for _, known := range []string{"no such host", "connection refused", "i/o timeout", "network is unreachable", "no route to host"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	if strings.Contains(text, nats.ErrNoServers.Error()) {
		return "no connection could be made"
	}
	return "no answer in time"
}

func names(cert *x509.Certificate) string {
	all := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "it names none"
	}
	return orList(all)
}

// redacted returns an adapter's servers without users and passwords.
func redacted(servers string) string {
	list := strings.Split(servers, ",")
	for i, text := range list {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			list[i] = "..."
			continue
		}
		if u.User != nil {
			u.User = nil
		}
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}
