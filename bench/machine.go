package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// findOrigin describes this machine, the working tree that the command runs in, and the command itself.
func findOrigin(ctx context.Context, args []string) result.Origin {
	head, modified := commit(ctx)
	return result.Origin{
		CPU:      processorModel(),
		Cores:    runtime.NumCPU(),
		Kernel:   runtime.GOOS + "/" + runtime.GOARCH + " " + firstLine("/proc/sys/kernel/osrelease"),
		Go:       runtime.Version(),
		Commit:   head,
		Modified: modified,
		Date:     time.Now().UTC().Truncate(time.Second),
		Command:  strings.Join(append([]string{"go run ./bench"}, args...), " "),
		Before:   loadAverage(),
	}
}

func processorModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // a model that is not known is said to be so
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func loadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// commit is the working tree's, and whether that was modified. Results that were kept are no change.
func commit(ctx context.Context) (head string, modified bool) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	head, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown", false
	}
	changes, err := git("status", "--porcelain", "--", ":/", ":(top,exclude)"+result.Dir)
	return head, err != nil || changes != ""
}
