package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/wsserver"
)

// A Program says what is to be configured. Only Name is needed.
type Program struct {
	// Name is the program's name, of letters, digits and dashes. In capitals it begins the names of
	// environment variables: CHAT_ADDR for "chat".
	Name string

	// About is the first part of the help: what the program does.
	About string

	// Version is what -version says. Empty means belfry's version, as wsserver.Version has it.
	Version string

	// Args are the command line without the program's path: os.Args[1:].
	Args []string

	// Environ is the environment, as "NAME=value". nil means os.Environ().
	Environ []string

	// Own is nil, or a pointer to a struct with the program's own settings: see the package's
	// documentation. Load changes it only if nothing is wrong.
	Own any

	// Addr is the default of the setting addr. Empty means ":8080".
	Addr string

	// Server is the server's configuration by code. Text overrides what it sets; what text cannot say
	// stays: functions, Codec, ClientFiles, and Logger. With a Logger there are no settings log.level
	// and log.format. An Adapter is the default of the setting adapter.
	Server wsserver.Config

	// NATS is the configuration of the NATS connections by code. Text overrides what it sets, and
	// adds to its Options. A URL is the default of the setting adapter, a Cluster that of
	// nats.cluster, which is otherwise Name.
	NATS natsadapter.Config

	// Embedded starts a NATS server in this process, for the adapter "embedded:". It is
	// embedded.FromURL of natsadapter/embedded, or nil for programs that shall not link nats-server.
	Embedded func(ctx context.Context, at *url.URL, log *slog.Logger) (clients *url.URL, stop func(), err error)

	// Log receives the log. nil means os.Stderr.
	Log io.Writer

	// LogLevel is the default of the setting log.level. Zero means info.
	LogLevel slog.Level
}

// A Config is what a program's code and texts amount to. Its methods may be called concurrently.
type Config struct {
	// Server is ready for wsserver.New, with Adapter and Logger set.
	Server wsserver.Config

	// Logger is Server.Logger. A reload changes its level.
	Logger *slog.Logger

	// NATS is the adapter of Server if it is one of NATS, for the program's own use and for package
	// service; else nil.
	NATS *natsadapter.Adapter

	// Addrs are where Listen listens: "host:port", or "unix:/path".
	Addrs []string

	// StartTime and ShutdownTime bound what Ready takes, and the end of Run after Drain.
	StartTime, ShutdownTime time.Duration

	program Program
	drain   drainValues
	level   *slog.LevelVar // nil with a Logger of the program's
	certs   *certificates  // nil without TLS
	servers string         // the addresses of NATS
	stop    func()         // of the embedded server, or nil

	mu     sync.Mutex // guards what follows
	loaded *loaded    // what counts now
}

// A HelpError says that the command line asks for help, with -h, or for the version, with -version.
// Its text is that.
type HelpError struct{ Help string }

func (e *HelpError) Error() string { return e.Help }

// Load reads the command line, the environment and the file that they name. The error is a
// [*HelpError], or all that is wrong, a line each: [*KeyError] values joined by [errors.Join].
//
// With the adapter "embedded:" Load starts a NATS server. The caller must call [Config.Close] in the
// end, or [Config.Run], which does.
func Load(p Program) (*Config, error) {
	l, err := load(p)
	if err != nil {
		return nil, err
	}
	c := &Config{Server: l.values.Server, Logger: p.Server.Logger, Addrs: l.values.Addr,
		StartTime: l.values.StartTime, ShutdownTime: l.values.ShutdownTime, drain: l.values.Drain, program: p, loaded: l}
	if c.Logger == nil {
		c.level = new(slog.LevelVar)
		c.level.Set(l.values.Log.Level)
		c.Logger = newLogger(p.Log, l.values.Log.Format, c.level)
		c.Server.Logger = c.Logger
	}
	if l.values.TLS.Cert != "" {
		c.certs = new(certificates)
		if err := c.certs.load(l.values.TLS.Cert, l.values.TLS.Key); err != nil {
			return nil, l.keyed(err, "tls.cert")
		}
	}
	if err := c.openAdapter(); err != nil {
		return nil, err
	}
	l.commitOwn(p.Own)
	return c, nil
}

// MustLoad is Load for func main: for -h and -version it prints what they ask for and ends the process with status 0; if
// something is wrong it prints that, a line each, and ends the process with status 2.
func MustLoad(p Program) *Config {
	c, err := Load(p)
	if err == nil {
		return c
	}
	if help, ok := errors.AsType[*HelpError](err); ok {
		fmt.Print(help.Help)
		os.Exit(0)
	}
	for _, err := range lines(err) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	}
	os.Exit(2)
	return nil
}

// lines returns the errors that err joins.
func lines(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// Close stops the embedded NATS server, if there is one. The server that uses the adapter must have
// been closed before. It returns nil.
func (c *Config) Close() error {
	if c.stop != nil {
		c.stop()
	}
	return nil
}

func newLogger(to io.Writer, format string, level slog.Leveler) *slog.Logger {
	if to == nil {
		to = os.Stderr
	}
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}
