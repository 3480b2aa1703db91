package wsserver

import (
	"runtime/debug"
	"strings"
)

const modulePath = "github.com/belfry-io/belfry"

// Version returns the version of belfry that this program was built with, such as "v0.2.0". For a
// program of belfry's own repository it also tells the commit, as the go command stamped it, or
// "(devel)". It is "unknown" if the program was built without modules.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

// versionOf finds belfry among the modules of a program.
func versionOf(info *debug.BuildInfo) string {
	modules := append([]*debug.Module{&info.Main}, info.Deps...)
	for _, m := range modules {
		if m.Path != modulePath {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version == "" || strings.HasPrefix(m.Version, "(") {
			return commit(info)
		}
		return m.Version
	}
	return "unknown"
}

// commit is the version of a program that was built outside of any version: where the sources stood.
func commit(info *debug.BuildInfo) string {
	version := "(devel)"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			version += " " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			version += " with changes"
		}
	}
	return version
}
