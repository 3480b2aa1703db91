package config

import "strings"

// leastSecret is how many bytes recovery-secret has at least: every client gets something that is signed
// with it, and could try out all shorter ones.
const leastSecret = 16

// checkRecovery makes Server.Recovery, or nil if it is off, and notes what is wrong with its settings.
func (l *loaded) checkRecovery(g *giving) {
	v := l.values
	if v.Recovery {
		if n := len(v.RecoverySecret); n > 0 {
			v.Server.Recovery.Secret = []byte(v.RecoverySecret)
			if n < leastSecret {
				g.wrong(l.wrong("recovery-secret", "16 random bytes or more", "it has %d bytes", n))
			}
		}
		return
	}
	v.Server.Recovery = nil
	if _, said := l.given["recovery"]; said {
		return // off for a moment, say
	}
	for _, s := range l.book.settings {
		_, given := l.given[s.key]
		if s.twin != nil {
			_, inFile := l.given[s.twin.key]
			given = given && !inFile
		}
		if given && strings.HasPrefix(s.key, "recovery-") && !s.is(own) {
			g.wrong(l.wrong(s.key, "recovery, too", "it is of no use without recovery"))
		}
	}
}
