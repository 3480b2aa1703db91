package config

import (
	"reflect"
	"strings"

	"github.com/belfry-io/belfry/wsserver"
)

// Reload reads the file, the environment and the files of secrets again, and changes what can change
// while the program runs: log.level, and the certificate of tls.cert, whose files are read again in
// any case. It logs what has changed, and the names of settings that need a restart. If something is
// wrong it logs and returns that, and nothing changes.
//
// Credentials for NATS are read again with each connection, without a reload.
func (c *Config) Reload(srv *wsserver.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := load(c.program)
	if err == nil && c.certs != nil && l.values.TLS.Cert != "" {
		if err = c.certs.load(l.values.TLS.Cert, l.values.TLS.Key); err != nil {
			err = l.keyed(err, "tls.cert")
		}
	}
	if err != nil {
		c.Logger.Error("config: nothing was reloaded", "error", oneLine(strings.ReplaceAll(err.Error(), "\n", "; ")))
		return err
	}
	changed, restart := c.loaded.changes(l, func(s *setting) bool {
		return s.is(live) && (c.certs != nil || !strings.HasPrefix(s.key, "tls.")) // TLS cannot begin
	})
	if c.level != nil {
		c.level.Set(l.values.Log.Level)
	}
	if len(restart) > 0 {
		c.Logger.Warn("config: reloaded; some settings need a restart", "changed", changed, "needs a restart", restart)
	} else {
		c.Logger.Info("config: reloaded", "changed", changed)
	}
	return nil
}

// changes returns the keys of settings that are other in next, by what a reload can do about them.
func (l *loaded) changes(next *loaded, can func(*setting) bool) (changed, restart []string) {
	for i, s := range l.book.settings {
		switch old, now := s.value.Interface(), next.book.settings[i].value.Interface(); {
		case reflect.DeepEqual(old, now):
		case can(s):
			changed = append(changed, s.key)
		default:
			restart = append(restart, s.key)
		}
	}
	return changed, restart
}
