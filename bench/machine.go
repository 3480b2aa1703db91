package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// An origin says where figures come from.
type origin struct {
	CPU     string    `json:"cpu"`
	Cores   int       `json:"cores"`
	Kernel  string    `json:"kernel"`
	Go      string    `json:"go"`
	Commit  string    `json:"commit"`
	Date    time.Time `json:"date"`
	Command string    `json:"command"`
	Before  string    `json:"load_before"` // load averages of 1, 5 and 15 minutes
	After   string    `json:"load_after"`
}

// findOrigin describes this machine, the working tree that the command runs in, and the command itself.
func findOrigin(ctx context.Context, args []string) origin {
	return origin{
		CPU:     processorModel(),
		Cores:   runtime.NumCPU(),
		Kernel:  runtime.GOOS + "/" + runtime.GOARCH + " " + firstLine("/proc/sys/kernel/osrelease"),
		Go:      runtime.Version(),
		Commit:  commit(ctx),
		Date:    time.Now().UTC().Truncate(time.Second),
		Command: strings.Join(append([]string{"go run ./bench"}, args...), " "),
		Before:  loadAverage(),
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

// commit is what git calls the working tree.
func commit(ctx context.Context) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	head, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changes, err := git("status", "--porcelain"); err != nil || changes != "" {
		head += " dirty"
	}
	return head
}
