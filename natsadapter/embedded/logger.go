package embedded

import (
	"fmt"
	"log/slog"
)

// A logger hands what nats-server logs to a slog.Logger, if there is one, and keeps the first fatal
// error for Start: nats-server does not return it.
type logger struct {
	log   *slog.Logger
	fatal chan error // has room for one
}

// failed reports whether there is a fatal error.
func (l *logger) failed() bool { return len(l.fatal) > 0 }

func (l *logger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
	}
	l.Errorf(format, v...)
}

func (l *logger) Errorf(format string, v ...any) {
	if l.log != nil {
		l.log.Error(fmt.Sprintf(format, v...))
	}
}

func (l *logger) Warnf(format string, v ...any) {
	if l.log != nil {
		l.log.Warn(fmt.Sprintf(format, v...))
	}
}

func (l *logger) Noticef(format string, v ...any) {
	if l.log != nil {
		l.log.Info(fmt.Sprintf(format, v...))
	}
}

func (l *logger) Debugf(format string, v ...any) {
	if l.log != nil {
		l.log.Debug(fmt.Sprintf(format, v...))
	}
}

// Tracef drops the trace of the protocol: it is off.
func (l *logger) Tracef(string, ...any) {}
