package config

import (
	"reflect"
	"strings"

	"github.com/belfry-io/belfry/wsserver"
)

// Reload reads the file, the environment and the files of secrets again, and changes what can change
// while the program runs: log.level, the limits of [wsserver.Server.SetLimits], and the certificate of
// tls.cert, whose files are read again in any case. It logs what has changed, and the names of settings
// that need a restart. If something is wrong it logs and returns that, and nothing changes. srv may be
// nil, for no server whose limits are to change.
//
// Credentials for NATS are read again with each connection, without a reload.
func (c *Config) Reload(srv *wsserver.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := load(c.program)
	var changed, restart []string
	if err == nil {
		changed, restart = c.loaded.turnInto(next, srv != nil)
		err = c.apply(next, srv)
	}
	switch {
	case err != nil:
		c.Logger.Error("config: nothing was reloaded", "error", oneLine(strings.ReplaceAll(err.Error(), "\n", "; ")))
		return err
	case len(restart) > 0:
		c.Logger.Warn("config: reloaded; some settings need a restart", "changed", changed, "restart", restart)
	default:
		c.Logger.Info("config: reloaded", "changed", changed)
	}
	c.loaded = next
	return nil
}

// apply makes next count, or nothing of it.
func (c *Config) apply(next *loaded, srv *wsserver.Server) error {
	tls := next.values.TLS
	if c.certs != nil {
		if err := checkPair(tls.Cert, tls.Key); err != nil {
			return next.keyed(err, "tls.cert")
		}
	}
	if srv != nil {
		if err := srv.SetLimits(next.values.Server.Limits); err != nil {
			return err
		}
	}
	if c.certs != nil {
		if err := c.certs.load(tls.Cert, tls.Key); err != nil {
			return next.keyed(err, "tls.cert")
		}
	}
	if c.level != nil {
		c.level.Set(next.values.Log.Level)
	}
	return nil
}

// turnInto returns the keys of settings that are other in next, by what can be done about them. In
// next, those that need a restart become what they are in l.
func (l *loaded) turnInto(next *loaded, limits bool) (changed, restart []string) {
	for i, s := range l.book.settings {
		old, now := s.value, next.book.settings[i].value
		can := s.is(live)
		switch {
		case reflect.DeepEqual(old.Interface(), now.Interface()):
			continue
		case strings.HasPrefix(s.key, "tls."):
			can = !old.IsZero() && !now.IsZero() // TLS neither begins nor ends
		case strings.HasPrefix(s.key, "limits."):
			can = can && limits
		}
		if can {
			changed = append(changed, s.key)
			continue
		}
		restart = append(restart, s.key)
		now.Set(old)
	}
	return changed, restart
}
