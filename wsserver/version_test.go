package wsserver

import (
	"github.com/belfry-io/belfry/test/kit"
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	belfry := func(version string) debug.Module { return debug.Module{Path: modulePath, Version: version} }
	other := debug.Module{Path: "example.com/app", Version: "v9.9.9"}
	released, local := belfry("v0.2.0"), belfry("v0.2.0")
	local.Replace = &debug.Module{Path: "../belfry"}
	stamps := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	for name, test := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"a program that requires belfry": {debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: "a.example/b"}, &released}}, "v0.2.0"},
		"one that replaces it":           {debug.BuildInfo{Main: other, Deps: []*debug.Module{&local}}, "(devel)"},
		"a program of the repository":    {debug.BuildInfo{Main: released}, "v0.2.0"},
		"built from a working tree":      {debug.BuildInfo{Main: belfry("(devel)"), Settings: stamps}, "(devel) abc with changes"},
		"with a clean one":               {debug.BuildInfo{Main: belfry("(devel)"), Settings: stamps[:2]}, "(devel) abc"},
		"a program without belfry":       {debug.BuildInfo{Main: other}, "unknown"},
	} {
		kit.Want(t, versionOf(&test.info), test.want, name)
	}
	if got := Version(); got == "unknown" || got == "" {
		t.Errorf("this test is of version %q", got)
	}
}
