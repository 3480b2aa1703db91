package config_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestRecovery: recovery is what code says, and what text says of that; the program's own value stays.
func TestRecovery(t *testing.T) {
	secret := strings.Repeat("hidden", 4)
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, secret+"\n")
	code := wsserver.Recovery{MaxAway: time.Minute, MaxSessions: 5, Data: "", Secret: []byte("of the program, hidden")}
	later := code
	later.MaxAway, later.Secret = 5*time.Minute, []byte(secret)
	for _, test := range []struct {
		args string
		code *wsserver.Recovery
		want *wsserver.Recovery
	}{
		{"", nil, nil},
		{"-recovery", nil, new(wsserver.Recovery)},
		{"-recovery -recovery-log-bytes 1GiB -recovery-skip-middlewares", nil, &wsserver.Recovery{LogBytes: 1 << 30, SkipMiddlewares: true}},
		{"", &code, &code},
		{"-recovery-max-away 5m -recovery-secret-file " + path, &code, &later},
		{"-recovery=false -recovery-max-away 5m", &code, nil},
		{"-recovery=off", nil, nil},
	} {
		p, before := program(strings.Fields(test.args)...), code
		p.Server.Recovery = test.code
		cfg, err := config.Load(p)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		kit.Check(t, reflect.DeepEqual(cfg.Server.Recovery, test.want), "%s: %+v, want %+v", test.args, cfg.Server.Recovery, test.want)
		kit.Check(t, reflect.DeepEqual(code, before), "%s: the program's own is %+v", test.args, code)
		p.Args = append(p.Args, "-h")
		if _, err := config.Load(p); !errors.As(err, new(*config.HelpError)) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the help tells a secret: %v", test.args, err)
		}
	}
}
